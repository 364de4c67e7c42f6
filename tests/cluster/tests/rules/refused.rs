//! What the API server is against, with each status that it has for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::proxy::{Fault, Passed};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, worker};
use serde_json::json;

use crate::{host_through, one_worker};

/// Waits until the rules have looked at all nodes.
async fn until_begun(cluster: &Cluster, rules: [&str; 2]) {
    let evaluated = |status: &NodeReadinessRuleStatus| {
        status.nodes.is_some_and(|nodes| nodes.pending == Some(0))
    };
    for rule in rules {
        cluster
            .until_status(rule, "it has begun", evaluated)
            .await
            .unwrap();
    }
}

/// Admission that answers 403 is admission all the same: one taint does not hold up the other.
#[tokio::test]
async fn compat_028_a_taint_that_is_forbidden_does_not_hold_up_the_others() {
    let cluster = one_worker().await;
    let key = "readiness.k8s.io/forbidden";
    let without = format!("object.spec.?taints.orValue([]).all(taint, taint.key != '{key}')");
    let taint = json!({ "spec": { "taints": [{ "key": key, "effect": "NoSchedule" }] } });
    let refused = cluster.keep_out(&without, "Forbidden", taint).await;
    refused.unwrap();
    let forbidden = agent_rule("forbidden", "continuous").replace(GUIDE_TAINT, key);
    cluster.apply(&forbidden).unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let host = cluster.start_host().await.unwrap();
    until_begun(&cluster, ["agent", "forbidden"]).await;
    // Both want this one at once.
    cluster.create_node(&worker("node-2", false)).await.unwrap();
    cluster.until_held("node-2").await;
    let note = cluster.until_event("node-2", "PatchFailed").await.unwrap();
    assert!(
        note.contains("'forbidden'") && note.contains("not wanted here"),
        "{note}"
    );
    host.terminate().await.unwrap();
}

/// A request that is bad stays bad: the same plan is not sent for a third time, but each of its taints alone.
#[tokio::test]
async fn compat_028_a_bad_request_is_tried_taint_by_taint() {
    const NODE: &str = "/api/v1/nodes/node-1?";
    let cluster = Cluster::start().await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let is_ours = method == "PATCH" && path.starts_with(NODE);
        let fault = if is_ours && asked.fetch_add(1, Ordering::SeqCst) < 2 {
            Fault::Refuse(http::StatusCode::BAD_REQUEST)
        } else {
            Fault::Pass
        };
        Box::pin(async { fault })
    };
    let (proxy, host) = host_through(&cluster, hook).await;
    let other = "readiness.k8s.io/other";
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster
        .apply(&agent_rule("other", "continuous").replace(GUIDE_TAINT, other))
        .unwrap();
    until_begun(&cluster, ["agent", "other"]).await;
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.until_held("node-1").await;
    cluster.until_tainted("node-1", other, true).await.unwrap();
    let of_node = |request: &Passed| request.method == "PATCH" && request.path.starts_with(NODE);
    let patches = proxy.passed().into_iter().filter(of_node);
    let answers: Vec<u16> = patches.map(|request| request.status).collect();
    assert_eq!(answers, [400, 400, 200, 200]);
    host.terminate().await.unwrap();
}
