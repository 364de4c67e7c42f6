//! A rule takes the place of one that cannot act any more, and what that one says meanwhile.

use api::rule::status::TaintStatus;
use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, worker};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use planner::ownership;
use serde_json::json;

/// One node that is held, and one whose bootstrap is complete.
async fn with_old(cluster: &Cluster) -> String {
    for name in ["waiting", "completed"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("completed", "True").await;
    let rule = agent_rule("old", "bootstrap-only").replace(", value: pending", "");
    cluster.apply(&rule).unwrap();
    let old = cluster
        .until_status("old", "one is held, one complete", |status| {
            status
                .nodes
                .is_some_and(|nodes| (nodes.held, nodes.completed) == (Some(1), Some(1)))
        })
        .await
        .unwrap();
    // Whoever forgets the completion holds this one again.
    cluster.agent_reports("completed", "False").await;
    old.uid().unwrap()
}

/// The schema lets pass what no node can carry.
async fn stall_old(cluster: &Cluster) {
    let value = json!({ "spec": { "taint": { "value": "not ok!" } } });
    cluster.patch_rule("old", value).await.unwrap();
    cluster.until_event("old", "Stalled").await.unwrap();
}

fn replacement() -> String {
    let rule = agent_rule("new", "bootstrap-only").replace(", value: pending", "");
    rule + "  replaces: old\n"
}

fn completions(node: &Node) -> Vec<&str> {
    let keys = node.annotations().keys();
    keys.filter_map(|key| key.strip_prefix("readiness.k8s.io/bootstrap-completed-"))
        .collect()
}

/// The new rule has everything, and the old one can go.
async fn handed_over(cluster: &Cluster) {
    let new = cluster.until_status_is_true("new").await.unwrap();
    cluster.until_worked_off().await.unwrap();
    cluster.delete_rule("old").await.unwrap();
    cluster.until_worked_off().await.unwrap();
    let waiting = cluster.nodes().get("waiting").await.unwrap();
    let records: serde_json::Value =
        serde_json::from_str(&waiting.annotations()[ownership::ANNOTATION]).unwrap();
    assert_eq!(records[0]["rule"], "new");
    assert_eq!(cluster.readiness_taints("waiting").await.unwrap().len(), 1);
    let completed = cluster.nodes().get("completed").await.unwrap();
    assert_eq!(completions(&completed), [new.uid().unwrap()]);
    let taints = cluster.readiness_taints("completed").await.unwrap();
    assert_eq!(taints, [""; 0]);
    for name in ["waiting", "completed"] {
        let told = cluster.events(name, "TaintNotManaged").await.unwrap();
        assert_eq!(told, [""; 0]);
    }
}

#[tokio::test]
async fn compat_j_replaces_a_stalled_rule_as_well_as_a_sound_one() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    with_old(&cluster).await;
    stall_old(&cluster).await;
    cluster.apply(&replacement()).unwrap();
    handed_over(&cluster).await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_replaces_a_suspended_rule_as_well_as_a_sound_one() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    with_old(&cluster).await;
    let suspend = json!({ "spec": { "suspend": true } });
    cluster.patch_rule("old", suspend).await.unwrap();
    cluster.until_event("old", "Suspended").await.unwrap();
    cluster.apply(&replacement()).unwrap();
    handed_over(&cluster).await;
    host.terminate().await.unwrap();
}

/// The old rule is deleted in the emergency in which everything is frozen.
#[tokio::test]
async fn compat_j_replaces_a_rule_that_is_deleted_while_every_rule_is_frozen() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let uid = with_old(&cluster).await;
    let freeze = |why| json!({ "metadata": { "annotations": { "readiness.node.x-k8s.io/freeze-all": why } } });
    cluster
        .apply(&agent_rule("third", "continuous").replace("security-agent-ready", "third"))
        .unwrap();
    cluster
        .patch_rule("third", freeze(json!("stop")))
        .await
        .unwrap();
    cluster.until_event("old", "Frozen").await.unwrap();
    cluster.apply(&replacement()).unwrap();
    cluster.until_event("new", "Frozen").await.unwrap();
    cluster.delete_rule("old").await.unwrap();
    let completed = cluster.nodes().get("completed").await.unwrap();
    assert!(
        !completions(&completed).is_empty() && !completions(&completed).contains(&uid.as_str())
    );
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1);
    cluster
        .patch_rule("third", freeze(json!(null)))
        .await
        .unwrap();
    let ready = |status: &api::rule::status::NodeReadinessRuleStatus| {
        status.conditions.iter().any(|one| one.reason == "Enforced")
    };
    cluster
        .until_status("new", "it is in force", ready)
        .await
        .unwrap();
    cluster.until_worked_off().await.unwrap();
    let taints = cluster.readiness_taints("completed").await.unwrap();
    assert!(
        !taints.iter().any(|taint| taint.starts_with(GUIDE_TAINT)),
        "{taints:?}"
    );
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1);
    host.terminate().await.unwrap();
}

/// What a Stalled rule holds does not vanish from its status, nor do its series; also for a host that never
/// saw it sound.
#[tokio::test]
async fn compat_009_010_a_stalled_rule_goes_on_saying_what_it_holds() {
    let cluster = Cluster::start().await.unwrap();
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let log = host.log().unwrap();
    let line = log.lines().find(|line| line.contains("metrics are served"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    with_old(&cluster).await;
    let mut out = worker("out", false);
    out.labels.clear();
    cluster.create_node(&out).await.unwrap();
    stall_old(&cluster).await;
    let says = |status: &api::rule::status::NodeReadinessRuleStatus| {
        let stalled = status
            .conditions
            .iter()
            .any(|one| one.r#type == "Stalled" && one.status.as_str() == "True");
        let held: Vec<_> = (status.node_evaluations.iter())
            .filter(|node| node.taint_status == TaintStatus::Present)
            .map(|node| node.node_name.as_str())
            .collect();
        let counts = status.nodes.unwrap_or_default();
        stalled
            && held == ["waiting"]
            && status.applied_nodes.is_empty()
            && (counts.matched, counts.held, counts.completed) == (Some(2), Some(1), Some(1))
    };
    cluster
        .until_status("old", "Stalled, and what it holds", says)
        .await
        .unwrap();
    let scrape = Scrape::of(line["address"].as_str().unwrap()).await.unwrap();
    for series in [
        r#"node_readiness_rule_nodes{rule="old",state="held"}"#,
        r#"node_readiness_taint_operations_total{operation="add",rule="old"}"#,
    ] {
        assert_eq!(scrape.get(series), Some(1.0), "{series}\n{}", scrape.text);
    }
    host.terminate().await.unwrap();
    let cleared =
        kube::api::Patch::Merge(json!({ "status": { "nodeEvaluations": null, "nodes": null } }));
    cluster
        .rules()
        .patch_status("old", &Default::default(), &cleared)
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .until_status("old", "the same, by the records", says)
        .await
        .unwrap();
    // A younger rule for the same taint decides, since this one cannot.
    let younger = agent_rule("younger", "continuous").replace(", value: pending", "");
    cluster.apply(&younger).unwrap();
    let stored = cluster
        .until_status("old", "Conflict", |status| {
            status
                .nodes
                .is_some_and(|nodes| nodes.conflicting == Some(1))
        })
        .await
        .unwrap();
    let conditions = stored.status.unwrap().conditions;
    let conflict = conditions
        .iter()
        .find(|one| one.r#type == "Conflict")
        .unwrap();
    assert!(conflict.message.contains("on 1 node"), "{conflict:?}");
    host.terminate().await.unwrap();
}
