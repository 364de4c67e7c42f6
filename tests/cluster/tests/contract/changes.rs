//! What changes, and what comes of it.

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{node_patches, observer, patch_node};

const WORKER: &str = "node-role.kubernetes.io/worker";

fn labels(value: Value) -> Value {
    json!({ "metadata": { "labels": value } })
}

/// Rule and node in turn are the news; each time only one thing changes.
#[tokio::test]
async fn compat_025_029_whatever_changes_is_acted_on_at_once() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("early", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    // A new rule for a node that exists, and a new node for a rule that exists.
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("early").await;
    let mut late = worker("late", false);
    late.labels.clear();
    cluster.create_node(&late).await.unwrap();
    // Labels, both ways.
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("late").await.unwrap(), [""; 0]);
    patch_node(&cluster, "late", labels(json!({ WORKER: "" }))).await;
    cluster.until_held("late").await;
    patch_node(&cluster, "late", labels(json!({ WORKER: null }))).await;
    cluster.until_released("late").await;
    // Conditions, both ways.
    for (status, held) in [("True", false), ("False", true)] {
        cluster.agent_reports("early", status).await;
        cluster
            .until_tainted("early", GUIDE_TAINT, held)
            .await
            .unwrap();
    }
    // Taints: one taken off by hand comes back.
    let uid = cluster.nodes().get("early").await.unwrap().metadata.uid;
    patch_node(&cluster, "early", json!({ "spec": { "taints": null } })).await;
    let node = cluster.until_held("early").await;
    assert_eq!(node.metadata.uid, uid);

    // Labels and annotations of a rule are no new generation; its spec is.
    let before = cluster.until_status_is_true("agent").await.unwrap();
    let change = json!({ "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } } });
    cluster.patch_rule("agent", change).await.unwrap();
    cluster.until_worked_off().await.unwrap();
    let after = cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(after.metadata.generation, before.metadata.generation);
    cluster
        .patch_rule("agent", json!({ "spec": { "dryRun": true } }))
        .await
        .unwrap();
    let generation = before.metadata.generation.map(|generation| generation + 1);
    cluster
        .until_status("agent", "the new generation is observed", |status| {
            status.observed_generation == generation
                && status
                    .conditions
                    .iter()
                    .all(|one| one.observed_generation == generation)
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();
}

/// Somebody else's finalizer keeps the rule after ours is gone.
#[tokio::test]
async fn compat_023_024_the_finalizer_is_first_and_a_rule_that_goes_does_nothing_more() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let proxy = observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    let patched: Vec<_> = (proxy.passed().into_iter())
        .filter(|request| request.method == "PATCH")
        .map(|request| request.path)
        .collect();
    assert!(
        patched[0].contains("/nodereadinessrules/agent?"),
        "{patched:?}"
    );
    assert!(
        patched[1].starts_with("/api/v1/nodes/node-1"),
        "{patched:?}"
    );

    let before = cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(before.finalizers(), [api::rule::FINALIZER]);
    let theirs =
        json!({ "metadata": { "finalizers": [api::rule::FINALIZER, "example.com/theirs"] } });
    cluster.patch_rule("agent", theirs).await.unwrap();
    cluster
        .rules()
        .delete("agent", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_released("node-1").await;
    wait::until_true("our finalizer is gone, and theirs is not", || async {
        Ok(cluster.rules().get("agent").await?.finalizers() == ["example.com/theirs"])
    })
    .await
    .unwrap();
    // What it says last is true from then on.
    let last = json!(cluster.rules().get("agent").await.unwrap().status);
    let ready = &last["conditions"][0];
    let told = ["type", "status", "reason"].map(|field| ready[field].as_str().unwrap());
    assert_eq!(told, ["Ready", "False", "Released"]);
    cluster.create_node(&worker("node-2", false)).await.unwrap();
    cluster.agent_reports("node-1", "False").await;
    cluster.until_worked_off().await.unwrap();
    for node in ["node-1", "node-2"] {
        assert_eq!(cluster.readiness_taints(node).await.unwrap(), [""; 0]);
    }
    let after = cluster.rules().get("agent").await.unwrap();
    assert_eq!(
        after.finalizers(),
        ["example.com/theirs"],
        "it is not put back"
    );
    assert_eq!(json!(after.status), last);
    cluster
        .patch_rule("agent", json!({ "metadata": { "finalizers": null } }))
        .await
        .unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_relabelled_out_is_no_completion_and_takes_none_away() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["held", "completed"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("completed", "True").await;
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    cluster.until_held("held").await;
    cluster.until_status_is_true("agent").await.unwrap();
    for name in ["held", "completed"] {
        patch_node(&cluster, name, labels(json!({ WORKER: null }))).await;
    }
    cluster.until_released("held").await;
    cluster.until_worked_off().await.unwrap();
    let completions = |node: k8s_openapi::api::core::v1::Node| {
        let keys = node.annotations().keys().cloned();
        keys.filter(|key| key.contains("bootstrap-completed"))
            .count()
    };
    assert_eq!(completions(cluster.nodes().get("held").await.unwrap()), 0);
    assert_eq!(
        completions(cluster.nodes().get("completed").await.unwrap()),
        1
    );
    // Back in: the one is held again, and the other never.
    for name in ["held", "completed"] {
        cluster.agent_reports(name, "False").await;
        patch_node(&cluster, name, labels(json!({ WORKER: "" }))).await;
    }
    cluster.until_held("held").await;
    cluster.until_worked_off().await.unwrap();
    assert_eq!(
        cluster.readiness_taints("completed").await.unwrap(),
        [""; 0]
    );
    host.terminate().await.unwrap();
}

/// Each transition is one patch and one event, also with two rules at once.
#[tokio::test]
async fn compat_j_transition_is_one_patch_and_one_event() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let proxy = observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    for name in ["node-1", "node-2"] {
        cluster.until_held(name).await;
        cluster.agent_reports(name, "True").await;
        cluster.until_released(name).await;
    }
    cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(node_patches(&proxy), 4);
    host.terminate().await.unwrap();
    assert_eq!(
        proxy.count("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
        4
    );
    for name in ["node-1", "node-2"] {
        for reason in ["TaintAdded", "TaintRemoved"] {
            assert_eq!(
                cluster.events(name, reason).await.unwrap().len(),
                1,
                "{name} {reason}"
            );
        }
    }
}

/// A cordoned node is held and released as any other. `timeAdded` is nobody's but the node controller's.
/// A value that comes later changes no taint that is there.
#[tokio::test]
async fn compat_j_cordoned_compat_j_time_added_compat_j_value_set_later() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("early", false)).await.unwrap();
    patch_node(
        &cluster,
        "early",
        json!({ "spec": { "unschedulable": true } }),
    )
    .await;
    let host = cluster.start_host().await.unwrap();
    let taint = "effect: NoExecute, timeAdded: '2026-01-02T03:04:05Z'";
    let rule =
        agent_rule("agent", "continuous").replace("effect: NoSchedule, value: pending", taint);
    cluster.apply(&rule).unwrap();
    for (status, held) in [("False", true), ("True", false), ("False", true)] {
        cluster.agent_reports("early", status).await;
        let node = cluster
            .until_tainted("early", GUIDE_TAINT, held)
            .await
            .unwrap();
        let spec = node.spec.unwrap();
        assert_eq!(spec.unschedulable, Some(true));
        let ours = spec
            .taints
            .into_iter()
            .flatten()
            .find(|taint| taint.key == GUIDE_TAINT);
        assert_eq!(ours.and_then(|taint| taint.time_added), None);
    }
    let change = json!({ "spec": { "taint": { "value": "later" } } });
    cluster.patch_rule("agent", change).await.unwrap();
    cluster.create_node(&worker("late", false)).await.unwrap();
    cluster.until_held("late").await;
    cluster.until_worked_off().await.unwrap();
    let taints = |name| cluster.readiness_taints(name);
    assert_eq!(
        taints("early").await.unwrap(),
        [format!("{GUIDE_TAINT}:NoExecute")]
    );
    assert_eq!(
        taints("late").await.unwrap(),
        [format!("{GUIDE_TAINT}=later:NoExecute")]
    );
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_terminating_nodes_are_held_and_released_outside_the_budget() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["going", "staying"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let theirs = json!({ "metadata": { "finalizers": ["example.com/theirs"] } });
    patch_node(&cluster, "going", theirs).await;
    cluster
        .nodes()
        .delete("going", &DeleteParams::default())
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    let budget = "  budget: {maxHeld: 1, exemptYoungerThan: 0s}\n";
    cluster
        .apply(&(agent_rule("agent", "continuous") + budget))
        .unwrap();
    for name in ["going", "staying"] {
        cluster.until_held(name).await;
    }
    cluster.agent_reports("going", "True").await;
    cluster.until_released("going").await;
    patch_node(
        &cluster,
        "going",
        json!({ "metadata": { "finalizers": null } }),
    )
    .await;
    cluster
        .until_status("agent", "it is gone", |status| {
            status.applied_nodes == ["staying"]
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();
}
