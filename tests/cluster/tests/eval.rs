//! `host eval` on a live cluster: it reads, and writes nothing.

use std::process::Command;

use cluster_tests::{Cluster, agent_rule, host_program, worker};

#[tokio::test]
async fn without_node_files_the_nodes_of_the_cluster_are_evaluated_and_left_alone() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("held", false)).await.unwrap();
    cluster.create_node(&worker("ready", true)).await.unwrap();
    cluster
        .set_condition("ready", "example.com/AgentReady", "True")
        .await
        .unwrap();
    let versions = || async {
        let nodes = cluster.nodes().list(&Default::default()).await.unwrap();
        nodes
            .into_iter()
            .map(|node| node.metadata.resource_version)
            .collect::<Vec<_>>()
    };
    let before = versions().await;
    let rule = cluster.plane.folder().join("rule.yaml");
    std::fs::write(&rule, agent_rule("agent", "continuous")).unwrap();
    let output = Command::new(host_program().unwrap())
        .arg("eval")
        .arg("--rule")
        .arg(&rule)
        .args(["-o", "json"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = result["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|one| (one["node"].as_str(), one["action"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("held"), Some("AddTaint")),
            (Some("ready"), Some("RemoveTaint"))
        ]
    );
    assert_eq!(versions().await, before, "a node was written");
}
