//! A record whose rule is not in the host's cache: gone, or only not seen?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use kube::ResourceExt;
use serde_json::json;

const RULES: &str = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules";

/// The watch of rules stands still while that of nodes goes on: as for a host that takes over just then.
#[tokio::test]
async fn nrc_253_254_a_rule_that_only_this_host_has_not_seen_keeps_its_taints() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let blind = Arc::new(AtomicBool::new(false));
    let hook = {
        let blind = Arc::clone(&blind);
        move |_method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
            let watches_rules = path.starts_with(RULES) && path.contains("watch=true");
            let stands_still = watches_rules && blind.load(Ordering::SeqCst);
            Box::pin(async move {
                if stands_still {
                    Fault::Stall
                } else {
                    Fault::Pass
                }
            })
        }
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook)).await;
    let proxy = proxy.unwrap();
    let late = proxy.start_host(&cluster).await.unwrap();
    blind.store(true, Ordering::SeqCst);
    // Both watches break, and that of rules does not come back.
    (proxy.watches()).send_modify(|watches| watches.generation += 1);

    let other = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    let asked = || {
        let passed = proxy.passed();
        let asks = |path: &str| path.starts_with(RULES) && !path.contains("watch=true");
        passed.iter().filter(|passed| asks(&passed.path)).count()
    };
    wait::until_true(
        "the late host asks whether the rule exists, twice",
        || async { Ok(asked() >= 2) },
    )
    .await
    .unwrap();
    assert_eq!(proxy.count("PATCH", "/api/v1/nodes/"), 0);
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1);
    late.kill().await.unwrap();
    other.terminate().await.unwrap();
}

/// The finalizer was removed by force: what nobody will ever ask about goes. What a rule can still have left
/// under its name stays, as does what belongs to a rule that exists.
#[tokio::test]
async fn nrc_247_compat_019_completions_of_rules_that_vanished_go_and_no_others() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
        cluster.agent_reports(name, "True").await;
    }
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    let complete = |name: &'static str| {
        cluster.until_status(name, "both are complete", |status| {
            status.nodes.is_some_and(|nodes| nodes.completed == Some(2))
        })
    };
    let first = complete("agent").await.unwrap().uid().unwrap();
    host.terminate().await.unwrap();
    let force = json!({ "metadata": { "finalizers": null } });
    cluster.patch_rule("agent", force).await.unwrap();
    cluster.delete_rule("agent").await.unwrap();
    // Another of that name, and what the Go controller left by name: of this one, and of one that is
    // only to come back.
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    let key = |suffix: &str| format!("readiness.k8s.io/bootstrap-completed-{suffix}");
    let by_name = json!({ key("agent"): "true", key("later"): "true" });
    cluster.annotate_node("node-1", by_name).await.unwrap();
    let completions = |name: &'static str| {
        let nodes = cluster.nodes();
        async move {
            let node = nodes.get(name).await.unwrap();
            let keys = node.annotations().keys().cloned();
            keys.filter(|key| key.contains("bootstrap-completed"))
                .collect::<Vec<_>>()
        }
    };
    assert!(completions("node-2").await.contains(&key(&first)));
    let host = cluster.start_host().await.unwrap();
    let second = complete("agent").await.unwrap().uid().unwrap();
    wait::until_true("those of the first are gone", || async {
        let (one, two) = (completions("node-1").await, completions("node-2").await);
        Ok(!one.contains(&key(&first)) && !two.contains(&key(&first)))
    })
    .await
    .unwrap();
    cluster.until_worked_off().await.unwrap();
    let left = completions("node-1").await;
    assert_eq!(left, [key("agent"), key("later")]);
    assert_eq!(completions("node-2").await, [key(&second)]);
    host.terminate().await.unwrap();
}
