//! The objects of a cluster. They are only read.

use std::path::Path;

use controller::connect::{Objects, list_objects};

use crate::input::nodes::{Given, GivenNode};
use crate::output;

/// All nodes and DaemonSets of the cluster that the kubeconfig names.
pub fn objects(kubeconfig: Option<&Path>) -> anyhow::Result<Given> {
    let runtime = crate::runtime()?;
    let Objects { nodes, daemon_sets } = runtime.block_on(list_objects(kubeconfig))?;
    let given = nodes.into_iter().map(|node| GivenNode {
        node,
        place: "the cluster".to_owned(),
        has_status: true,
    });
    let daemon_sets = daemon_sets.unwrap_or_else(|error| {
        output::note(format_args!(
            "whether the pods that report a condition tolerate the taint that waits for it is not known: {error}"
        ));
        Vec::new()
    });
    Ok(Given {
        nodes: given.collect(),
        daemon_sets,
    })
}
