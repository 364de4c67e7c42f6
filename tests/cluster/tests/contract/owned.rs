//! What a rule may take off, and what it may not.

use cluster_tests::{Cluster, GUIDE_TAINT, NodeSpec, agent_rule, worker};
use serde_json::json;

use crate::patch_node;

/// Three rules that never held: a dry run, a suspended one, and one that always loses. Their taints
/// are on nodes, put there by others.
#[tokio::test]
async fn nrc_374_compat_023_a_rule_that_never_held_takes_nothing_with_it() {
    let cluster = Cluster::start().await.unwrap();
    let key = |name: &str| format!("readiness.k8s.io/{name}");
    let keys = ["dry", "suspended"].map(key);
    let taints = keys
        .iter()
        .map(|key| (key.clone(), String::new(), "NoSchedule".to_owned()));
    let node = NodeSpec {
        taints: taints.collect(),
        ..worker("node-1", false)
    };
    cluster.create_node(&node).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let rule = |name: &str, more: &str| {
        agent_rule(name, "continuous").replace("security-agent-ready", name) + more
    };
    cluster.apply(&rule("dry", "  dryRun: true\n")).unwrap();
    cluster
        .apply(&rule("suspended", "  suspend: true\n"))
        .unwrap();
    // The winner holds the node; the loser sees the taint and never owns it.
    cluster
        .apply(&agent_rule("a-winner", "continuous"))
        .unwrap();
    cluster.until_held("node-1").await;
    cluster.apply(&agent_rule("b-loser", "continuous")).unwrap();
    for name in ["dry", "suspended", "b-loser"] {
        cluster
            .until_status(name, "it saw the node", |status| {
                status.node_evaluations.len() == 1
            })
            .await
            .unwrap();
        cluster.delete_rule(name).await.unwrap();
    }
    cluster.until_worked_off().await.unwrap();
    let mut left = cluster.readiness_taints("node-1").await.unwrap();
    left.sort();
    let expected = [
        format!("{}:NoSchedule", keys[0]),
        format!("{GUIDE_TAINT}=pending:NoSchedule"),
        format!("{}:NoSchedule", keys[1]),
    ];
    assert_eq!(left, expected);
    // The winner, suspended now, owns what it added.
    cluster
        .patch_rule("a-winner", json!({ "spec": { "suspend": true } }))
        .await
        .unwrap();
    cluster.delete_rule("a-winner").await.unwrap();
    let mut left = cluster.readiness_taints("node-1").await.unwrap();
    left.sort();
    assert_eq!(left, keys.map(|key| format!("{key}:NoSchedule")));
    host.terminate().await.unwrap();
}

/// What it would do is told anew whenever a node changes.
#[tokio::test]
async fn nrc_054_compat_022_the_results_of_a_dry_run_follow_the_nodes() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&(agent_rule("agent", "continuous") + "  dryRun: true\n"))
        .unwrap();
    let until = |affected, add, remove, risky, summary: &'static str| {
        cluster.until_status("agent", summary, move |status| {
            let results = json!(status.dry_run_results);
            let expected = json!({
                "affectedNodes": affected, "taintsToAdd": add, "taintsToRemove": remove,
                "riskyOperations": risky, "summary": summary,
            });
            results == expected
        })
    };
    until(0, 0, 0, 0, "No changes needed").await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    until(
        1,
        1,
        0,
        1,
        "would add 1 taints, 1 nodes have missing conditions",
    )
    .await
    .unwrap();
    cluster.agent_reports("node-1", "False").await;
    until(1, 1, 0, 0, "would add 1 taints").await.unwrap();
    cluster.create_node(&worker("node-2", true)).await.unwrap();
    cluster.agent_reports("node-2", "True").await;
    until(2, 1, 1, 0, "would add 1 taints, would remove 1 taints")
        .await
        .unwrap();
    cluster.agent_reports("node-1", "True").await;
    patch_node(&cluster, "node-2", json!({ "spec": { "taints": null } })).await;
    until(2, 0, 0, 0, "No changes needed").await.unwrap();
    cluster
        .nodes()
        .delete("node-2", &Default::default())
        .await
        .unwrap();
    until(1, 0, 0, 0, "No changes needed").await.unwrap();
    let events = cluster.events("node-1", "TaintAdded").await.unwrap();
    assert!(events.is_empty());
    host.terminate().await.unwrap();
}
