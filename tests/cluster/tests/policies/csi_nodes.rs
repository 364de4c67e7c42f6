//! A policy that asks about CSI drivers: the objects of `examples/csi-ready`, in a cluster whose CSINodes a test writes.

use cluster_tests::Cluster;

use crate::rights::{right_to_see, with_example};

const TAINT: &str = "readiness.k8s.io/storage";
const POLICY: &str = "csi-ready";
const NODE: &str = "worker-1";

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/csi-ready");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

async fn until_tainted(cluster: &Cluster, tainted: bool, when: &str) {
    let seen = cluster.until_tainted(NODE, TAINT, tainted).await;
    seen.map_err(|error| error.context(when.to_owned()))
        .unwrap();
}

#[tokio::test]
async fn nrc_facts_a_node_is_held_until_its_driver_is_registered_and_whenever_that_goes() {
    let right = right_to_see("storage.k8s.io", "csinodes", None);
    let says = ["policyFacts.csiNodes", "\"csinodes\""];
    let (cluster, host) = with_example(POLICY, NODE, says, &right).await;
    until_tainted(&cluster, true, "no driver is registered yet").await;

    // One without its zone, then another node's, then the driver; and all of it again.
    let csi_node = example("csinode.yaml");
    let other = csi_node.replace(NODE, "other");
    let (_, keys) = csi_node.split_once("    topologyKeys:").unwrap();
    let keys = format!("    topologyKeys:{keys}");
    let bare = csi_node.replace(&keys, "");
    cluster.apply(&bare).unwrap();
    (cluster.until_status("storage", "it lacks its zone", |status| {
        let mut nodes = status.node_evaluations.iter();
        nodes.any(|node| {
            let message = node.message.as_deref().unwrap_or_default();
            message.contains("without the topology key")
        })
    }))
    .await
    .unwrap();
    cluster.apply(&other).unwrap();
    // The node is looked at again.
    cluster.agent_reports(NODE, "True").await;
    cluster.until_worked_off().await.unwrap();
    until_tainted(&cluster, true, "another node has the driver").await;
    cluster
        .plane
        .kubectl_ok(&["delete", "csinode", NODE])
        .unwrap();
    cluster.apply(&csi_node).unwrap();
    until_tainted(&cluster, false, "the driver is registered").await;
    cluster
        .plane
        .kubectl_ok(&["delete", "csinode", NODE])
        .unwrap();
    until_tainted(&cluster, true, "the driver is gone").await;
    host.terminate().await.unwrap();
}
