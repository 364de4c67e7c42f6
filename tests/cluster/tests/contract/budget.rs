//! What counts against a budget, and what the budget is a part of.

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, worker};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::patch_node;

fn rule(most: &str) -> String {
    let budget = format!("  budget: {{maxHeld: {most}, exemptYoungerThan: 0s}}\n");
    agent_rule("agent", "continuous") + &budget
}

async fn create(cluster: &Cluster, name: &str, tainted: bool) {
    let node = worker(name, tainted);
    cluster.create_node(&node).await.unwrap();
}

/// Waits until the rule's status says how many nodes are held, and how many would be if there were room.
async fn until(cluster: &Cluster, held: i32, over: i32) {
    let what = format!("{held} are held, {over} are not for want of room");
    let stored = cluster.until_status("agent", &what, |status| {
        let counts = status.nodes.unwrap_or_default();
        (counts.held, counts.over_budget, counts.pending) == (Some(held), Some(over), Some(0))
    });
    stored.await.unwrap();
    let tainted = cluster.tainted(GUIDE_TAINT).await.unwrap();
    assert_eq!(i32::try_from(tainted).unwrap(), held);
}

/// A taint that was there is none of the rule's making. Another host reads that from the node's record.
#[tokio::test]
async fn compat_j_budget_does_not_count_an_adopted_taint() {
    let cluster = Cluster::start().await.unwrap();
    create(&cluster, "adopted", true).await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("1")).unwrap();
    until(&cluster, 1, 0).await;
    create(&cluster, "held", false).await;
    until(&cluster, 2, 0).await;
    create(&cluster, "over", false).await;
    until(&cluster, 2, 1).await;
    host.kill().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    // The place of the one that was held is the only one.
    cluster.agent_reports("held", "True").await;
    cluster.until_held("over").await;
    until(&cluster, 2, 0).await;
    cluster.agent_reports("held", "False").await;
    until(&cluster, 2, 1).await;
    host.terminate().await.unwrap();
}

/// One that is on its way out gives its place to another, before it is gone.
#[tokio::test]
async fn compat_j_budget_does_not_count_a_terminating_node() {
    let cluster = Cluster::start().await.unwrap();
    let finalizers = |list: Value| json!({ "metadata": { "finalizers": list } });
    create(&cluster, "going", false).await;
    patch_node(&cluster, "going", finalizers(json!(["example.com/theirs"]))).await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("1")).unwrap();
    until(&cluster, 1, 0).await;
    create(&cluster, "staying", false).await;
    until(&cluster, 1, 1).await;
    let nodes = cluster.nodes();
    nodes
        .delete("going", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_held("staying").await;
    until(&cluster, 2, 0).await;
    host.kill().await.unwrap();
    // Nor is it counted by a host that finds it so.
    create(&cluster, "late", false).await;
    let host = cluster.start_host().await.unwrap();
    until(&cluster, 2, 1).await;
    patch_node(&cluster, "going", finalizers(json!(null))).await;
    until(&cluster, 1, 1).await;
    cluster.agent_reports("staying", "True").await;
    cluster.until_held("late").await;
    host.terminate().await.unwrap();
}

/// A share is a share of the nodes that there are now.
#[tokio::test]
async fn compat_j_budget_grows_and_shrinks_with_the_fleet() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["n1", "n2"] {
        create(&cluster, name, false).await;
    }
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("50%")).unwrap();
    until(&cluster, 1, 1).await;
    // More come than are counted one by one.
    for name in ["n3", "n4", "n5", "n6"] {
        create(&cluster, name, false).await;
    }
    until(&cluster, 3, 3).await;
    let nodes = cluster.nodes().list(&Default::default()).await.unwrap();
    let (held, over): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| {
        let taints = node.spec.iter().flat_map(|spec| &spec.taints);
        taints.flatten().any(|taint| taint.key == GUIDE_TAINT)
    });
    for node in &over[1..] {
        let (name, delete) = (node.name_any(), DeleteParams::default());
        cluster.nodes().delete(&name, &delete).await.unwrap();
    }
    // One too many is held now, and stays so. Its place is none for another.
    until(&cluster, 3, 1).await;
    cluster.agent_reports(&held[0].name_any(), "True").await;
    until(&cluster, 2, 1).await;
    cluster.until_worked_off().await.unwrap();
    until(&cluster, 2, 1).await;
    host.terminate().await.unwrap();
}

/// The host sees the old node and the new one in two lists, with nothing in between.
#[tokio::test]
async fn compat_j_budget_counts_a_node_and_the_next_one_by_its_name_once() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2", "node-3"] {
        create(&cluster, name, false).await;
    }
    let proxy = crate::observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&rule("1")).unwrap();
    for ready in ["False", "True"] {
        until(&cluster, 1, 2).await;
        let watches = proxy.watches();
        watches.send_modify(|watches| watches.paused = true);
        let held = held(&cluster).await;
        let nodes = cluster.nodes();
        nodes.delete(&held, &DeleteParams::default()).await.unwrap();
        create(&cluster, &held, false).await;
        cluster.agent_reports(&held, ready).await;
        watches.send_modify(|watches| {
            watches.paused = false;
            watches.expired = true;
            watches.generation += 1;
        });
        cluster.until_worked_off().await.unwrap();
        assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1, "{ready}");
    }
    // The place of the one that is ready went to another.
    until(&cluster, 1, 1).await;
    host.terminate().await.unwrap();
}

/// The only node that is held.
async fn held(cluster: &Cluster) -> String {
    for node in ["node-1", "node-2", "node-3"] {
        if !cluster.readiness_taints(node).await.unwrap().is_empty() {
            return node.to_owned();
        }
    }
    String::new()
}
