//! The last good module after a restart, while its registry is away.

use cluster_tests::{Cluster, GUIDE_TAINT, Host, worker};
use fetch_tests::{Cosign, Options, Registry};
use planner::rule::Status;
use serde_json::json;

use crate::registry::push_to;
use crate::world::{apply, hostile, message, rule, start, until, until_stalled};

async fn host(cluster: &Cluster) -> Host {
    let folder = cluster.plane.folder().join("kept");
    let argument = format!("--policy-cache={}", folder.display());
    cluster.start_host_with(&[&argument]).await.unwrap()
}

/// It lets every node go.
async fn decides(cluster: &Cluster, node: &str) {
    cluster.create_node(&worker(node, true)).await.unwrap();
    cluster.until_released(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_module_decides_after_a_restart_while_the_registry_is_away() {
    let registry = Registry::start(Options::default()).unwrap();
    let cosign = Cosign::new(&registry, None).unwrap();
    cosign.key("ours").unwrap();
    let key = std::fs::read_to_string(cosign.folder().join("ours.pub")).unwrap();
    push_to(&registry, None, "policies/steady:1.0", &hostile()).await;
    let reference = format!("{}/policies/steady:1.0", registry.host());
    let module = json!({"oci": {"reference": reference, "plainHTTP": true}});

    let cluster = start().await;
    let running = host(&cluster).await;
    apply(&cluster, json!({ "module": module })).await;
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    let good = until(&cluster, "Ready", Status::True, "Decides").await;
    decides(&cluster, "first").await;
    running.terminate().await.unwrap();
    drop(registry);

    // By the tag, which nobody can look up now: what it named stands in the status.
    let running = host(&cluster).await;
    let status = until(&cluster, "Fetched", Status::False, "Unreachable").await;
    assert_eq!(status.last_good_digest, good.digest);
    for (condition, says) in [("Ready", "was kept"), ("Verified", "nobody has to")] {
        until(&cluster, condition, Status::True, reason(condition)).await;
        let said = message(&status, condition);
        assert!(said.contains(says), "{condition}: {said}");
    }
    decides(&cluster, "second").await;
    // Another spec has not been brought yet: what decides is the last good one, and not what is wanted.
    apply(&cluster, json!({"module": module, "onFailure": "Taint"})).await;
    let status = until(&cluster, "Ready", Status::False, "Unreachable").await;
    assert!(message(&status, "Ready").contains("the last good module sha256:"));
    // One that must be signed is not taken from where unsigned ones are.
    let signed = json!({"module": module, "signature": {"keys": [key]}});
    apply(&cluster, signed).await;
    until(&cluster, "Ready", Status::False, "Unreachable").await;
    running.terminate().await.unwrap();
    let running = host(&cluster).await;
    until_stalled(
        &cluster,
        "agent",
        "PolicyNotReady: spec.policy.name: policy \"steady\" is not ready: ",
    )
    .await;
    running.terminate().await.unwrap();
}

fn reason(condition: &str) -> &'static str {
    match condition {
        "Ready" => "Decides",
        _ => "NotRequired",
    }
}
