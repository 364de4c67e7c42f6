//! The Go controller before us, after us, and before us again: it leaves finalizers, completions of both
//! forms, taints that nobody recorded, and a status that may be old or wrong.

use api::rule::status::{NodeReadinessRuleStatus, TaintStatus};
use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, agent_rule, worker};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch};
use planner::ownership;
use serde_json::{Value, json};

use crate::other_definition::install;
use crate::patch_node;

const WORKER: &str = "node-role.kubernetes.io/worker";

/// As the Go controller writes a status: all of it, with its own fields only.
async fn write_status(cluster: &Cluster, rule: &str, evaluations: &[(&str, &str)], time: &str) {
    let entry = |(node, taint): &(&str, &str)| {
        json!({
            "nodeName": node, "taintStatus": taint, "lastEvaluationTime": time,
            "conditionResults": [{ "type": AGENT, "currentStatus": "False", "requiredStatus": "True" }],
        })
    };
    let evaluations: Vec<Value> = evaluations.iter().map(entry).collect();
    let applied: Vec<_> = evaluations
        .iter()
        .map(|entry| entry["nodeName"].clone())
        .collect();
    let status = json!({
        "observedGeneration": 1, "appliedNodes": applied, "nodeEvaluations": evaluations,
        "failedNodes": [{
            "nodeName": "long-gone", "reason": "EvaluationError", "message": "failed to add taint: no",
            "lastEvaluationTime": time,
        }],
    });
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{ "op": "add", "path": "/status", "value": status }]))
            .unwrap();
    let patch = Patch::Json::<()>(patch);
    let rules = cluster.rules();
    rules
        .patch_status(rule, &Default::default(), &patch)
        .await
        .unwrap();
}

fn completions(node: &Node) -> Vec<&String> {
    let keys = node.annotations().keys();
    keys.filter(|key| key.contains("bootstrap-completed"))
        .collect()
}

async fn taint(cluster: &Cluster, name: &str, tainted: bool) {
    let taint = json!([{ "key": GUIDE_TAINT, "value": "pending", "effect": "NoSchedule" }]);
    let taints = if tainted { taint } else { json!(null) };
    patch_node(cluster, name, json!({ "spec": { "taints": taints } })).await;
}

/// With each of the two definitions.
async fn there_and_back(cluster: &Cluster) {
    // Held by the Go controller; held and then relabelled out; tainted by a stranger; released, though
    // its status still says held; completed by either form.
    for name in ["held", "out", "released", "by-uid", "by-name"] {
        cluster
            .create_node(&worker(name, matches!(name, "held" | "out")))
            .await
            .unwrap();
    }
    let mut stranger = worker("stranger", true);
    stranger.labels.clear();
    cluster.create_node(&stranger).await.unwrap();
    cluster.agent_reports("released", "True").await;
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    let finalizer = json!({ "metadata": { "finalizers": [api::rule::FINALIZER] } });
    cluster.patch_rule("agent", finalizer).await.unwrap();
    let uid = cluster.rules().get("agent").await.unwrap().uid().unwrap();
    let by_uid = format!("readiness.k8s.io/bootstrap-completed-{uid}");
    let by_name = "readiness.k8s.io/bootstrap-completed-agent";
    let value = r#"{"rule-name":"agent"}"#;
    cluster
        .annotate_node("by-uid", json!({ &by_uid: value }))
        .await
        .unwrap();
    cluster
        .annotate_node("by-name", json!({ by_name: "true" }))
        .await
        .unwrap();
    patch_node(
        cluster,
        "out",
        json!({ "metadata": { "labels": { WORKER: null } } }),
    )
    .await;
    // A node of this name was held once; this one is another, tainted by somebody else.
    let said = [
        ("held", "Present"),
        ("out", "Present"),
        ("released", "Present"),
        ("reborn", "Present"),
    ];
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    write_status(cluster, "agent", &said, &time.to_string()).await;
    cluster_tests::wait::until_true("the second is over", || async {
        Ok(jiff::Timestamp::now() > time + jiff::SignedDuration::from_secs(1))
    })
    .await
    .unwrap();
    let mut reborn = worker("reborn", true);
    reborn.labels.clear();
    cluster.create_node(&reborn).await.unwrap();

    let host = cluster.start_host().await.unwrap();
    cluster.until_released("out").await;
    let released = "released";
    cluster_tests::wait::until_true("the bootstrap is complete", || async {
        Ok(!completions(&cluster.nodes().get(released).await?).is_empty())
    })
    .await
    .unwrap();
    cluster.until_worked_off().await.unwrap();
    let held = |name: &'static str| async move {
        cluster.readiness_taints(name).await.unwrap().len() == 1
    };
    assert!(held("held").await && held("stranger").await && held("reborn").await);
    assert!(!held("by-uid").await && !held("by-name").await && !held("released").await);
    host.terminate().await.unwrap();

    // Back to the Go controller. It knows nothing of records: it releases `held`, and completes it; it
    // holds a new node; a rule of its making is deleted by force.
    let node = cluster.nodes().get("held").await.unwrap();
    let record = node.annotations()[ownership::ANNOTATION].clone();
    taint(cluster, "held", false).await;
    cluster
        .annotate_node("held", json!({ &by_uid: value }))
        .await
        .unwrap();
    cluster.create_node(&worker("new", true)).await.unwrap();
    write_status(
        cluster,
        "agent",
        &[("held", "Absent"), ("new", "Present")],
        "2026-01-02T03:04:05Z",
    )
    .await;

    // And back to us: what it completed stays so, what it holds is held, the old record is gone.
    let host = cluster.start_host().await.unwrap();
    cluster.until_worked_off().await.unwrap();
    let node = cluster.nodes().get("held").await.unwrap();
    assert!(
        !node.annotations().contains_key(ownership::ANNOTATION),
        "{record}"
    );
    assert!(!held("held").await && held("new").await && held("stranger").await);
    cluster.agent_reports("new", "True").await;
    cluster.until_released("new").await;
    cluster
        .until_status("agent", "nothing of the false status is left", |status| {
            let applied = ["by-name", "by-uid", "held", "new", "released"];
            status.failed_nodes.is_empty() && status.applied_nodes == applied
        })
        .await
        .unwrap();
    cluster.delete_rule("agent").await.unwrap();
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        assert_eq!(completions(&node), [""; 0], "{}", node.name_any());
        assert!(
            !node.annotations().contains_key(ownership::ANNOTATION),
            "{}",
            node.name_any()
        );
    }
    assert_eq!(
        cluster.tainted(GUIDE_TAINT).await.unwrap(),
        2,
        "the strangers' stay"
    );
    host.terminate().await.unwrap();
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        cluster
            .nodes()
            .delete(&node.name_any(), &DeleteParams::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn compat_011_021_compat_j_rollback_and_return_lose_nothing_and_take_nothing() {
    let cluster = Cluster::start().await.unwrap();
    there_and_back(&cluster).await;
    install(&cluster).await;
    there_and_back(&cluster).await;
}

/// A careful migration pauses the rule first. As long as nothing is recorded on nodes, the status says which of
/// them the rule held, however often the host starts.
#[tokio::test]
async fn nrc_235_compat_j_rollback_a_rule_paused_at_the_takeover_forgets_no_taint() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("out", true)).await.unwrap();
    cluster.create_node(&worker("held", true)).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let paused = json!({
        "metadata": { "finalizers": [api::rule::FINALIZER] }, "spec": { "suspend": true },
    });
    cluster.patch_rule("agent", paused).await.unwrap();
    let relabelled = json!({ "metadata": { "labels": { WORKER: null } } });
    patch_node(&cluster, "out", relabelled).await;
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let said = [("out", "Present"), ("held", "Present")];
    write_status(&cluster, "agent", &said, &time.to_string()).await;
    let host = cluster.start_host().await.unwrap();
    let suspended = |status: &api::rule::status::NodeReadinessRuleStatus| {
        status
            .conditions
            .iter()
            .any(|one| one.reason == "Suspended")
    };
    cluster
        .until_status("agent", "it says Suspended", suspended)
        .await
        .unwrap();
    cluster.until_worked_off().await.unwrap();
    host.terminate().await.unwrap();

    let host = cluster.start_host().await.unwrap();
    let resume = json!({ "spec": { "suspend": null } });
    cluster.patch_rule("agent", resume).await.unwrap();
    cluster.until_released("out").await;
    cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(cluster.readiness_taints("held").await.unwrap().len(), 1);
    host.terminate().await.unwrap();
}

/// Nobody takes the guide's taint off the nodes with this label.
async fn guard(cluster: &Cluster) {
    let stays = format!(
        "!('guarded' in object.metadata.labels) || object.spec.?taints.orValue([]).exists(taint, taint.key == '{GUIDE_TAINT}')"
    );
    let probe = json!({ "spec": { "taints": null } });
    cluster.keep_out(&stays, "Invalid", probe).await.unwrap();
}

/// A rule of the Go controller, with nodes that it held, and a time after the status that says so.
async fn begun(cluster: &Cluster, nodes: &[&str], relabelled: &[&str]) {
    for name in nodes {
        let mut node = worker(name, true);
        if *name != "held" {
            node.labels.push(("guarded".to_owned(), String::new()));
        }
        cluster.create_node(&node).await.unwrap();
    }
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let finalizer = json!({ "metadata": { "finalizers": [api::rule::FINALIZER] } });
    cluster.patch_rule("agent", finalizer).await.unwrap();
    let out = json!({ "metadata": { "labels": { WORKER: null } } });
    for name in relabelled {
        patch_node(cluster, name, out.clone()).await;
    }
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let said: Vec<_> = nodes.iter().map(|name| (*name, "Present")).collect();
    write_status(cluster, "agent", &said, &time.to_string()).await;
    guard(cluster).await;
}

/// Does a status say that so many nodes failed, without the counts by which a host knows its own?
fn fails(nodes: usize) -> impl Fn(&NodeReadinessRuleStatus) -> bool {
    move |status| {
        let mut conditions = status.conditions.iter();
        status.nodes.is_none()
            && status.failed_nodes.len() == nodes
            && conditions.any(|one| one.reason == "NodesFailed")
    }
}

/// The node that cannot be changed must not cost the others what is known of them.
#[tokio::test]
async fn nrc_235_compat_j_rollback_a_node_that_cannot_be_changed_costs_no_other_its_owner() {
    let cluster = Cluster::start().await.unwrap();
    begun(&cluster, &["node-1", "out", "held"], &["out"]).await;
    cluster.agent_reports("node-1", "True").await;
    let host = cluster.start_host().await.unwrap();
    let stored = cluster
        .until_status("agent", "two nodes cannot be changed", fails(2))
        .await
        .unwrap();
    let status = stored.status.unwrap();
    let listed: Vec<_> = (status.node_evaluations.iter())
        .map(|node| (node.node_name.as_str(), node.taint_status))
        .collect();
    let present = ["node-1", "out", "held"].map(|name| (name, TaintStatus::Present));
    assert_eq!(listed, present);
    for failure in &status.failed_nodes {
        let message = failure.message.as_deref().unwrap();
        assert!(message.contains("not wanted here"), "{message}");
    }
    host.kill().await.unwrap();

    cluster.admit().unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_released("out").await;
    cluster.until_released("node-1").await;
    cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(cluster.readiness_taints("held").await.unwrap().len(), 1);
    host.terminate().await.unwrap();
}

/// Nothing but the node that waits brings the status to its end: by going, or by being changed.
#[tokio::test]
async fn compat_j_rollback_ends_when_the_last_node_can_be_changed_or_is_gone() {
    let cluster = Cluster::start().await.unwrap();
    begun(&cluster, &["node-1", "gone"], &["node-1", "gone"]).await;
    let host = cluster.start_host().await.unwrap();
    let says = |what, nodes| cluster.until_status("agent", what, fails(nodes));
    says("two nodes cannot be changed", 2).await.unwrap();
    let nodes = cluster.nodes();
    nodes
        .delete("gone", &DeleteParams::default())
        .await
        .unwrap();
    says("one node cannot be changed", 1).await.unwrap();
    cluster.admit().unwrap();
    cluster.until_released("node-1").await;
    cluster.until_status_is_true("agent").await.unwrap();
    host.terminate().await.unwrap();
}
