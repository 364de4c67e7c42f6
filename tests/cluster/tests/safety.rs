//! What protects a cluster from a rule that is wrong.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

#[path = "safety/alarm.rs"]
mod alarm;
#[path = "safety/cleanup.rs"]
mod cleanup;
#[path = "safety/freeze.rs"]
mod freeze;
#[path = "safety/prefixes.rs"]
mod prefixes;

use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use serde_json::json;

async fn workers(cluster: &Cluster, count: usize) -> Vec<String> {
    let names: Vec<String> = (1..=count)
        .map(|number| format!("node-{number:02}"))
        .collect();
    for name in &names {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    names
}

async fn until_held(cluster: &Cluster, count: usize) {
    wait::until(&format!("{count} nodes are held"), || async {
        let held = cluster.tainted(GUIDE_TAINT).await?;
        Ok(if held == count {
            Ok(())
        } else {
            Err(format!("{held} are"))
        })
    })
    .await
    .unwrap();
}

async fn until_ready_is(cluster: &Cluster, rule: &str, status: &str, reason: &str) {
    cluster
        .until_status(rule, &format!("Ready={status}, {reason}"), |stored| {
            let mut ready = stored
                .conditions
                .iter()
                .filter(|found| found.r#type == "Ready");
            ready.any(|found| found.status.as_str() == status && found.reason == reason)
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn nrc_335_compat_j_suspend_changes_nothing_and_catches_up_when_it_resumes() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 2).await;
    cluster.agent_reports("node-02", "True").await;
    let host = cluster.start_host().await.unwrap();
    // One that begins so says all the same what it sees of its nodes.
    let rule = agent_rule("begins-so", "continuous") + "  suspend: true\n";
    let rule = rule.replace(GUIDE_TAINT, "readiness.k8s.io/begins-so");
    cluster.apply(&rule).unwrap();
    cluster
        .until_status("begins-so", "both nodes were evaluated", |status| {
            let counts = status.nodes.unwrap_or_default();
            (counts.released, counts.pending) == (Some(2), Some(0))
        })
        .await
        .unwrap();
    cluster.delete_rule("begins-so").await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_held(&cluster, 1).await;
    cluster
        .patch_rule("agent", json!({ "spec": { "suspend": true } }))
        .await
        .unwrap();
    until_ready_is(&cluster, "agent", "False", "Suspended").await;
    cluster.until_event("agent", "Suspended").await.unwrap();
    // Now each node is the other way round.
    cluster.agent_reports("node-01", "True").await;
    cluster.agent_reports("node-02", "False").await;
    cluster
        .until_status("agent", "both changes were seen", |status| {
            let current: Vec<_> = status
                .node_evaluations
                .iter()
                .map(|node| node.condition_results[0].current_status.as_str())
                .collect();
            current == ["True", "False"]
        })
        .await
        .unwrap();
    assert_eq!(cluster.readiness_taints("node-01").await.unwrap().len(), 1);
    assert_eq!(cluster.readiness_taints("node-02").await.unwrap().len(), 0);
    cluster
        .patch_rule("agent", json!({ "spec": { "suspend": null } }))
        .await
        .unwrap();
    cluster.until_released("node-01").await;
    cluster.until_held("node-02").await;
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn nrc_5233_compat_j_budget_is_never_exceeded_and_is_filled_again_when_a_node_is_released() {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, 10).await;
    let budget = "  budget: {maxHeld: 25%, exemptYoungerThan: 0s}\n";
    let rule = agent_rule("agent", "continuous") + budget;
    // Many workers: the last place is taken once.
    let host = cluster
        .start_host_with(&["--node-concurrent-reconciles=8"])
        .await
        .unwrap();
    cluster.apply(&rule).unwrap();
    until_ready_is(&cluster, "agent", "False", "BudgetExhausted").await;
    let stored = cluster
        .until_status("agent", "3 of 10 are held, rounded up", |status| {
            status.nodes.is_some_and(|nodes| {
                (nodes.held, nodes.over_budget, nodes.pending) == (Some(3), Some(7), Some(0))
            })
        })
        .await
        .unwrap();
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 3);
    cluster
        .until_event("agent", "BudgetExhausted")
        .await
        .unwrap();
    // One of them is ready: its place goes to another.
    let held = stored.status.unwrap().node_evaluations;
    let present = api::rule::status::TaintStatus::Present;
    let first = held
        .iter()
        .find(|node| node.taint_status == present)
        .unwrap();
    cluster
        .set_condition(&first.node_name, AGENT, "True")
        .await
        .unwrap();
    cluster
        .until_tainted(&first.node_name, GUIDE_TAINT, false)
        .await
        .unwrap();
    until_held(&cluster, 3).await;
    host.kill().await.unwrap();
    // The places stand on the nodes: another host does not give them away again.
    let host = cluster
        .start_host_with(&["--node-concurrent-reconciles=8"])
        .await
        .unwrap();
    cluster
        .until_status("agent", "still 3", |status| {
            status
                .nodes
                .is_some_and(|nodes| (nodes.held, nodes.over_budget) == (Some(3), Some(6)))
        })
        .await
        .unwrap();
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 3);
    // It always goes on releasing.
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    until_held(&cluster, 0).await;
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_budget_holds_a_young_node_all_the_same() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 2).await;
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&(agent_rule("agent", "continuous") + "  budget: {maxHeld: 0}\n"))
        .unwrap();
    until_held(&cluster, 2).await;
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_break_glass_lets_one_node_go_until_its_time() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 2).await;
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    until_held(&cluster, 2).await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let annotation = json!({ "readiness.node.x-k8s.io/break-glass": format!("agent={until}") });
    cluster.annotate_node("node-01", annotation).await.unwrap();
    let node = cluster.until_released("node-01").await;
    let completions = node.metadata.annotations.unwrap();
    assert!(
        !completions
            .keys()
            .any(|key| key.contains("bootstrap-completed"))
    );
    cluster.until_event("node-01", "BreakGlass").await.unwrap();
    // The time comes without anybody touching the node.
    cluster.until_held("node-01").await;
    assert!(jiff::Timestamp::now() >= until, "held again too early");
    cluster
        .annotate_node(
            "node-02",
            json!({ "readiness.node.x-k8s.io/break-glass": "agent=soon" }),
        )
        .await
        .unwrap();
    let note = cluster
        .until_event("node-02", "BreakGlassUnreadable")
        .await
        .unwrap();
    assert!(note.contains("\"agent=soon\" is not RULE=TIME"), "{note}");
    let over = cluster
        .until_event("node-01", "BreakGlassWithoutEffect")
        .await;
    let over = over.unwrap();
    assert!(
        over.contains("for rule 'agent' its time was over at "),
        "{over}"
    );
    let mistyped = json!({ "readiness.node.x-k8s.io/break-glass": "agnet=2099-01-01T00:00:00Z" });
    cluster.annotate_node("node-02", mistyped).await.unwrap();
    let note = cluster
        .until_event("node-02", "BreakGlassWithoutEffect")
        .await;
    let note = note.unwrap();
    assert!(note.contains("there is no rule 'agnet'"), "{note}");
    assert_eq!(cluster.readiness_taints("node-02").await.unwrap().len(), 1);
    // Also out of a rule that leaves every node as it is.
    cluster
        .patch_rule("agent", json!({ "spec": { "suspend": true } }))
        .await
        .unwrap();
    until_ready_is(&cluster, "agent", "False", "Suspended").await;
    let annotation = json!({ "readiness.node.x-k8s.io/break-glass": "agent=2099-01-01T00:00:00Z" });
    cluster.annotate_node("node-02", annotation).await.unwrap();
    cluster.until_released("node-02").await;
    let told = cluster.until_status("agent", "why it is let go", |status| {
        let mut nodes = status.node_evaluations.iter();
        let node = nodes.find(|node| node.node_name == "node-02");
        let message = node.and_then(|node| node.message.as_deref());
        message
            .is_some_and(|message| message.ends_with("lets the node go until 2099-01-01T00:00:00Z"))
    });
    told.await.unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_held_too_long_is_told_once_by_any_number_of_hosts() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let arguments = ["--held-warning-after=1s"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let note = cluster.until_event("node-01", "HeldTooLong").await.unwrap();
    assert!(note.contains("example.com/AgentReady is absent"), "{note}");
    host.terminate().await.unwrap();
    let host = cluster.start_host_with(&arguments).await.unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
    assert_eq!(
        cluster
            .events("node-01", "HeldTooLong")
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn compat_j_dry_run_freezes_what_was_there_says_so_and_deletion_releases_it() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 2).await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_held(&cluster, 2).await;
    cluster
        .patch_rule("agent", json!({ "spec": { "dryRun": true } }))
        .await
        .unwrap();
    until_ready_is(&cluster, "agent", "True", "DryRunKeepsTaints").await;
    let note = cluster
        .until_event("agent", "DryRunKeepsTaints")
        .await
        .unwrap();
    assert!(note.contains("2 nodes that it held"), "{note}");
    // Nor does a dry run let a node go, and whoever tries is told.
    let annotation = json!({ "readiness.node.x-k8s.io/break-glass": "agent=2099-01-01T00:00:00Z" });
    cluster.annotate_node("node-02", annotation).await.unwrap();
    let note = cluster
        .until_event("node-02", "BreakGlassWithoutEffect")
        .await;
    let note = note.unwrap();
    assert!(note.contains("rule 'agent' is a dry run"), "{note}");
    cluster.agent_reports("node-01", "True").await;
    cluster
        .until_status("agent", "it would remove one", |status| {
            let results = status.dry_run_results.as_ref();
            results.is_some_and(|results| results.taints_to_remove == Some(1))
        })
        .await
        .unwrap();
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 2);
    cluster.delete_rule("agent").await.unwrap();
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 0);
    host.terminate().await.unwrap();
}

/// What docs/operating.md tells a reader to type works, in its order.
#[tokio::test]
async fn the_documented_commands_work() {
    let cluster = Cluster::start().await.unwrap();
    cluster
        .create_node(&worker("worker-1", false))
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("worker-1").await;
    let blocks = cluster_tests::document::shell_blocks("docs/operating.md").unwrap();
    let commands: Vec<&str> = blocks.iter().flat_map(|block| block.lines()).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let folder = cluster_tests::host_program().unwrap().parent().unwrap();
        let output = cluster.plane.shell(command, &[folder]).unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if command.contains("break-glass=") {
            cluster.until_released("worker-1").await;
        }
    }
    cluster.until_held("worker-1").await;
    host.terminate().await.unwrap();
}
