//! How it starts, what it serves, and how it ends.

use std::process::Command;

use cluster_tests::endpoint::{Answer, Endpoint};
use cluster_tests::scrape::Scrape;
use cluster_tests::{Reporter, Settings, reporter_program, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{FALCO, NODE, cluster, until_asked};

/// Exit status and log of a reporter that does not begin.
async fn refused(settings: &Settings) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let reporter = Reporter::start_with(folder.path(), "127.0.0.1:1", &log, settings).unwrap();
    reporter.until_ended().await.unwrap()
}

#[tokio::test]
async fn compat_047_what_is_missing_or_wrong_ends_it_with_1() {
    let full = Settings::new(NODE, "http://localhost:1/", FALCO);
    for (settings, expected) in [
        (
            Settings::bare(),
            "not set: NODE_NAME, CHECK_ENDPOINT, CONDITION_TYPE;",
        ),
        (full.clone().set("NODE_NAME", ""), "not set: NODE_NAME;"),
        (
            full.clone().set("CHECK_ENDPOINT", "http:///healthz"),
            "CHECK_ENDPOINT=http:///healthz: there is no host in it: give http://HOST[:PORT]/PATH, ",
        ),
        (
            full.clone().set("CHECK_ENDPOINT", "http://:8765/healthz"),
            "CHECK_ENDPOINT=http://:8765/healthz: there is no host in it: give http://HOST",
        ),
        (
            full.clone().set("NODE_NAME", "Worker_1"),
            "NODE_NAME=Worker_1: no node has such a name: give lower case letters, digits, - and .",
        ),
        (
            full.clone()
                .set("CHECK_ENDPOINT", "https://localhost/")
                .set("CHECK_CA_FILE", "/dev/null"),
            "CHECK_CA_FILE=/dev/null: there is no certificate in PEM in it",
        ),
        (
            full.clone().argument("--endpoint=x"),
            "--endpoint=x: there is no such flag",
        ),
        // Everything is right, but this is no pod: the folder has no token.
        (
            full.clone(),
            "the pod needs a service account whose token is mounted",
        ),
        (
            full.set("KUBERNETES_SERVICE_HOST", ""),
            "this is not in a cluster: ",
        ),
    ] {
        let (status, log) = refused(&settings).await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(expected), "{expected} is not in {log}");
        assert!(log.starts_with('E'), "{log}");
    }
}

#[tokio::test]
async fn compat_047_flags_of_klog_and_durations_that_are_none() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO)
        .set("CHECK_INTERVAL", "250ms")
        .set("HEARTBEAT_PERIOD", "soon")
        .argument("-v=4")
        .argument("--logtostderr")
        .argument("-vmodule=reporter=2");
    let mut reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    until_asked(&endpoint, 2).await;
    reporter
        .until_logged("HEARTBEAT_PERIOD=soon: ")
        .await
        .unwrap();
    reporter.until_logged("; 5m is taken").await.unwrap();
    reporter
        .until_logged(&format!("check of {FALCO}: "))
        .await
        .unwrap();
    reporter.terminate().await.unwrap();
}

#[test]
fn compat_047_help_and_version() {
    let output = |argument: &str| {
        let output = Command::new(reporter_program().unwrap())
            .arg(argument)
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(output("--help").contains("CHECK_ENDPOINT"));
    let version = format!("node-readiness-reporter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(output("--version"), version);
}

#[tokio::test]
async fn compat_051_metrics_and_health() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO).set("CHECK_INTERVAL", "50ms");
    let mut reporter = Reporter::start(&cluster, &settings).unwrap();
    let address = reporter.metrics_address().await.unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    until_asked(&endpoint, 3).await;
    endpoint.set_ready(true);
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    until_asked(&endpoint, 3).await;
    drop(endpoint);
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();

    let scrape = wait::until("three results and three writes", || async {
        let scrape = Scrape::of(&address).await?;
        let get = |series: &str| scrape.get(&format!("node_readiness_reporter_{series}"));
        let errors = get("checks_total{result=\"error\"}").unwrap();
        let written = get("condition_writes_total{result=\"success\"}").unwrap();
        Ok(if errors >= 1.0 && written >= 3.0 {
            Ok(scrape)
        } else {
            Err(format!("{errors} errors, {written} writes"))
        })
    })
    .await
    .unwrap();
    let get = |series: &str| scrape.get(&format!("node_readiness_reporter_{series}"));
    let version = concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    assert_eq!(get(version), Some(1.0));
    let result =
        |name: &str, result: &str| get(&format!("{name}_total{{result=\"{result}\"}}")).unwrap();
    assert_eq!(result("condition_writes", "success"), 3.0);
    assert_eq!(result("condition_writes", "error"), 0.0);
    assert!(result("condition_writes", "skipped") >= 1.0);
    let checks = ["healthy", "unhealthy", "error"].map(|one| result("checks", one));
    let count = get("check_duration_seconds_count").unwrap();
    assert_eq!(checks.iter().sum::<f64>(), count);
    for bound in ["0.005", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
        let bucket = format!("check_duration_seconds_bucket{{le=\"{bound}\"}}");
        assert!(get(&bucket).is_some(), "{bucket}");
    }
    let buckets = scrape.series().filter(|series| series.contains("_bucket"));
    assert_eq!(buckets.count(), 9);
    assert_eq!(
        scrape.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );

    let mut health = TcpStream::connect(&address).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    health.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    health.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    reporter.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_051_an_address_that_somebody_has_stops_nothing() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let taken = endpoint.address().to_string();
    let settings =
        Settings::new(NODE, &endpoint.url("/"), FALCO).set("METRICS_BIND_ADDRESS", &taken);
    let mut reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!("metrics cannot be served at {taken} for now: ");
    reporter.until_logged(&expected).await.unwrap();
    reporter.terminate().await.unwrap();
}

/// A check hangs for 10 s, and it does not wait for that: the check never comes to an end.
#[tokio::test]
async fn compat_051_sigterm_ends_it_in_the_middle_of_a_check() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answer(Answer::Hang);
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO).argument("-v=4");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    until_asked(&endpoint, 1).await;
    let (status, log) = reporter.until_ended_by_sigterm().await.unwrap();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("told to end by SIGTERM"), "{log}");
    assert!(!log.contains("check of"), "{log}");
}
