//! What a host does not see in time.

use std::sync::Arc;

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, agent_rule, worker};

const NODES: &str = "/api/v1/nodes";

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
