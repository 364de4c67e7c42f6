//! What `kubectl get events` shows of a node.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use k8s_openapi::api::events::v1::Event;
use kube::api::Api;

/// The event about a node with this reason; there is exactly one when the host has ended, since it
/// sends what it was told before it goes.
async fn only_event(cluster: &Cluster, node: &str, reason: &str) -> Event {
    let events = Api::<Event>::namespaced(cluster.client.clone(), "default");
    let listed = events.list(&Default::default()).await.unwrap();
    let about = |event: &Event| {
        let regarding = event
            .regarding
            .as_ref()
            .and_then(|object| object.name.as_deref());
        regarding == Some(node) && event.reason.as_deref() == Some(reason)
    };
    let mut found: Vec<_> = listed.into_iter().filter(about).collect();
    assert_eq!(found.len(), 1, "{reason} of {node}");
    found.remove(0)
}

#[tokio::test]
async fn compat_031_032_033_a_taint_is_added_removed_or_adopted_with_one_event() {
    let cluster = Cluster::start().await.unwrap();
    let uid = cluster
        .create_node(&worker("added", false))
        .await
        .unwrap()
        .metadata
        .uid;
    cluster.create_node(&worker("adopted", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("added").await;
    let adopted = "readiness.node.x-k8s.io/taint-owners";
    wait::until_true("the taint that was there is adopted", || async {
        let node = cluster.nodes().get("adopted").await?;
        Ok(node
            .metadata
            .annotations
            .is_some_and(|annotations| annotations.contains_key(adopted)))
    })
    .await
    .unwrap();
    cluster.agent_reports("added", "True").await;
    cluster.until_released("added").await;
    host.terminate().await.unwrap();
    // A second host finds everything done, and has nothing to tell.
    let host = cluster.start_host().await.unwrap();
    cluster
        .until_status("agent", "both nodes are listed", |status| {
            status.applied_nodes.len() == 2
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();

    let words = [
        ("added", "TaintAdded", "AddTaint", "added by"),
        ("added", "TaintRemoved", "RemoveTaint", "removed by"),
        ("adopted", "TaintAdopted", "AdoptTaint", "is now managed by"),
    ];
    for (node, reason, action, words) in words {
        let event = only_event(&cluster, node, reason).await;
        assert_eq!(event.action.as_deref(), Some(action));
        let note = format!("Taint '{GUIDE_TAINT}:NoSchedule' {words} rule 'agent'");
        assert_eq!(event.note.as_deref(), Some(note.as_str()));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
        assert_eq!(
            event.reporting_controller.as_deref(),
            Some("node-readiness-controller")
        );
        let instance = event.reporting_instance.unwrap();
        assert!(
            instance.starts_with("node-readiness-controller-"),
            "{instance}"
        );
        assert!(event.related.is_none());
        let regarding = event.regarding.unwrap();
        assert_eq!(
            (regarding.kind.as_deref(), regarding.api_version.as_deref()),
            (Some("Node"), Some("v1"))
        );
        if node == "added" {
            assert_eq!(regarding.uid, uid);
        }
    }
}
