//! What the Go project's reporter has not.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use cluster_tests::{Endpoint, Reporter, Settings, wait};
use serde_json::json;

use crate::{FALCO, NODE, cluster, until_asked, writes};

#[tokio::test]
async fn an_open_port_is_ready() {
    let cluster = cluster().await;
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", open.local_addr().unwrap());
    let settings = Settings::new(NODE, &endpoint, FALCO);
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointOK"));
    drop(open);
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("EndpointConnectionError"));
}

#[tokio::test]
async fn a_command_that_succeeds_is_ready() {
    let cluster = cluster().await;
    let file = cluster.plane.folder().join("is-ready");
    let script = "echo checked; echo \"no $1\" >&2; test -e \"$1\"";
    let command = json!(["/bin/sh", "-c", script, "check", file]).to_string();
    let settings = Settings::new(NODE, "", FALCO).set("CHECK_COMMAND", command);
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("HealthCheckFailed"));
    let message = condition.message.unwrap();
    let expected = format!(" failed (exit status: 1): checked\nno {}", file.display());
    assert!(message.ends_with(&expected), "{message}");
    fs::write(&file, "").unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    assert_eq!(condition.reason.as_deref(), Some("CommandSucceeded"));
}

/// A command that writes the process id of something that it starts and does not wait for into a file, and
/// goes on with `rest`; and a check of it that is made once.
fn leaving(file: &Path, rest: &str) -> Settings {
    let script = format!("(sleep 1000 & echo $! >\"$1\"); {rest}");
    let command = json!(["/bin/sh", "-c", script, "check", file]).to_string();
    Settings::new(NODE, "", FALCO)
        .set("CHECK_COMMAND", command)
        .set("CHECK_INTERVAL", "1h")
}

/// The folder of the process that such a command started, in `/proc`.
fn left(file: &Path) -> PathBuf {
    let id = fs::read_to_string(file).unwrap();
    Path::new("/proc").join(id.trim())
}

fn children(pid: u32) -> std::io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
}

/// Each check would leave one more otherwise.
#[tokio::test]
async fn what_a_command_leaves_running_ends_with_it() {
    let cluster = cluster().await;
    let file = cluster.plane.folder().join("left");
    for (rest, status) in [("true", "True"), ("false", "False")] {
        let reporter = Reporter::start(&cluster, &leaving(&file, rest)).unwrap();
        cluster.until_condition(NODE, FALCO, status).await.unwrap();
        assert!(!left(&file).exists(), "{rest}");
        assert_eq!(children(reporter.pid()).unwrap(), "", "{rest}");
        reporter.terminate().await.unwrap();
    }
}

/// The command is killed with what it started, and nothing of it stays, not even as a zombie.
#[tokio::test]
async fn a_command_that_does_not_end_is_killed() {
    let cluster = cluster().await;
    let file = cluster.plane.folder().join("left");
    let settings = leaving(&file, "echo begun; sleep 1000; true");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    let pid = reporter.pid();
    wait::until_true("the command runs", || async {
        Ok(!children(pid)?.is_empty() && fs::read_to_string(&file).is_ok_and(|id| !id.is_empty()))
    })
    .await
    .unwrap();
    // Whoever adopts it can wait for it: without that a zombie of it would stay, where nobody else does.
    let parent = format!("PPid:\t{pid}\n");
    wait::until("the reporter adopts what lost its parent", || async {
        let status = fs::read_to_string(left(&file).join("status"))?;
        Ok(status.contains(&parent).then_some(()).ok_or(status))
    })
    .await
    .unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let message = condition.message.unwrap();
    assert!(
        message.ends_with(" did not end within 10 s: begun"),
        "{message}"
    );
    assert!(!left(&file).exists());
    assert_eq!(children(pid).unwrap(), "");
    reporter.terminate().await.unwrap();

    let missing = settings.set("CHECK_COMMAND", r#"["/nowhere/check"]"#);
    let _reporter = Reporter::start(&cluster, &missing).unwrap();
    wait::until_true("the message names the program", || async {
        let condition = cluster.condition(NODE, FALCO).await?.unwrap();
        let expected = "Command /nowhere/check cannot be started: No such file or directory";
        Ok(condition.message.as_deref() == Some(expected))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn thresholds_keep_a_condition_until_it_is_certain() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.set_ready(true);
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO)
        .set("CHECK_INTERVAL", "3s")
        .set("SUCCESS_THRESHOLD", "3")
        .set("FAILURE_THRESHOLD", "3");
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    let condition = cluster
        .until_condition(NODE, FALCO, "Unknown")
        .await
        .unwrap();
    assert_eq!(condition.reason.as_deref(), Some("ThresholdNotReached"));
    let message = condition.message.unwrap();
    assert!(message.ends_with(" of 3 times in a row"), "{message}");
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    assert!(endpoint.asked().len() >= 3);
    let before = endpoint.asked().len();
    endpoint.set_ready(false);
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let asked = endpoint.asked().len() - before;
    assert!(asked >= 3, "False after {asked} failures");
}

#[tokio::test]
async fn several_checks_are_one_process_and_one_write() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answer_at("/a", cluster_tests::endpoint::Answer::new(200, ""));
    let checks = json!([
        { "conditionType": "example.com/A", "endpoint": endpoint.url("/a") },
        { "conditionType": "example.com/B", "endpoint": endpoint.url("/b") },
        { "conditionType": "example.com/C", "command": ["/bin/true"], "interval": "1h" },
    ]);
    let settings = Settings::bare()
        .set("NODE_NAME", NODE)
        .set("CHECKS", checks.to_string())
        .set("CHECK_INTERVAL", "1s");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    for (name, status) in [("A", "True"), ("B", "False"), ("C", "True")] {
        let name = format!("example.com/{name}");
        cluster.until_condition(NODE, &name, status).await.unwrap();
    }
    let first = writes(&cluster);
    assert!(first <= 3, "{first} writes");
    endpoint.set_ready(true);
    cluster
        .until_condition(NODE, "example.com/B", "True")
        .await
        .unwrap();
    until_asked(&endpoint, 4).await;
    assert_eq!(writes(&cluster), first + 1);
    reporter.terminate().await.unwrap();
}

#[tokio::test]
async fn what_was_said_is_taken_back_where_that_is_wanted() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.set_ready(true);
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    reporter.terminate().await.unwrap();
    let condition = cluster.condition(NODE, FALCO).await.unwrap().unwrap();
    assert_eq!(condition.status, "True");

    let settings = settings.set("UNKNOWN_ON_EXIT", "true");
    let reporter = Reporter::start(&cluster, &settings).unwrap();
    until_asked(&endpoint, 2).await;
    reporter.terminate().await.unwrap();
    let condition = cluster.condition(NODE, FALCO).await.unwrap().unwrap();
    assert_eq!(condition.status, "Unknown");
    assert_eq!(condition.reason.as_deref(), Some("ReporterStopped"));
}
