//! The dashboard and the alerts ask for metrics that the host serves.

#![expect(
    clippy::unwrap_used,
    reason = "functions of a test say what was not there by panicking"
)]

use std::collections::BTreeSet;
use std::process::Command;

use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, agent_rule, wait, worker};

const DASHBOARD: &str = "deploy/grafana/node-readiness-host.json";
const ALERTS: &str = "deploy/prometheus/rules.yaml";
/// Served by the reporter; contract line 51.
const REPORTERS: [&str; 1] = ["node_readiness_reporter_condition_writes_total"];
/// Only there once a policy gave no decision, which the default policy does not do, and of the objects of
/// others, which this cluster does not know.
const ELSEWHERE: [&str; 3] = [
    "node_readiness_policy_errors_total",
    "node_readiness_policy_paused",
    "node_readiness_policy_ready",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(cli_tests::program::workspace().join(path)).unwrap()
}

/// The families of metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let begins = [
        "node_readiness_",
        "leader_election_",
        "workqueue_",
        "process_",
        "rest_client_",
    ];
    let metrics = words.filter(|word| begins.iter().any(|prefix| word.starts_with(prefix)));
    let family = |word: &str| {
        let suffixes = ["_bucket", "_count", "_sum"];
        let cut = suffixes.iter().find_map(|suffix| word.strip_suffix(suffix));
        cut.unwrap_or(word).to_owned()
    };
    metrics.map(family).collect()
}

#[tokio::test]
async fn compat_041_every_metric_of_the_dashboard_and_the_alerts_is_served() {
    let cluster = Cluster::start().await.unwrap();
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--leader-elect",
        "--leader-election-namespace=default",
        "--zap-encoder=json",
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let log = host.log().unwrap();
    let line = log.lines().find(|line| line.contains("metrics are served"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    let address = line["address"].as_str().unwrap();
    let rule = agent_rule("agent", "continuous") + "  budget: {maxHeld: 1}\n";
    cluster.apply(&rule).unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.until_held("node-1").await;
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    let removed = r#"node_readiness_hold_duration_seconds_count{rule="agent"}"#;
    let scrape = wait::until("the removal is counted", || async {
        let scrape = Scrape::of(address).await?;
        let counted = scrape.get(removed) == Some(1.0);
        Ok(counted.then_some(scrape).ok_or_else(String::new))
    })
    .await
    .unwrap();
    let mut found = 0;
    for file in [DASHBOARD, ALERTS] {
        for name in named(&read(file)) {
            let elsewhere = [&REPORTERS[..], &ELSEWHERE[..]].concat();
            let served = scrape.kind(&name).is_some() || elsewhere.contains(&name.as_str());
            assert!(served, "{file} names {name}\n{}", scrape.text);
            found += 1;
        }
    }
    assert!(found >= 15, "{found}");
    host.terminate().await.unwrap();
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let promtool = control_plane::promtool(&mut |_| {}).unwrap();
    let folder = cli_tests::program::workspace().join("deploy/prometheus");
    let output = Command::new(promtool)
        .args(["test", "rules", "rules.test.yaml"])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("SUCCESS"), "{said}");
}
