//! Taints under a prefix that the operator added, and what becomes of them when nobody says so any more.

use std::process::Command;

use cluster_tests::{Cluster, GUIDE_TAINT, NodeSpec, agent_rule, wait};
use kube::ResourceExt;
use planner::ownership;
use serde_json::json;

use super::cleanup::cleanup;
use super::workers;

const PREFIX: &str = "startup-taint.cluster-autoscaler.kubernetes.io/";

fn flag() -> String {
    format!("--taint-key-prefix={PREFIX}")
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn rule() -> String {
    agent_rule("agent", "continuous").replace(GUIDE_TAINT, &key("agent"))
}

/// Installs the definition that lets the rule pass, and the rule.
async fn install(cluster: &Cluster) {
    let program = cluster_tests::host_program().unwrap();
    let crd = Command::new(program).args(["crd", &flag()]).output();
    let crd = String::from_utf8(crd.unwrap().stdout).unwrap();
    cluster.apply(&crd).unwrap();
    wait::until_true("the new definition is in force", || async {
        Ok(cluster.apply(&rule()).is_ok())
    })
    .await
    .unwrap();
}

async fn until_stalled(cluster: &Cluster) {
    let told = cluster.until_status("agent", "Stalled without the flag", |status| {
        let mut found = status.conditions.iter();
        found.any(|found| {
            found.r#type == "Stalled"
                && found.status.as_str() == "True"
                && found.message.contains("--taint-key-prefix")
        })
    });
    told.await.unwrap();
}

async fn until_held(cluster: &Cluster) {
    wait::until_true("the taint with the further prefix is there", || async {
        Ok(cluster.tainted(&key("agent")).await? == 1)
    })
    .await
    .unwrap();
}

/// A cluster with a node that a host held which was told of the prefix, and is gone.
async fn held_before() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    install(&cluster).await;
    let host = cluster.start_host_with(&[&flag()]).await.unwrap();
    until_held(&cluster).await;
    host.terminate().await.unwrap();
    cluster
}

#[tokio::test]
async fn nrc_279_a_further_prefix_needs_the_definition_and_the_flag() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let refused = cluster.apply(&rule()).unwrap_err().to_string();
    assert!(
        refused.contains("taint key must start with 'readiness.k8s.io/'"),
        "{refused}"
    );
    install(&cluster).await;
    let host = cluster.start_host().await.unwrap();
    until_stalled(&cluster).await;
    cluster.until_event("agent", "Stalled").await.unwrap();
    host.terminate().await.unwrap();
    let host = cluster.start_host_with(&[&flag()]).await.unwrap();
    cluster.until_released("node-01").await;
    until_held(&cluster).await;
    cluster.delete_rule("agent").await.unwrap();
    assert_eq!(cluster.tainted(&key("agent")).await.unwrap(), 0);
    host.terminate().await.unwrap();
}

/// The next host is not told of the prefix: it adds no such taint, and takes off what the rule put there.
#[tokio::test]
async fn what_a_rule_holds_goes_with_it_whatever_prefixes_the_host_was_given() {
    let cluster = held_before().await;
    let host = cluster.start_host().await.unwrap();
    until_stalled(&cluster).await;
    // It writes the record of another taint, and loses none.
    cluster.apply(&agent_rule("other", "continuous")).unwrap();
    let node = cluster.until_held("node-01").await;
    let records = &node.annotations()[ownership::ANNOTATION];
    for rule in ["agent", "other"] {
        assert!(
            records.contains(&format!("\"rule\":\"{rule}\"")),
            "{records}"
        );
    }
    cluster.delete_rule("agent").await.unwrap();
    assert_eq!(cluster.tainted(&key("agent")).await.unwrap(), 0);
    cluster.until_held("node-01").await;
    let unreadable = cluster.events("node-01", "OwnershipUnreadable");
    assert_eq!(unreadable.await.unwrap(), [""; 0]);
    host.terminate().await.unwrap();
}

/// Nor is a cleanup. What only a record of an unknown rule names may be anybody's: that it names.
#[tokio::test]
async fn a_cleanup_takes_back_what_a_rule_holds_and_names_what_nobody_vouches_for() {
    let cluster = held_before().await;
    let gone = NodeSpec {
        name: "node-02".to_owned(),
        labels: vec![],
        taints: vec![(key("gone"), String::new(), "NoSchedule".to_owned())],
    };
    cluster.create_node(&gone).await.unwrap();
    let record = json!([{ "key": key("gone"), "effect": "NoSchedule", "ruleUID": "gone-uid", "rule": "gone",
                          "since": "2026-01-01T00:00:00Z", "reason": "ConditionsNotMet" }]);
    let record = json!({ ownership::ANNOTATION: record.to_string() });
    cluster.annotate_node("node-02", record).await.unwrap();

    let (status, said) = cleanup(&cluster.kubeconfig(), &[]).await;
    assert_eq!(status, Some(1), "{said}");
    let named = format!(
        "node/node-02: taint {}:NoSchedule stays: it is recorded as that of rule gone",
        key("gone")
    );
    for part in [
        &*named,
        "1 taints stay",
        "--taint-key-prefix",
        "rule/agent: finalizer removed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(cluster.tainted(&key("agent")).await.unwrap(), 0);
    assert_eq!(cluster.tainted(&key("gone")).await.unwrap(), 1);
    let (status, said) = cleanup(&cluster.kubeconfig(), &[&flag()]).await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(cluster.tainted(&key("gone")).await.unwrap(), 0);
}
