//! Startup taints of autoscalers.

use cluster_tests::Cluster;
use serde_json::{Value, json};

use crate::{join_alone, linux_worker, page};

/// What is in a file of the story.
fn object(file: &str) -> Value {
    let folder = cli_tests::program::workspace().join("examples/autoscaler-startup-taints");
    serde_saphyr::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
}

const PREFIX: &str = "startup-taint.cluster-autoscaler.kubernetes.io/";

#[tokio::test]
async fn startup_taints_of_autoscalers() {
    let cluster = Cluster::start().await.unwrap();
    let prefix = format!("--taint-key-prefix={PREFIX}");
    let host = cluster.start_host_with(&[&prefix]).await.unwrap();
    // As a kubelet registers with --register-with-taints.
    let mut node = linux_worker("worker-1", None);
    let taint = (
        format!("{PREFIX}agent"),
        "pending".to_owned(),
        "NoSchedule".to_owned(),
    );
    node.taints.push(taint);
    join_alone(&cluster, &node).await;
    let (mut page, shell) = page("autoscaler-startup-taints", &cluster);
    let section = page.section("A prefix of the autoscaler", &shell).await;
    section.unwrap();
    // The definition of Karpenter itself says what a NodePool may be.
    let definition = control_plane::karpenter_node_pool().unwrap();
    let create = ["create", "--filename", definition.to_str().unwrap()];
    cluster.plane.kubectl_ok(&create).unwrap();
    let wait = [
        "wait",
        "crd/nodepools.karpenter.sh",
        "--for=condition=Established",
    ];
    cluster.plane.kubectl_ok(&wait).unwrap();
    page.section("Karpenter", &shell).await.unwrap();
    let pool = object("karpenter-nodepool.yaml");
    let taints = &pool["spec"]["template"]["spec"]["startupTaints"];
    assert_eq!(taints, &json!([object("rule-plain.yaml")["spec"]["taint"]]));
    page.end().unwrap();
    host.terminate().await.unwrap();
}
