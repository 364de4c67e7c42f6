//! What a host does not see in time.

use std::sync::Arc;

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, agent_rule, worker};
use kube::api::DeleteParams;

const NODES: &str = "/api/v1/nodes";

async fn observer(cluster: &Cluster) -> Proxy {
    let pass =
        |_, _| -> futures::future::BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    Proxy::start(cluster.client.clone(), Arc::new(pass))
        .await
        .unwrap()
}

/// Until our own write has come back by the watch, a plan would answer a node that is no longer there: it
/// would be refused, and read the node once more.
#[tokio::test]
async fn a_node_is_not_planned_for_before_our_own_write_is_seen() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let proxy = observer(&cluster).await;
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

/// It has no event of its own: the new list just does not have it.
#[tokio::test]
async fn a_node_that_vanished_while_the_watch_was_cut_is_forgotten() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let proxy = observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-2").await;
    cluster.until_status_is_true("agent").await.unwrap();
    let watches = proxy.watches();
    watches.send_modify(|watches| watches.paused = true);
    let nodes = cluster.nodes();
    nodes
        .delete("node-2", &DeleteParams::default())
        .await
        .unwrap();
    watches.send_modify(|watches| {
        watches.paused = false;
        watches.expired = true;
        watches.generation += 1;
    });
    let stored = cluster.until_status_is_true("agent").await.unwrap();
    let counts = stored.status.unwrap().nodes.unwrap();
    assert_eq!((counts.matched, counts.held), (Some(1), Some(1)));
    host.terminate().await.unwrap();
}

/// Of what it wrote a host needs to know the version; the rest would be the whole object, each time.
#[tokio::test]
async fn writes_ask_for_metadata_only() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let proxy = observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_status_is_true("agent").await.unwrap();
    // It has sent its events when it ends.
    host.terminate().await.unwrap();
    let rule = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules/agent";
    for (method, path) in [
        ("PATCH", format!("{rule}/status?")),
        ("PATCH", format!("{rule}?")),
        ("PATCH", "/api/v1/nodes/node-1?".to_owned()),
        ("POST", "/apis/events.k8s.io/v1/".to_owned()),
    ] {
        let passed = proxy.passed().into_iter();
        let written =
            passed.filter(|request| request.method == method && request.path.starts_with(&path));
        let accepts: Vec<_> = written.map(|request| request.accept).collect();
        assert!(!accepts.is_empty(), "{path}");
        for accept in accepts {
            let only = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
            assert_eq!(accept, only, "{path}");
        }
    }
}
