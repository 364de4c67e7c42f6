//! What a scraper sees of a host that works.

#![expect(
    clippy::unwrap_used,
    reason = "functions of a test say what was not there by panicking"
)]

use std::process::{Command, Stdio};

use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, wait, worker};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

/// Starts a host that serves metrics, and says where.
async fn start(cluster: &Cluster, more: &[&str]) -> (Host, String) {
    let mut arguments = vec![
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
    ];
    arguments.extend(more);
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let log = host.log().unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("metrics are served"))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let address = line["address"].as_str().unwrap().to_owned();
    (host, address)
}

async fn until(address: &str, what: &str, is: impl Fn(&Scrape) -> bool) -> Scrape {
    wait::until(what, || async {
        let scrape = Scrape::of(address).await?;
        Ok(if is(&scrape) {
            Ok(scrape)
        } else {
            Err(format!("{scrape:#?}"))
        })
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn compat_041_042_a_life_of_two_rules_as_a_scraper_sees_it() {
    let cluster = Cluster::start().await.unwrap();
    let (host, address) = start(&cluster, &["--enable-node-state-metrics"]).await;
    cluster
        .apply(&agent_rule("boot", "bootstrap-only"))
        .unwrap();
    let continuous = agent_rule("all", "continuous").replace("security-agent-ready", "other");
    cluster.apply(&continuous).unwrap();
    // The node is not older than the rules, and so its bootstrap has a duration.
    for rule in ["boot", "all"] {
        cluster
            .until_status(rule, "the rule is known", |status| status.nodes.is_some())
            .await
            .unwrap();
    }
    for name in ["worker-1", "worker-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
        cluster.until_held(name).await;
    }
    cluster.agent_reports("worker-1", "True").await;
    cluster.until_released("worker-1").await;

    let scrape = until(&address, "both rules let worker-1 go", |scrape| {
        let gone = r#"node_readiness_rule_nodes{rule="all",state="released"}"#;
        let events = r#"node_readiness_api_writes_total{kind="event",result="success"}"#;
        scrape.get(gone) == Some(1.0) && scrape.get(events) == Some(6.0)
    })
    .await;
    for (series, value) in [
        (r#"node_readiness_rules_total"#, 2.0),
        (
            r#"node_readiness_rules{dry_run="false",enforcement_mode="continuous"}"#,
            1.0,
        ),
        (
            r#"node_readiness_taint_operations_total{operation="add",rule="boot"}"#,
            2.0,
        ),
        (
            r#"node_readiness_taint_operations_total{operation="remove",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_taint_operations_total{operation="add",rule="all"}"#,
            2.0,
        ),
        (
            r#"node_readiness_bootstrap_completed_total{rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_bootstrap_duration_seconds_count{rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_failures_total{reason="EvaluationError",rule="boot"}"#,
            0.0,
        ),
        (
            r#"node_readiness_rule_nodes{rule="boot",state="held"}"#,
            1.0,
        ),
        (
            r#"node_readiness_rule_nodes{rule="boot",state="released"}"#,
            1.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="boot",state="ready"}"#,
            1.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="boot",state="bootstrapping"}"#,
            1.0,
        ),
        (
            r#"node_readiness_nodes_by_state{rule="all",state="not_ready"}"#,
            1.0,
        ),
        (
            r#"node_readiness_reconciliation_latency_seconds_count{operation="add_taint",rule="boot"}"#,
            0.0,
        ),
        (
            r#"node_readiness_reconciliation_latency_seconds_count{operation="remove_taint",rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_transition_latency_seconds_count{operation="add_taint",rule="boot"}"#,
            2.0,
        ),
        (
            r#"node_readiness_hold_duration_seconds_count{rule="boot"}"#,
            1.0,
        ),
        (
            r#"node_readiness_api_writes_total{kind="node_taints",result="success"}"#,
            3.0,
        ),
        (
            r#"node_readiness_api_writes_total{kind="rule_finalizer",result="success"}"#,
            2.0,
        ),
        (r#"workqueue_depth{controller="node",name="node"}"#, 0.0),
    ] {
        // A histogram that has seen nothing is not there.
        let found = scrape.get(series).unwrap_or_default();
        assert_eq!(found, value, "{series} in {scrape:#?}");
    }
    // The annotations and the taints of both rules are one patch.
    let server = cluster.server().unwrap();
    let patches =
        format!(r#"rest_client_requests_total{{code="200",host="{server}",method="PATCH"}}"#);
    assert!(scrape.get(&patches).unwrap() >= 5.0, "{scrape:#?}");
    assert!(scrape.get("process_resident_memory_bytes").unwrap() > 1e6);
    assert!(scrape.get("process_cpu_seconds_total").unwrap() > 0.0);
    let reconciled = r#"node_readiness_rule_last_reconciliation_timestamp_seconds{rule="boot"}"#;
    let age = jiff::Timestamp::now().as_second() as f64 - scrape.get(reconciled).unwrap();
    assert!((-1.0..60.0).contains(&age), "{age}");
    let names_a_node = |series: &String| series.contains("worker-");
    assert!(!scrape.series().any(names_a_node), "{scrape:#?}");
    for (family, kind) in [
        ("node_readiness_rules_total", "gauge"),
        ("node_readiness_taint_operations_total", "counter"),
        ("node_readiness_evaluation_duration_seconds", "histogram"),
        (
            "node_readiness_rule_last_reconciliation_timestamp_seconds",
            "gauge",
        ),
        ("workqueue_adds_total", "counter"),
    ] {
        assert_eq!(scrape.kind(family), Some(kind), "{family}");
    }
    assert_eq!(
        scrape.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );

    cluster.delete_rule("boot").await.unwrap();
    let scrape = until(&address, "the series of the rule are gone", |scrape| {
        scrape.get("node_readiness_rules_total") == Some(1.0)
    })
    .await;
    let of_the_rule = |series: &String| series.contains(r#"rule="boot""#);
    assert!(!scrape.series().any(of_the_rule), "{scrape:#?}");
    assert!(
        scrape
            .series()
            .any(|series| series.contains(r#"rule="all""#))
    );
    // One line for each change of a taint, and what a scraper counts is what the log says.
    let changes = taint_changes(&host.log().unwrap());
    let expected = [
        ("taint added", "worker-1", "all"),
        ("taint added", "worker-1", "boot"),
        ("taint added", "worker-2", "all"),
        ("taint added", "worker-2", "boot"),
        ("taint removed", "worker-1", "all"),
        ("taint removed", "worker-1", "boot"),
        ("taint removed", "worker-2", "boot"),
    ];
    let expected = expected.map(|(what, node, rule)| format!("{what}: {node}, {rule}"));
    assert_eq!(changes, expected);
    host.terminate().await.unwrap();
}

/// Admission refuses the taint of one rule; then it does not any more.
#[tokio::test]
async fn compat_042_a_refused_taint_counts_as_its_failure_and_as_an_evaluation_error() {
    let cluster = Cluster::start().await.unwrap();
    let refuse = "refuse-taints";
    let policies = Api::<ValidatingAdmissionPolicy>::all(cluster.client.clone());
    let policy = serde_json::from_value(json!({
        "metadata": { "name": refuse },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"],
            }]},
            "validations": [{
                "expression": format!(
                    "!has(object.spec.taints) || object.spec.taints.all(t, t.key != '{GUIDE_TAINT}')"
                ),
                "message": "not this taint",
            }],
        },
    }));
    let policy = policy.unwrap();
    policies
        .create(&PostParams::default(), &policy)
        .await
        .unwrap();
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(cluster.client.clone());
    let binding = serde_json::from_value(json!({
        "metadata": { "name": refuse },
        "spec": { "policyName": refuse, "validationActions": ["Deny"] },
    }));
    let binding = binding.unwrap();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    cluster
        .create_node(&worker("worker-1", false))
        .await
        .unwrap();
    // A policy is in force a moment after it was stored.
    wait::until_true("admission refuses the taint", || async {
        let tainted = cluster.plane.kubectl_ok(&[
            "taint",
            "node",
            "worker-1",
            "--dry-run=server",
            &format!("{GUIDE_TAINT}=:NoSchedule"),
        ]);
        Ok(tainted.is_err())
    })
    .await
    .unwrap();
    let (host, address) = start(&cluster, &[]).await;
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let failures = |reason: &str| {
        format!(r#"node_readiness_failures_total{{reason="{reason}",rule="agent"}}"#)
    };
    let scrape = until(&address, "the failure is counted", |scrape| {
        scrape.get(&failures("AddTaintError")) >= Some(2.0)
    })
    .await;
    assert_eq!(
        scrape.get(&failures("AddTaintError")),
        scrape.get(&failures("EvaluationError"))
    );
    assert_eq!(scrape.get(&failures("RemoveTaintError")), Some(0.0));
    let added = r#"node_readiness_taint_operations_total{operation="add",rule="agent"}"#;
    assert_eq!(scrape.get(added), Some(0.0));
    let retries = r#"workqueue_retries_total{controller="node",name="node"}"#;
    assert!(scrape.get(retries) >= Some(1.0));

    bindings
        .delete(refuse, &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_held("worker-1").await;
    let scrape = until(&address, "the taint is counted", |scrape| {
        scrape.get(added) == Some(1.0)
    })
    .await;
    let held = r#"node_readiness_rule_nodes{rule="agent",state="held"}"#;
    assert_eq!(scrape.get(held), Some(1.0));
    // Not asked for.
    assert_eq!(scrape.kind("node_readiness_nodes_by_state"), None);
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_041_promtool_finds_nothing_but_the_name_that_the_contract_fixes() {
    let promtool = control_plane::promtool(&mut |_| {}).unwrap();
    let cluster = Cluster::start().await.unwrap();
    let (host, address) = start(&cluster, &["--enable-node-state-metrics"]).await;
    cluster
        .apply(&agent_rule("boot", "bootstrap-only"))
        .unwrap();
    cluster
        .create_node(&worker("worker-1", false))
        .await
        .unwrap();
    cluster.until_held("worker-1").await;
    cluster.agent_reports("worker-1", "True").await;
    cluster.until_released("worker-1").await;
    let completed = r#"node_readiness_bootstrap_completed_total{rule="boot"}"#;
    let scrape = until(&address, "the completion is counted", |scrape| {
        scrape.get(completed) == Some(1.0)
    })
    .await;
    let page = cluster.plane.folder().join("metrics.txt");
    std::fs::write(&page, &scrape.text).unwrap();
    let check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::from(std::fs::File::open(&page).unwrap()))
        .output()
        .unwrap();
    let found =
        String::from_utf8(check.stdout).unwrap() + &String::from_utf8(check.stderr).unwrap();
    assert_eq!(
        found.trim(),
        r#"node_readiness_rules_total non-counter metrics should not have "_total" suffix"#,
        "{}",
        scrape.text
    );
    host.terminate().await.unwrap();
}

/// The lines of a log about taints, sorted. Each has a reason and the keys of zap.
fn taint_changes(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let mut changes = Vec::new();
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let what = text("msg");
        if what.starts_with("taint ") {
            assert_eq!(text("level"), "info", "{line}");
            let _: jiff::Timestamp = text("ts").parse().unwrap();
            assert!(!text("reason").is_empty(), "{line}");
            changes.push(format!("{what}: {}, {}", text("node"), text("rule")));
        }
    }
    changes.sort();
    changes
}

/// The answer to `GET /metrics` over TLS, by a user of the cluster, or with a token of nobody.
async fn secure(cluster: &Cluster, address: &str, user: Option<&str>) -> (u16, String) {
    let file = cluster
        .plane
        .kubeconfig_for(user.unwrap_or("stranger"))
        .unwrap();
    let file = kube::config::Kubeconfig::read_from(file).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &Default::default())
        .await
        .unwrap();
    config.cluster_url = format!("https://{address}").parse().unwrap();
    // Self-signed, as the Go controller's is.
    (config.root_cert, config.accept_invalid_certs) = (None, true);
    if user.is_none() {
        config.auth_info.token = Some("nobody".to_owned().into());
    }
    let client = kube::Client::try_from(config).unwrap();
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    match client.request_text(request).await {
        Ok(text) => (200, text),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        Err(other) => (0, other.to_string()),
    }
}

#[tokio::test]
async fn compat_043_secure_metrics_are_for_those_who_may_get_them() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = control_plane::Options {
        users: ["scraper", "stranger"].map(control_plane::User::new).into(),
        ..Default::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let kubectl = |arguments: &[&str]| cluster.plane.kubectl_ok(arguments).unwrap();
    kubectl(&[
        "create",
        "clusterrole",
        "metrics",
        "--verb=get",
        "--non-resource-url=/metrics",
    ]);
    kubectl(&[
        "create",
        "clusterrolebinding",
        "metrics",
        "--clusterrole=metrics",
        "--user=scraper",
    ]);
    let arguments = ["--metrics-bind-address=127.0.0.1:0", "--zap-encoder=json"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let log = host.log().unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("metrics are served"))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let address = line["address"].as_str().unwrap();
    let (status, text) = secure(&cluster, address, Some("scraper")).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("node_readiness_rules_total 0"), "{text}");
    let (status, text) = secure(&cluster, address, Some("stranger")).await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("stranger may not get /metrics"), "{text}");
    assert_eq!(secure(&cluster, address, None).await.0, 401);
    // Not in the clear.
    assert!(Scrape::of(address).await.is_err());
    host.terminate().await.unwrap();
}
