//! Two rules for one taint, where no webhook keeps them apart.

use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, NodeSpec, agent_rule, wait, worker};
use planner::ownership;
use serde_json::json;

use crate::{node_patches, observer};

const POOL: &str = "example.com/pool";

fn in_pool(name: &str) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        labels: vec![(POOL.to_owned(), "a".to_owned())],
        taints: vec![],
    }
}

/// The older rule wants the agent on workers, the younger one something else on a pool. `both` is in
/// both, and they disagree there.
#[tokio::test]
async fn nrc_260_compat_j_conflict_is_decided_per_node_and_nothing_flaps() {
    let cluster = Cluster::start().await.unwrap();
    let mut both = worker("both", false);
    both.labels.extend(in_pool("both").labels);
    for node in [worker("worker", false), in_pool("pool"), both] {
        cluster.create_node(&node).await.unwrap();
        cluster
            .set_condition(&node.name, AGENT, "True")
            .await
            .unwrap();
    }
    // Created in the same second most of the time: then the name decides. It agrees with the age.
    let younger = agent_rule("b-younger", "continuous")
        .replace("node-role.kubernetes.io/worker: ''", &format!("{POOL}: a"))
        .replace(AGENT, "example.com/Other");
    cluster.apply(&agent_rule("a-older", "continuous")).unwrap();
    cluster.apply(&younger).unwrap();
    let proxy = observer(&cluster).await;
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.until_held("pool").await;
    let conflicting = |wanted| {
        cluster.until_status("b-younger", "it says on how many nodes", move |status| {
            let said = status.conditions.iter().any(|one| {
                one.r#type == "Conflict" && (one.status.as_str() == "True") == (wanted > 0)
            });
            said && status
                .nodes
                .is_some_and(|nodes| nodes.conflicting == Some(wanted))
        })
    };
    let stored = conflicting(1).await.unwrap();
    let status = stored.status.unwrap();
    // `both` does not carry the taint, and is not let be by this rule.
    assert_eq!(status.nodes.unwrap().released, Some(0));
    let conditions = status.conditions;
    assert!(
        conditions[1].message.contains("on 1 node"),
        "{conditions:?}"
    );
    cluster.until_event("b-younger", "Conflict").await.unwrap();
    // Whatever happens to the node, the older one decides, and it wants nothing.
    for number in 0..5 {
        let status = if number % 2 == 0 { "False" } else { "Unknown" };
        cluster
            .set_condition("both", "example.com/Other", status)
            .await
            .unwrap();
    }
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("both").await.unwrap(), [""; 0]);
    assert_eq!(cluster.readiness_taints("worker").await.unwrap(), [""; 0]);
    // The pool once, and twice for the barrier.
    assert_eq!(node_patches(&proxy), 3);
    // Nor does the younger one let go what the older one holds.
    cluster
        .set_condition("both", "example.com/Other", "True")
        .await
        .unwrap();
    cluster.agent_reports("both", "False").await;
    cluster.until_held("both").await;
    cluster.until_worked_off().await.unwrap();
    assert_eq!(node_patches(&proxy), 6);
    // The older one goes: the younger one decides, and it is for letting go.
    cluster.delete_rule("a-older").await.unwrap();
    cluster.until_released("both").await;
    conflicting(0).await.unwrap();
    cluster.until_status_is_true("b-younger").await.unwrap();
    host.terminate().await.unwrap();
}

/// The name decides only between two of the same second: here it says the opposite of the age.
#[tokio::test]
async fn compat_j_conflict_is_won_by_the_older_rule_whatever_its_name() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("z-older", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    let created = async |name: &str| {
        let rule = cluster.rules().get_metadata(name).await.unwrap();
        rule.metadata.creation_timestamp.unwrap().0
    };
    let second = created("z-older").await + jiff::SignedDuration::from_secs(1);
    wait::until_true("the second is over", || async {
        Ok(jiff::Timestamp::now() > second)
    })
    .await
    .unwrap();
    // It would let the node go.
    cluster
        .set_condition("node-1", "example.com/Other", "True")
        .await
        .unwrap();
    let younger = agent_rule("a-younger", "continuous").replace(AGENT, "example.com/Other");
    cluster.apply(&younger).unwrap();
    assert!(created("a-younger").await > created("z-older").await);
    for (rule, conflicting) in [("a-younger", 1), ("z-older", 0)] {
        cluster
            .until_status(rule, "it knows who decides", |status| {
                let counts = status.nodes.unwrap_or_default();
                (counts.conflicting, counts.pending) == (Some(conflicting), Some(0))
            })
            .await
            .unwrap();
    }
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap().len(), 1);
    // A host that starts anew finds the same.
    host.terminate().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap().len(), 1);
    cluster.delete_rule("z-older").await.unwrap();
    cluster.until_released("node-1").await;
    host.terminate().await.unwrap();
}

/// The same key with two effects, by two rules: each has its own taint, record and opinion.
#[tokio::test]
async fn compat_j_other_effect_is_another_taint() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("schedule", "continuous"))
        .unwrap();
    let execute = agent_rule("execute", "continuous").replace("NoSchedule", "NoExecute");
    cluster
        .apply(&execute.replace(AGENT, "example.com/Other"))
        .unwrap();
    let until = |wanted: Vec<String>| {
        let cluster = &cluster;
        wait::until("the taints are as they should", move || {
            let wanted = wanted.clone();
            async move {
                let mut taints = cluster.readiness_taints("node-1").await?;
                taints.sort();
                Ok(if taints == wanted {
                    Ok(())
                } else {
                    Err(format!("{taints:?}"))
                })
            }
        })
    };
    let taint = |effect| format!("{GUIDE_TAINT}=pending:{effect}");
    until(vec![taint("NoExecute"), taint("NoSchedule")])
        .await
        .unwrap();
    let node = cluster.nodes().get("node-1").await.unwrap();
    let annotations = node.metadata.annotations.unwrap();
    let records: serde_json::Value =
        serde_json::from_str(&annotations[ownership::ANNOTATION]).unwrap();
    let of = |index: usize| {
        (
            records[index]["effect"].clone(),
            records[index]["rule"].clone(),
        )
    };
    assert_eq!(of(0), (json!("NoSchedule"), json!("schedule")));
    assert_eq!(of(1), (json!("NoExecute"), json!("execute")));
    cluster.agent_reports("node-1", "True").await;
    until(vec![taint("NoExecute")]).await.unwrap();
    for rule in ["schedule", "execute"] {
        cluster.until_status_is_true(rule).await.unwrap();
    }
    cluster.delete_rule("execute").await.unwrap();
    until(vec![]).await.unwrap();
    host.terminate().await.unwrap();
}
