//! What a host does not see in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, agent_rule, wait, worker};
use kube::api::DeleteParams;

const NODES: &str = "/api/v1/nodes";

/// A node goes while nobody watches, and the API server has forgotten the event.
#[tokio::test]
async fn compat_026_a_node_that_went_unseen_leaves_the_status() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let forgotten = Arc::new(AtomicBool::new(false));
    let forgets = Arc::clone(&forgotten);
    let hook = move |_: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        // A watch that goes on where the last one ended, and not one that begins with a list.
        let goes_on = path.starts_with(NODES)
            && path.contains("watch=true")
            && !path.contains("sendInitialEvents=true");
        let gone = goes_on && forgets.swap(false, Ordering::SeqCst);
        Box::pin(async move { if gone { Fault::Expire } else { Fault::Pass } })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    proxy.watches().send_modify(|watches| watches.paused = true);
    let nodes = cluster.nodes();
    nodes
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
    forgotten.store(true, Ordering::SeqCst);
    proxy.watches().send_modify(|watches| {
        watches.generation += 1;
        watches.paused = false;
    });
    wait::until_true("the API server says that it has forgotten", || async {
        Ok(!forgotten.load(Ordering::SeqCst))
    })
    .await
    .unwrap();
    cluster
        .until_status("agent", "one node", |status| {
            status.applied_nodes == ["node-2"]
        })
        .await
        .unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    host.terminate().await.unwrap();
}

/// Until our own write has come back by the watch, a plan would answer a node that is no longer there: it
/// would be refused, and read the node once more.
#[tokio::test]
async fn a_node_is_not_planned_for_before_our_own_write_is_seen() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let pass =
        |_, _| -> futures::future::BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(pass))
        .await
        .unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    let pause = |paused| {
        proxy
            .watches()
            .send_modify(|watches| (watches.paused, watches.path) = (paused, NODES));
    };
    pause(true);
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    // Each rule makes every node due, as the host saw it last.
    for name in ["one", "two", "three"] {
        let rule = agent_rule(name, "continuous").replace("security-agent-ready", name);
        let rule = rule.replace("node-role.kubernetes.io/worker: ''", "example.com/none: ''");
        cluster.apply(&rule).unwrap();
        cluster
            .until_status(name, "it was looked at", |status| status.nodes.is_some())
            .await
            .unwrap();
    }
    pause(false);
    cluster.until_worked_off().await.unwrap();
    let of_node =
        |request: &cluster_tests::proxy::Passed| request.path.starts_with("/api/v1/nodes/node-1");
    let answers = proxy.passed().into_iter().filter(of_node);
    let answers: Vec<_> = answers
        .map(|request| (request.method, request.status))
        .collect();
    assert_eq!(answers, [("PATCH".to_owned(), 200)]);
    host.terminate().await.unwrap();
}
