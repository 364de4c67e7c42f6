//! A policy in one line.

use cli_tests::program::workspace;
use cli_tests::tools::WASM_TOOLS;
use cluster_tests::Cluster;

use crate::{join_alone, linux_worker, page};

#[tokio::test]
async fn a_policy_in_one_line_holds_a_node() {
    let cluster = Cluster::start().await.unwrap();
    let definition = workspace().join("crds/readinesspolicies.yaml");
    for arguments in [
        &["create", "--filename", definition.to_str().unwrap()][..],
        &[
            "wait",
            "crd/readinesspolicies.readiness.node.x-k8s.io",
            "--for=condition=Established",
        ],
        &["create", "namespace", "nrr-system"],
    ] {
        cluster.plane.kubectl_ok(arguments).unwrap();
    }
    join_alone(&cluster, &linux_worker("worker-1", None)).await;
    cluster
        .set_condition("worker-1", "Ready", "True")
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    let (mut page, shell) = page("one-line-policy", &cluster);
    let wasm_tools = WASM_TOOLS.folder().unwrap().join("wasm-tools");
    let shell = shell.with_program(&wasm_tools);
    for section in ["The policy", "The rule", "Another line"] {
        page.section(section, &shell).await.unwrap();
    }
    page.end().unwrap();
    host.terminate().await.unwrap();
}
