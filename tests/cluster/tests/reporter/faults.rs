//! What goes wrong, and that it keeps going.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_tests::link::Link;
use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::scrape::Scrape;
use cluster_tests::webhook::Authority;
use cluster_tests::{Endpoint, Reporter, Settings, reporter, wait, worker};
use http::StatusCode;
use kube::api::DeleteParams;

use crate::{FALCO, NODE, cluster};

/// Longer than what it waits between two attempts, after those that took 10 s each.
const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn an_api_server_that_is_away_is_told_once_and_found_again() {
    let cluster = cluster().await;
    let link = Link::start(&cluster.plane).await.unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    cluster
        .apply(&reporter::documented_rights().unwrap())
        .unwrap();
    let folder = cluster.service_account_folder(&[]).unwrap();
    let server = link.address().to_string();
    link.cut();
    let log = cluster.new_log();
    let mut reporter = Reporter::start_with(&folder, &server, &log, &settings).unwrap();
    let told = "is not written: the API server cannot be reached: no answer within 10 s";
    reporter.until_logged(told).await.unwrap();
    let address = reporter.metrics_address().await.unwrap();
    wait::until_within(LONG, "a second attempt", || async {
        let scrape = Scrape::of(&address).await?;
        let failed = "node_readiness_reporter_condition_writes_total{result=\"error\"}";
        let failed = scrape.get(failed).unwrap();
        Ok((failed >= 2.0).then_some(()).ok_or(failed.to_string()))
    })
    .await
    .unwrap();
    assert_eq!(reporter.log().unwrap().matches(told).count(), 1);
    // It asks its endpoint all the while.
    crate::until_asked(&endpoint, 3).await;
    endpoint.set_ready(true);
    link.heal();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.until_logged("is written again").await.unwrap();
    reporter.terminate().await.unwrap();
}

/// The kubelet exchanges the token between our reading it and the API server's.
#[tokio::test]
async fn a_token_that_is_exchanged_at_this_very_moment_is_no_failure() {
    let cluster = cluster().await;
    let authority = Authority::new().unwrap();
    let folder = cluster.plane.folder().join("exchanged");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ca.crt"), &authority.pem).unwrap();
    std::fs::write(folder.join("token"), "old").unwrap();
    let (token, first) = (folder.join("token"), AtomicBool::new(true));
    let hook = move |_: String, _: String| {
        let refused = first.swap(false, Ordering::Relaxed);
        if refused {
            std::fs::write(&token, "new").unwrap();
        }
        let fault = match refused {
            true => Fault::Refuse(StatusCode::UNAUTHORIZED),
            false => Fault::Pass,
        };
        Box::pin(async { fault }) as _
    };
    let pair = authority.sign(1).unwrap();
    let proxy = Proxy::start_tls(cluster.client.clone(), Arc::new(hook), &pair);
    let proxy = proxy.await.unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let (server, log) = (proxy.address().to_string(), cluster.new_log());
    let reporter = Reporter::start_with(&folder, &server, &log, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let passed = proxy.passed();
    let statuses: Vec<_> = passed[..3].iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 200, 200]);
    assert!(!reporter.log().unwrap().contains("is not written"));
    reporter.terminate().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_exchanged_and_a_node_that_is_another() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let rights = reporter::documented_rights().unwrap();
    cluster.apply(&rights).unwrap();
    let folder = cluster.service_account_folder(&[]).unwrap();
    let (server, log) = (cluster.server().unwrap(), cluster.new_log());
    let mut reporter = Reporter::start_with(&folder, &server, &log, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();

    // The token is one of an account that is gone.
    let account = [
        "serviceaccount",
        reporter::ACCOUNT,
        "--namespace",
        reporter::ACCOUNT,
    ];
    cluster
        .plane
        .kubectl_ok(&[&["delete"], &account[..]].concat())
        .unwrap();
    reporter
        .until_logged("the API server answered 401")
        .await
        .unwrap();
    endpoint.set_ready(true);
    cluster.apply(&rights).unwrap();
    let token = cluster.reporter_token(&[]).unwrap();
    std::fs::write(folder.join("token"), token).unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.until_logged("is written again").await.unwrap();

    cluster
        .nodes()
        .delete(NODE, &DeleteParams::default())
        .await
        .unwrap();
    let missing = format!(
        "node {NODE} is not written: the API server answered 404: nodes \"{NODE}\" not found; \
         the node is written as soon as it is there"
    );
    reporter.until_logged(&missing).await.unwrap();
    cluster.create_node(&worker(NODE, false)).await.unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.terminate().await.unwrap();
}
