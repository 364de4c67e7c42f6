//! A rule that is deleted and cannot go says why, and goes soon after it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::rule::status::{Condition, NodeReadinessRuleStatus};
use cluster_tests::proxy::Fault;
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::{host_through, one_worker};

const RULE: &str = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules/agent";

fn ready(status: &NodeReadinessRuleStatus) -> Option<&Condition> {
    status.conditions.iter().find(|one| one.r#type == "Ready")
}

async fn delete(cluster: &Cluster) {
    let rules = cluster.rules();
    rules
        .delete("agent", &DeleteParams::default())
        .await
        .unwrap();
}

async fn until_gone(cluster: &Cluster) {
    wait::until_true("the rule is gone", || async {
        Ok(cluster.rules().get_opt("agent").await?.is_none())
    })
    .await
    .unwrap();
}

/// An admission policy wants the taint to stay. No node changes when it is gone.
#[tokio::test]
async fn compat_023_a_deletion_that_hangs_says_on_which_nodes_and_why() {
    let cluster = Cluster::start().await.unwrap();
    for number in 1..=5 {
        let node = worker(&format!("node-{number}"), false);
        cluster.create_node(&node).await.unwrap();
    }
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    let stays = format!(
        "oldObject.spec.?taints.orValue([]).all(taint, taint.key != '{GUIDE_TAINT}') || object.spec.?taints.orValue([]).exists(taint, taint.key == '{GUIDE_TAINT}')"
    );
    let probe = json!({ "spec": { "taints": null } });
    cluster.keep_out(&stays, "Invalid", probe).await.unwrap();
    delete(&cluster).await;
    let stored = cluster
        .until_status("agent", "it waits for five nodes", |status| {
            let ready = ready(status).filter(|ready| ready.status.as_str() == "False");
            ready.is_some_and(|ready| {
                ready.reason == "NodesNotReleased" && ready.message.contains("5 nodes")
            })
        })
        .await
        .unwrap();
    let status = stored.status.as_ref().unwrap();
    let message = &ready(status).unwrap().message;
    assert!(
        message.contains("node-1: failed to remove taint: "),
        "{message}"
    );
    assert!(message.contains("not wanted here"), "{message}");
    assert!(message.ends_with("; and 2 more"), "{message}");
    let failed: Vec<_> = status
        .failed_nodes
        .iter()
        .map(|node| node.node_name.as_str())
        .collect();
    assert_eq!(failed, ["node-1", "node-2", "node-3", "node-4", "node-5"]);
    assert_eq!(status.node_evaluations, []);
    assert_eq!(status.observed_generation, stored.metadata.generation);
    let note = cluster
        .until_event("agent", "NodesNotReleased")
        .await
        .unwrap();
    assert!(note.contains("not wanted here"), "{note}");
    cluster.admit().unwrap();
    until_gone(&cluster).await;
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 0);
    host.terminate().await.unwrap();
}

/// All nodes are free, and the API server does not let the rule go. With somebody else's finalizer, the
/// status does not stay wrong either.
#[tokio::test]
async fn compat_023_a_finalizer_that_cannot_be_removed_is_told() {
    let cluster = one_worker().await;
    let refused = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&refused);
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let is_rule = method == "PATCH" && path.starts_with(&format!("{RULE}?"));
        let refused = is_rule && refuses.load(Ordering::SeqCst);
        let fault = if refused {
            Fault::Refuse(http::StatusCode::FORBIDDEN)
        } else {
            Fault::Pass
        };
        Box::pin(async { fault })
    };
    let (_proxy, host) = host_through(&cluster, hook).await;
    let theirs = "example.com/theirs";
    let rule = agent_rule("agent", "continuous").replace(
        "{name: agent}",
        &format!(
            "{{name: agent, finalizers: [{}, {theirs}]}}",
            api::rule::FINALIZER
        ),
    );
    cluster.apply(&rule).unwrap();
    cluster.until_held("node-1").await;
    delete(&cluster).await;
    let note = cluster
        .until_event("agent", "FinalizerNotRemoved")
        .await
        .unwrap();
    assert!(note.contains(api::rule::FINALIZER), "{note}");
    let reason = |reason: &'static str| {
        let is = move |status: &NodeReadinessRuleStatus| {
            ready(status).is_some_and(|ready| ready.reason == reason)
        };
        cluster.until_status("agent", reason, is)
    };
    reason("FinalizerNotRemoved").await.unwrap();
    refused.store(false, Ordering::SeqCst);
    wait::until_true("ours is gone", || async {
        Ok(cluster.rules().get("agent").await?.finalizers() == [theirs])
    })
    .await
    .unwrap();
    reason("Released").await.unwrap();
    let none = json!({ "metadata": { "finalizers": null } });
    cluster.patch_rule("agent", none).await.unwrap();
    until_gone(&cluster).await;
    host.terminate().await.unwrap();
}

/// Somebody else changes the finalizers between our read and our write: that is nothing to warn of.
#[tokio::test]
async fn compat_023_a_lost_race_for_the_finalizer_is_no_warning() {
    let cluster = one_worker().await;
    let first = Arc::new(AtomicBool::new(true));
    let rules = cluster.rules();
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (rules, first) = (rules.clone(), Arc::clone(&first));
        Box::pin(async move {
            let ours = method == "PATCH" && path.starts_with(&format!("{RULE}?"));
            if ours && first.swap(false, Ordering::SeqCst) {
                let theirs = json!({ "metadata": { "finalizers": ["example.com/theirs"] } });
                let patch = kube::api::Patch::Merge(theirs);
                rules
                    .patch("agent", &Default::default(), &patch)
                    .await
                    .unwrap();
            }
            Fault::Pass
        })
    };
    let (proxy, host) = host_through(&cluster, hook).await;
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    let stored = cluster.rules().get("agent").await.unwrap();
    assert_eq!(
        stored.finalizers(),
        ["example.com/theirs", api::rule::FINALIZER]
    );
    let patches = proxy.passed().into_iter().filter(|request| {
        request.method == "PATCH" && request.path.starts_with(&format!("{RULE}?"))
    });
    let answers: Vec<u16> = patches.map(|request| request.status).collect();
    assert_eq!(answers, [422, 200]);
    // It has sent its events when it ends.
    host.terminate().await.unwrap();
    assert_eq!(cluster.events("agent", "NotBegun").await.unwrap(), [""; 0]);
    let none = json!({ "metadata": { "finalizers": null } });
    cluster.patch_rule("agent", none).await.unwrap();
}
