//! The nodes of a cluster. They are only read.

use std::path::Path;

use crate::input::nodes::GivenNode;

/// All nodes of the cluster that the kubeconfig names.
pub fn nodes(kubeconfig: Option<&Path>) -> anyhow::Result<Vec<GivenNode>> {
    let runtime = crate::runtime()?;
    let nodes = runtime.block_on(controller::connect::list_nodes(kubeconfig))?;
    let given = nodes.into_iter().map(|node| GivenNode {
        node,
        place: "the cluster".to_owned(),
        has_status: true,
    });
    Ok(given.collect())
}
