//! Lines of the compatibility contract that no other test proves on a real API server.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod budget;
mod changes;
mod conflict;
mod other_definition;
mod owned;
mod process;
mod rights;
mod rollback;
mod rounds;
mod told;

use cluster_tests::Cluster;
use cluster_tests::proxy::{Fault, Proxy};
use kube::api::{Patch, PatchParams};
use serde_json::Value;

/// Changes a node by a merge patch.
async fn patch_node(cluster: &Cluster, name: &str, change: Value) {
    cluster
        .nodes()
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

/// A proxy that only looks.
async fn observer(cluster: &Cluster) -> Proxy {
    let pass =
        |_, _| -> futures::future::BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    Proxy::start(cluster.client.clone(), std::sync::Arc::new(pass))
        .await
        .unwrap()
}

/// How many patches of nodes were carried out.
fn node_patches(proxy: &Proxy) -> usize {
    let passed = proxy.passed();
    let patches = passed
        .iter()
        .filter(|request| request.method == "PATCH" && request.path.starts_with("/api/v1/nodes/"));
    patches.filter(|request| request.status == 200).count()
}
