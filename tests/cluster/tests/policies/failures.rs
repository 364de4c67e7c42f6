//! What becomes of nodes where a policy fails, and of a policy that does nothing else.

use std::io::Write;
use std::process::{Command, Stdio};

use cluster_tests::scrape::Scrape;
use cluster_tests::{GUIDE_TAINT, worker};
use planner::breaker::FAILURES;
use planner::rule::Status;
use serde_json::{Value, json};

use crate::world::{apply, hostile, message, rule, start, until};

const OTHER: &str = "readiness.k8s.io/other";

#[tokio::test]
async fn a_policy_that_fails_does_what_it_says_and_is_left_alone_where_it_does_nothing_else() {
    let cluster = start().await;
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let metrics = host.served_at("metrics are served").unwrap();
    let file = cluster.plane.folder().join("hostile.wasm");
    std::fs::write(&file, hostile()).unwrap();
    let on_failure =
        |action: Value| json!({"module": {"file": {"path": file}}, "onFailure": action});
    apply(&cluster, on_failure(json!("Taint"))).await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    // It panics for every node of this rule.
    cluster.apply(&rule("panic", OTHER)).unwrap();
    cluster.until_tainted("worker", OTHER, true).await.unwrap();
    cluster
        .until_status("panic", "why it is held", |status| {
            let mut nodes = status
                .node_evaluations
                .iter()
                .filter_map(|node| node.message.as_deref());
            nodes.any(|message| message.contains("its onFailure is Taint"))
        })
        .await
        .unwrap();
    apply(&cluster, on_failure(json!("Release"))).await;
    cluster.until_tainted("worker", OTHER, false).await.unwrap();

    // Without a word it holds: nothing changes, however often it is asked.
    apply(&cluster, on_failure(Value::Null)).await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster_tests::wait::until_true("it is left alone", || async {
        cluster.agent_reports("worker", "True").await;
        cluster.agent_reports("worker", "False").await;
        let policy = crate::world::policies(&cluster).get("steady").await?;
        let mut conditions = policy.status.iter().flat_map(|status| &status.conditions);
        Ok(conditions.any(|found| found.r#type == "Failing" && found.status == Status::True))
    })
    .await
    .unwrap();
    let status = until(&cluster, "Failing", Status::True, "Trapped").await;
    assert!(message(&status, "Failing").contains("is not asked before"));
    let note = cluster.until_event("steady", "PolicyFails").await.unwrap();
    assert!(note.contains("Trapped"), "{note}");
    let scrape = Scrape::of(&metrics).await.unwrap();
    let of = |metric: &str, more: &str| {
        let series = format!("node_readiness_policy_{metric}{{policy=\"steady\"{more}}}");
        scrape.get(&series).unwrap_or_default()
    };
    let failed = of("evaluations_total", ",result=\"Trapped\"");
    assert!(failed >= f64::from(FAILURES), "{}", scrape.text);
    assert_eq!((of("paused", ""), of("ready", "")), (1.0, 1.0));
    assert!(of("evaluation_seconds_count", "") >= failed);
    conforms(&scrape);
    // Another rule has to wait for it, and then nobody has to wake it.
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    cluster.until_released("worker").await;
    until(&cluster, "Failing", Status::False, "Works").await;
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [""; 0]);
    host.terminate().await.unwrap();
}

/// promtool has nothing against the metrics of policies.
fn conforms(scrape: &Scrape) {
    let mut check = Command::new(control_plane::promtool(&mut |_| {}).unwrap())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(scrape.text.as_bytes()).unwrap();
    drop(stdin);
    let said = check.wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap() + &String::from_utf8(said.stderr).unwrap();
    assert!(!said.contains("node_readiness_policy"), "{said}");
}
