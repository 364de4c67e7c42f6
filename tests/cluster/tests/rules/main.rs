//! What becomes of rules: replaced, unusable, deleted, gone; and what their status says all the while.
#![expect(clippy::unwrap_used, reason = "tests, and what helps them")]

use std::sync::Arc;

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, Host, worker};
use futures::future::BoxFuture;

mod deleting;
mod refused;
mod replaces;
mod status;
mod watches;

/// A cluster with one worker.
async fn one_worker() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster
}

/// A host at each of whose requests something may be done.
async fn host_through(
    cluster: &Cluster,
    hook: impl Fn(String, String) -> BoxFuture<'static, Fault> + Send + Sync + 'static,
) -> (Proxy, Host) {
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let proxy = proxy.await.unwrap();
    let host = proxy.start_host(cluster).await.unwrap();
    (proxy, host)
}
