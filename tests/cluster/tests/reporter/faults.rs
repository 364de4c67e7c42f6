//! What goes wrong, and that it keeps going.

use std::time::Duration;

use cluster_tests::link::Link;
use cluster_tests::scrape::Scrape;
use cluster_tests::{Endpoint, Reporter, Settings, reporter, wait, worker};
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
    reporter
        .until_logged("the API server answered 404")
        .await
        .unwrap();
    cluster.create_node(&worker(NODE, false)).await.unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.terminate().await.unwrap();
}
