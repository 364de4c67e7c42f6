//! `node-readiness-reporter` against the real API server.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod conditions;
mod document;
mod endpoints;
mod faults;
mod more;
mod process;
mod rights;
mod writes;

use cluster_tests::reporter::ACCOUNT;
use cluster_tests::{Cluster, audit, wait, worker};
use control_plane::Options;

/// The condition that all these tests are about.
const FALCO: &str = "falco.org/FalcoReady";
/// The node that it is a condition of.
const NODE: &str = "worker-1";

/// A cluster with the node, and with an audit log.
async fn cluster() -> Cluster {
    cluster_with(&[]).await
}

/// The same, with further flags of the API server.
async fn cluster_with(flags: &[&str]) -> Cluster {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        apiserver_args: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.create_node(&worker(NODE, false)).await.unwrap();
    cluster
}

/// What the reporter asked of the API server so far, by its log.
fn requests(cluster: &Cluster) -> Vec<audit::Request> {
    let user = format!("system:serviceaccount:{ACCOUNT}:{ACCOUNT}");
    audit::read(&cluster.plane.audit_log(), &[&user]).unwrap()
}

/// Writes that were stored.
fn writes(cluster: &Cluster) -> usize {
    let stores = |one: &&audit::Request| one.verb == "update" && one.code == 200;
    requests(cluster).iter().filter(stores).count()
}

/// Waits until the endpoint was asked so many more times.
async fn until_asked(endpoint: &cluster_tests::Endpoint, more: usize) {
    let wanted = endpoint.asked().len() + more;
    wait::until("the endpoint is asked", || async {
        let asked = endpoint.asked().len();
        Ok((asked >= wanted).then_some(()).ok_or(asked.to_string()))
    })
    .await
    .unwrap();
}
