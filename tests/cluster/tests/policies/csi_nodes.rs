//! A policy that asks about CSI drivers: the objects of `examples/csi-ready`, in a cluster whose CSINodes a test writes.

use cluster_tests::{Cluster, Host, rights_of, worker};
use control_plane::{Options, User};
use planner::rule::Status;

use crate::rights::{OF_POLICIES, USER};
use crate::world::{message, until_of};

const TAINT: &str = "readiness.k8s.io/storage";
const POLICY: &str = "csi-ready";
const NODE: &str = "worker-1";

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/csi-ready");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

async fn until_tainted(cluster: &Cluster, tainted: bool) {
    let seen = cluster.until_tainted(NODE, TAINT, tainted).await;
    seen.unwrap();
}

/// The right to see CSINodes.
const OF_CSI_NODES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: host-csi-nodes}
rules:
- {apiGroups: [storage.k8s.io], resources: [csinodes], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: host-csi-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: host-csi-nodes}
subjects: [{kind: User, name: host, apiGroup: rbac.authorization.k8s.io}]
";

#[tokio::test]
async fn a_node_is_held_until_its_driver_is_registered_and_whenever_that_goes() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: vec![User::new(USER)],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.install_policies().await.unwrap();
    cluster.create_node(&worker(NODE, false)).await.unwrap();
    let ready = cluster.set_condition(NODE, "Ready", "True").await;
    ready.unwrap();
    for rights in [rights_of(USER).as_str(), OF_POLICIES] {
        cluster.apply(rights).unwrap();
    }
    let rule = example("rule.yaml").replace("bootstrap-only", "continuous");
    for objects in [&example("policy.yaml"), &rule] {
        cluster.apply(objects).unwrap();
    }
    let kubeconfig = cluster.plane.kubeconfig_for(USER).unwrap();
    let host = Host::start(&kubeconfig, &cluster.new_log(), &[])
        .await
        .unwrap();
    let (no, yes) = (Status::False, Status::True);
    let status = until_of(&cluster, POLICY, "FactsAvailable", no, "Forbidden").await;
    let said = message(&status, "FactsAvailable");
    for part in ["policyFacts.csiNodes", "\"csinodes\""] {
        assert!(said.contains(part), "{said}");
    }
    cluster.apply(OF_CSI_NODES).unwrap();
    until_of(&cluster, POLICY, "Ready", yes, "Decides").await;
    until_tainted(&cluster, true).await;

    // Another node's, then one without its zone, then the driver; and all of it again.
    let csi_node = example("csinode.yaml");
    let other = csi_node.replace(NODE, "other");
    let (_, keys) = csi_node.split_once("    topologyKeys:").unwrap();
    let keys = format!("    topologyKeys:{keys}");
    let bare = csi_node.replace(&keys, "");
    for objects in [&other, &bare] {
        cluster.apply(objects).unwrap();
    }
    (cluster.until_status("storage", "it lacks its zone", |status| {
        let mut nodes = status.node_evaluations.iter();
        nodes.any(|node| {
            let message = node.message.as_deref().unwrap_or_default();
            message.contains("without the topology key")
        })
    }))
    .await
    .unwrap();
    cluster
        .plane
        .kubectl_ok(&["delete", "csinode", NODE])
        .unwrap();
    cluster.apply(&csi_node).unwrap();
    until_tainted(&cluster, false).await;
    cluster
        .plane
        .kubectl_ok(&["delete", "csinode", NODE])
        .unwrap();
    until_tainted(&cluster, true).await;
    host.terminate().await.unwrap();
}
