//! The definitions on a real API server: what they accept, what they refuse, and in which words. Contract
//! lines 1 to 11, and `ReadinessPolicy`.
//!
//! One control plane serves every case, and a static would outlive the test: so the cases are
//! functions that one test calls, and that report what went wrong under their own name. `cfg(test)`
//! tells clippy that they are tests.

#[cfg(test)]
#[path = "crd/life.rs"]
mod life;
#[cfg(test)]
#[path = "crd/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "crd/spec.rs"]
mod spec;
#[cfg(test)]
#[path = "crd/status.rs"]
mod status;
#[cfg(test)]
#[path = "crd/wire.rs"]
mod wire;

use cluster_tests::Cluster;

use wire::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compat_001_to_011_the_definition() {
    let cluster = Cluster::start().await.unwrap();
    let mut server = Server::new(&cluster);

    spec::compat_004_conditions(&mut server).await;
    spec::compat_005_enforcement_mode(&mut server).await;
    spec::compat_006_required_and_typed(&mut server).await;
    spec::compat_007_taint_messages(&mut server).await;
    spec::compat_009_selector_and_options(&mut server).await;
    spec::unknown_fields(&mut server).await;
    spec::names(&mut server).await;
    status::compat_010_status(&mut server).await;
    status::compat_010_lists_of_nodes(&mut server).await;
    life::compat_001_names_and_scope(&mut server).await;
    life::compat_002_columns(&mut server, &cluster).await;
    life::compat_003_field_selectors(&mut server).await;
    life::compat_008_immutable(&mut server).await;
    life::compat_009_no_defaults(&mut server).await;
    life::compat_011_the_guide(&mut server, &cluster).await;

    let failures = server.failures();
    drop(cluster);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definition_of_policies() {
    let cluster = Cluster::start().await.unwrap();
    let mut server = Server::new(&cluster);
    cluster.install_policies().await.unwrap();

    policy::what_is_taken(&mut server).await;
    policy::what_is_refused(&mut server).await;
    policy::what_is_shown(&mut server, &cluster).await;

    let failures = server.failures();
    drop(cluster);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
