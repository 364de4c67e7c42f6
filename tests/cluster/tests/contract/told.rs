//! What is said, how often, and that it is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, worker};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use planner::ownership;
use serde_json::json;

use crate::patch_node;

#[tokio::test]
async fn nrc_383_compat_033_an_adoption_is_told_once_for_a_node_and_a_rule() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_event("node-1", "TaintAdopted").await.unwrap();
    for number in 0..3 {
        let change = json!({ "example.com/touched": number.to_string() });
        cluster.annotate_node("node-1", change).await.unwrap();
    }
    host.terminate().await.unwrap();
    // A second host evaluates it for the first time, and the record of the first is lost.
    cluster
        .annotate_node("node-1", json!({ ownership::ANNOTATION: null }))
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_worked_off().await.unwrap();
    let node = cluster.nodes().get("node-1").await.unwrap();
    assert!(
        node.annotations().contains_key(ownership::ANNOTATION),
        "adopted again"
    );
    host.terminate().await.unwrap();
    assert_eq!(
        cluster
            .events("node-1", "TaintAdopted")
            .await
            .unwrap()
            .len(),
        1
    );
    // A new node with its name is another one.
    cluster
        .nodes()
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
    cluster.create_node(&worker("node-1", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_worked_off().await.unwrap();
    host.terminate().await.unwrap();
    assert_eq!(
        cluster
            .events("node-1", "TaintAdopted")
            .await
            .unwrap()
            .len(),
        2
    );
}

/// Every version of a node that was ever stored has the taint or the completion, and not both; every
/// version of a status has a node in one list only.
#[tokio::test]
async fn nrc_341_218_382_207_taint_and_completion_change_in_one_write() {
    let cluster = Cluster::start().await.unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("node-{number:02}")).collect();
    for name in &names {
        cluster.create_node(&worker(name, true)).await.unwrap();
    }
    let wrong = Arc::new(AtomicBool::new(false));
    let (nodes, seen) = (cluster.nodes(), Arc::clone(&wrong));
    let mut versions = BTreeMap::<String, usize>::new();
    let watching = tokio::spawn(async move {
        let mut events = nodes
            .watch(&WatchParams::default(), "0")
            .await
            .unwrap()
            .boxed();
        while let Some(Ok(event)) = events.next().await {
            let (WatchEvent::Added(node) | WatchEvent::Modified(node)) = event else {
                continue;
            };
            let mut keys = node.annotations().keys();
            let completed = keys.any(|key| key.contains("bootstrap-completed"));
            let mut taints = node
                .spec
                .iter()
                .flat_map(|spec| spec.taints.iter().flatten());
            if completed == taints.any(|taint| taint.key == GUIDE_TAINT) {
                seen.store(true, Ordering::SeqCst);
            }
            if completed {
                *versions.entry(node.name_any()).or_default() += 1;
                if versions.len() == 20 {
                    return;
                }
            }
        }
    });
    let (rules, seen) = (cluster.rules(), Arc::clone(&wrong));
    let statuses = tokio::spawn(async move {
        let mut events = rules
            .watch(&WatchParams::default(), "0")
            .await
            .unwrap()
            .boxed();
        while let Some(Ok(event)) = events.next().await {
            if let WatchEvent::Modified(rule) = event
                && let Some(status) = rule.status
            {
                let listed = status.node_evaluations.len();
                let both = status
                    .failed_nodes
                    .iter()
                    .any(|node| status.applied_nodes.contains(&node.node_name));
                if both || listed != status.applied_nodes.len() + status.failed_nodes.len() {
                    seen.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    let arguments = [
        "--node-concurrent-reconciles=8",
        "--rule-concurrent-reconciles=8",
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    watching.await.unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    assert!(!wrong.load(Ordering::SeqCst));
    statuses.abort();
    host.terminate().await.unwrap();
}

/// A status that somebody wrote by hand does not stay.
#[tokio::test]
async fn compat_010_027_a_status_that_was_tampered_with_is_put_right() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("node-2", "True").await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    let before = cluster.until_status_is_true("agent").await.unwrap();
    let time = "2026-01-02T03:04:05Z";
    for tampered in [
        json!({ "appliedNodes": ["node-7"], "nodeEvaluations": [] }),
        json!({ "nodes": { "matched": 99, "held": 98 }, "conditions": [] }),
        json!({ "failedNodes": [{ "nodeName": "node-2", "message": "no", "lastEvaluationTime": time }] }),
        json!(null),
    ] {
        let patch = kube::api::Patch::Merge(json!({ "status": tampered }));
        cluster
            .rules()
            .patch_status("agent", &Default::default(), &patch)
            .await
            .unwrap();
        cluster.until_status_is_true("agent").await.unwrap();
    }
    assert_eq!(before.name_any(), "agent");
    // A host that comes later believes it as little.
    host.terminate().await.unwrap();
    let tampered = json!({ "status": { "appliedNodes": [], "nodes": { "matched": 1 } } });
    let patch = kube::api::Patch::Merge(tampered);
    let rules = cluster.rules();
    rules
        .patch_status("agent", &Default::default(), &patch)
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    host.terminate().await.unwrap();
}

/// What the schema lets pass and no node can have: said in status and event, nobody else is disturbed.
#[tokio::test]
async fn compat_009_028_what_cannot_be_used_is_stalled_and_the_rest_goes_on() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let bad_operator = agent_rule("bad-operator", "continuous").replace(
        "matchLabels: {node-role.kubernetes.io/worker: ''}",
        "matchExpressions: [{key: a, operator: Near, values: [b]}]",
    );
    let bad_value = agent_rule("bad-value", "continuous")
        .replace("security-agent-ready", "other")
        .replace("value: pending", "value: 'not ok!'");
    let everything = agent_rule("everything", "continuous")
        .replace("security-agent-ready", "everything")
        .replace(
            "matchLabels: {node-role.kubernetes.io/worker: ''}",
            "matchLabels: {}",
        );
    for rule in [&bad_operator, &bad_value, &everything] {
        cluster.apply(rule).unwrap();
    }
    let mut unlabelled = worker("node-2", false);
    unlabelled.labels.clear();
    cluster.create_node(&unlabelled).await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster
            .until_tainted(name, "readiness.k8s.io/everything", true)
            .await
            .unwrap();
    }
    for (name, expected) in [
        ("bad-operator", "\"Near\""),
        (
            "bad-value",
            "spec.taint.value: no node can be given \"not ok!\"",
        ),
    ] {
        let note = cluster.until_event(name, "Stalled").await.unwrap();
        assert!(note.contains(expected), "{note}");
        let stored = cluster
            .until_status(name, "Stalled", |status| {
                status
                    .conditions
                    .iter()
                    .any(|one| one.r#type == "Stalled" && one.status.as_str() == "True")
            })
            .await
            .unwrap();
        let status = stored.status.unwrap();
        assert!(
            status
                .conditions
                .iter()
                .any(|one| one.message.contains(expected))
        );
        assert_eq!(status.observed_generation, stored.metadata.generation);
    }
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap().len(), 1);
    // They can go, and the API server says what of a stored rule cannot be changed.
    let changed = everything.replace("everything, effect", "changed, effect");
    let refused = cluster.apply(&changed).unwrap_err().to_string();
    assert!(refused.contains("taint key is immutable"), "{refused}");
    for name in ["bad-operator", "bad-value", "everything"] {
        cluster.delete_rule(name).await.unwrap();
    }
    patch_node(
        &cluster,
        "node-1",
        json!({ "metadata": { "labels": null } }),
    )
    .await;
    for name in ["node-1", "node-2"] {
        assert_eq!(cluster.readiness_taints(name).await.unwrap(), [""; 0]);
    }
    host.terminate().await.unwrap();
}
