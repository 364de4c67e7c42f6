//! What a cleanup leaves, and whom it waits for.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, Host, agent_rule, host_program};
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{until_ready_is, workers};

const RULES: &str = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules";

/// Runs `host cleanup`: its exit status, and what it said.
pub async fn cleanup(kubeconfig: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(host_program().unwrap());
    command.args(["cleanup", "--leader-election-namespace=default"]);
    command.args(more).arg("--kubeconfig").arg(kubeconfig);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A rule that holds a node, and the host that made it so.
async fn held() -> (Cluster, Host) {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-01").await;
    cluster.until_status_is_true("agent").await.unwrap();
    (cluster, host)
}

#[tokio::test]
async fn a_cleanup_leaves_no_status_that_nobody_keeps_true() {
    let (cluster, host) = held().await;
    host.terminate().await.unwrap();
    let rules = cluster.rules();
    let before = rules.get("agent").await.unwrap();
    let (status, said) = cleanup(&cluster.kubeconfig(), &["--dry-run"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("rule/agent: status would be reset\n"),
        "{said}"
    );
    assert_eq!(rules.get("agent").await.unwrap().status, before.status);

    let (status, said) = cleanup(&cluster.kubeconfig(), &[]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("rule/agent: status reset\n"), "{said}");
    until_ready_is(&cluster, "agent", "Unknown", "CleanedUp").await;
    let after = rules.get("agent").await.unwrap();
    let told = after.status.unwrap();
    assert_eq!((told.nodes, told.conditions.len()), (None, 1));
    assert_eq!(
        (told.node_evaluations, told.applied_nodes),
        (vec![], vec![])
    );
    assert_eq!(told.observed_generation, after.metadata.generation);
    // Once is enough.
    let (status, said) = cleanup(&cluster.kubeconfig(), &[]).await;
    assert_eq!(status, Some(0), "{said}");
    let again = rules.get("agent").await.unwrap();
    assert_eq!(
        again.metadata.resource_version,
        after.metadata.resource_version
    );
    // The next host says again what is so.
    let host = cluster.start_host().await.unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    cluster.until_held("node-01").await;
    host.terminate().await.unwrap();
}

/// A way to the API server by which it is counted how often the rules are listed after the finalizer of one was
/// removed.
async fn counted(cluster: &Cluster) -> (Proxy, watch::Receiver<usize>) {
    let (looks, looked) = watch::channel(0);
    let (removed, is_removed) = watch::channel(false);
    let hook = move |method: String, path: String| -> BoxFuture<'static, Fault> {
        let path = path.split('?').next().unwrap_or_default();
        if method == "PATCH" && path.starts_with(RULES) && !path.ends_with("/status") {
            removed.send_replace(true);
        } else if method == "GET" && path == RULES && *is_removed.borrow() {
            looks.send_modify(|looks| *looks += 1);
        }
        Box::pin(async { Fault::Pass })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    (proxy.await.unwrap(), looked)
}

/// It holds no lease, and is slow to answer.
#[tokio::test]
async fn a_host_that_puts_a_finalizer_back_late_is_seen() {
    let (cluster, host) = held().await;
    host.terminate().await.unwrap();
    let (way, looked) = counted(&cluster).await;
    let hook = move |method: String, path: String| -> BoxFuture<'static, Fault> {
        let path = path.split('?').next().unwrap_or_default();
        let is_it = method == "PATCH" && path == format!("{RULES}/agent");
        let mut looked = looked.clone();
        Box::pin(async move {
            if is_it {
                let _ = looked.wait_for(|looks| *looks > 2).await;
            }
            Fault::Pass
        })
    };
    let beside = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let beside = beside.await.unwrap();
    let host = beside.start_host(&cluster).await.unwrap();
    let kubeconfig = way.kubeconfig(&cluster).unwrap();
    let (status, said) = cleanup(&kubeconfig, &[]).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("rule agent has its finalizer again: "),
        "{said}"
    );
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn a_cleanup_waits_for_nobody_where_no_rule_is_left() {
    let (cluster, host) = held().await;
    host.terminate().await.unwrap();
    let (way, looked) = counted(&cluster).await;
    let kubeconfig = way.kubeconfig(&cluster).unwrap();
    // By a label that none of them has.
    let all = ["--delete-rules=!keep"];
    let (status, said) = cleanup(&kubeconfig, &all).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("1 rules deleted, 1 finalizers removed"),
        "{said}"
    );
    assert_eq!(*looked.borrow(), 1);
}

/// The mistake of who deletes first and cleans up then.
#[tokio::test]
async fn a_cleanup_after_its_namespace_says_at_once_where_the_lease_can_be() {
    let (cluster, host) = held().await;
    host.terminate().await.unwrap();
    let mut command = Command::new(host_program().unwrap());
    command.args([
        "cleanup",
        "--leader-election-namespace=nrr-system",
        "--kubeconfig",
    ]);
    command.arg(cluster.kubeconfig());
    let begun = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("namespace nrr-system does not exist"),
        "{said}"
    );
    assert!(
        said.contains("--leader-election-namespace=default"),
        "{said}"
    );
    // And not only when nobody has given the lease up.
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "{:?}",
        begun.elapsed()
    );
    cluster.until_held("node-01").await;

    let (status, said) = cleanup(&cluster.kubeconfig(), &[]).await;
    assert_eq!(status, Some(0), "{said}");
    cluster.until_released("node-01").await;
}
