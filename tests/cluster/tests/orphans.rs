//! A record whose rule is not in the host's cache: gone, or only not seen?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};

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
