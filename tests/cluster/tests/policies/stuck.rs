//! A policy that is asked aside: it is stuck until its deadline, which is far, or turns with its own taint.

use std::time::{Duration, Instant};

use cluster_tests::{GUIDE_TAINT, agent_rule, wait, worker};
use planner::rule::Status;
use serde_json::{Value, json};

use crate::world::{apply, hostile, rule, start, until};

const OTHER: &str = "readiness.k8s.io/other";
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_policy_that_is_stuck_delays_no_other_rule_no_probe_and_no_lease() {
    let cluster = start().await;
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let arguments = [
        "--leader-elect",
        "--leader-election-namespace=default",
        "--health-probe-bind-address=127.0.0.1:0",
        "--zap-encoder=json",
    ];
    let mut host = cluster.start_host_with(&arguments).await.unwrap();
    host.until_logged("this host leads").await.unwrap();
    let health = host.served_at("health probes are served").unwrap();
    let file = cluster.plane.folder().join("hostile.wasm");
    std::fs::write(&file, hostile()).unwrap();
    let limits = json!({"deadline": format!("{}s", DEADLINE.as_secs())});
    apply(
        &cluster,
        json!({"module": {"file": {"path": file}}, "limits": limits}),
    )
    .await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    // It does not end on any node of this rule.
    cluster.apply(&rule("loop", OTHER)).unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("worker").await;
    // Each change of the node has the policy asked, and each takes the whole deadline.
    let began = Instant::now();
    for _ in 0..4 {
        cluster.agent_reports("worker", "True").await;
        cluster
            .until_tainted("worker", GUIDE_TAINT, false)
            .await
            .unwrap();
        probe(&health).await;
        cluster.agent_reports("worker", "False").await;
        cluster
            .until_tainted("worker", GUIDE_TAINT, true)
            .await
            .unwrap();
    }
    let took = began.elapsed();
    assert!(took < DEADLINE, "other rules took {took:?}");
    cluster
        .until_status("loop", "that it is stuck", |status| {
            let mut failed = status.failed_nodes.iter();
            failed.any(|node| format!("{node:?}").contains("DeadlineExceeded"))
        })
        .await
        .unwrap();
    // That it has not answered yet is no failure.
    let notes = wait::until("the failure is told", || async {
        let notes = cluster.events("worker", "PolicyFailed").await?;
        let told = notes.iter().any(|note| note.contains("DeadlineExceeded"));
        Ok(if told {
            Ok(notes)
        } else {
            Err(format!("{notes:?}"))
        })
    });
    let notes = notes.await.unwrap();
    assert!(!format!("{notes:?}").contains("NotEvaluated"), "{notes:?}");
    let log = host.log().unwrap();
    assert!(!log.contains("does not lead any more"), "{log}");
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);
    host.terminate().await.unwrap();
}

/// What it would say of the node that it makes is not known before that node is there.
#[tokio::test]
async fn a_large_policy_that_turns_with_its_taint_is_caught_after_its_first_change() {
    let cluster = start().await;
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let arguments = ["--zap-encoder=json"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let file = cluster.plane.folder().join("hostile.wasm");
    std::fs::write(&file, hostile()).unwrap();
    // A deadline for which it is asked aside.
    let spec = json!({"module": {"file": {"path": file}}, "limits": {"deadline": "1s"}});
    apply(&cluster, spec).await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster.apply(&rule("turn", OTHER)).unwrap();
    let caught = cluster.until_status("turn", "TaintFlaps", |status| {
        let mut failed = status.failed_nodes.iter();
        failed.any(|node| format!("{node:?}").contains("TaintFlaps"))
    });
    caught.await.unwrap();
    // Whatever becomes of the node, it is asked again and changes nothing.
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    for (status, held) in [("False", true), ("True", false), ("False", true)] {
        cluster.agent_reports("worker", status).await;
        let followed = cluster.until_tainted("worker", GUIDE_TAINT, held).await;
        followed.unwrap();
    }
    cluster.until_worked_off().await.unwrap();
    let log = host.log().unwrap();
    let of_rule = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["rule"] == "turn" && line["taint"].is_string()
    };
    let changes: Vec<_> = log.lines().filter(of_rule).collect();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    let tainted = cluster.until_tainted("worker", OTHER, true).await;
    tainted.unwrap();
    host.terminate().await.unwrap();
}

/// Answered within less than the policy takes.
async fn probe(address: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asked = async {
        let mut connection = tokio::net::TcpStream::connect(address).await?;
        connection
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
    let answer = answer.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
