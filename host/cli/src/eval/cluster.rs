//! The objects of a cluster. They are only read.

use std::collections::BTreeSet;
use std::path::Path;

use controller::connect::{Objects, list_objects};
use planner::related::Kind;

use crate::input::nodes::{Given, GivenNode};
use crate::output;

/// All nodes and DaemonSets of the cluster that the kubeconfig names, and what else the policies ask about.
pub fn objects(kubeconfig: Option<&Path>, asked: &BTreeSet<Kind>) -> anyhow::Result<Given> {
    let runtime = crate::runtime()?;
    let Objects {
        nodes,
        daemon_sets,
        pods,
        leases,
        csi_nodes,
        resource_slices,
    } = runtime.block_on(list_objects(kubeconfig, asked))?;
    let given = nodes.into_iter().map(|node| GivenNode {
        node,
        place: "the cluster".to_owned(),
        has_status: true,
    });
    let daemon_sets = match daemon_sets {
        Ok(daemon_sets) => daemon_sets,
        Err(error) if asked.contains(&Kind::DaemonSets) => return Err(error.into()),
        Err(error) => {
            output::note(format_args!(
                "whether the pods that report a condition tolerate the taint that waits for it is not known: {error}"
            ));
            Vec::new()
        }
    };
    Ok(Given {
        nodes: given.collect(),
        daemon_sets,
        pods,
        leases,
        csi_nodes,
        resource_slices,
    })
}
