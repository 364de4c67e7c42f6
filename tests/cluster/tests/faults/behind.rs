//! An API server whose watch cache is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::past::Past;
use cluster_tests::proxy::{Fault, Proxy, View};
use cluster_tests::{Cluster, agent_rule, worker};
use futures::future::BoxFuture;
use serde_json::json;

/// The rule was suspended; the host has to list the rules anew, from a server that has not heard of that
/// yet and says so to whoever asks for any state. In that moment a node regresses, which the rule would
/// have answered with its taint. Nobody would take it off again while the rule is suspended.
#[tokio::test]
async fn a_host_is_not_taken_back_in_time_by_a_server_that_is_behind() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.agent_reports("node-1", "True").await;
    let past = Arc::new(Past::new(false));
    let listed = Arc::new(AtomicBool::default());
    let seen = Arc::clone(&listed);
    let hook = move |_: String, path: String| -> BoxFuture<'static, Fault> {
        let is_list = path.contains("nodereadinessrules?") && path.contains("sendInitialEvents");
        seen.fetch_or(is_list, Ordering::SeqCst);
        Box::pin(async { Fault::Pass })
    };
    let view = View {
        selector: None,
        past: Some(Arc::clone(&past)),
    };
    let proxy = Proxy::start_view(cluster.client.clone(), Arc::new(hook), view).await;
    let proxy = proxy.unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    let client = &cluster.client;
    past.remember(client, "nodereadinessrules", "")
        .await
        .unwrap();
    let suspend = json!({ "spec": { "suspend": true } });
    cluster.patch_rule("agent", suspend).await.unwrap();
    cluster
        .until_status("agent", "it is suspended", |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|condition| condition.reason == "Suspended")
        })
        .await
        .unwrap();
    listed.store(false, Ordering::SeqCst);
    past.show(true);
    proxy.watches().send_modify(|watches| {
        watches.expired = true;
        watches.generation += 1;
    });
    cluster_tests::wait::until_true("the rules are listed anew", || async {
        Ok(listed.load(Ordering::SeqCst))
    })
    .await
    .unwrap();
    cluster.agent_reports("node-1", "False").await;
    let regressed = |what: &'static str| {
        cluster.until_status("agent", what, |status| {
            let results = status.node_evaluations.iter();
            let mut results = results.flat_map(|node| &node.condition_results);
            results.any(|result| result.current_status.as_str() == "False")
        })
    };
    regressed("the node's change was seen").await.unwrap();
    past.show(false);
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap(), [""; 0]);
    host.terminate().await.unwrap();
}
