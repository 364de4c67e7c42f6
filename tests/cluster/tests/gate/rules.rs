//! Which rules have a gate, and until when.

use std::sync::Arc;

use cluster_tests::{Cluster, agent_rule, wait};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::DeleteParams;
use planner::rule::Status;
use serde_json::{Value, json};

use crate::{create, install, of_pool, records, rule, set, taints, until_born_with};

async fn until_new_nodes(cluster: &Cluster, rule: &str, status: Status, reason: &str) {
    cluster
        .until_status(
            rule,
            &format!("HoldsNewNodes={status}, {reason}"),
            |stored| {
                let mut told = stored
                    .conditions
                    .iter()
                    .filter(|found| found.r#type == "HoldsNewNodes");
                told.any(|found| found.status == status && found.reason == reason)
            },
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rule_says_whether_it_holds_new_nodes_and_the_gate_goes_by_that() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let requires = |name: &str, status: &str, default: &str| {
        let condition = format!("requiredStatus: '{status}'{default}");
        rule(name, "a", "").replace("requiredStatus: 'True'", &condition)
    };
    let budget = |exempt| format!("  budget: {{maxHeld: 5, exemptYoungerThan: {exempt}}}\n");
    let parameters = "  policy: {name: default, parameters: {minReadyTime: 1h}}\n";
    let wrong = "  policy: {name: default, parameters: {minReadyTime: never}}\n";
    let cases = [
        (rule("plain", "a", ""), "True", "ConditionsNotMet"),
        (requires("problem", "False", ""), "True", "ConditionsNotMet"),
        (
            requires("other-default", "True", ", defaultStatus: 'False'"),
            "True",
            "ConditionsNotMet",
        ),
        (
            rule("young", "a", &budget("10m")),
            "True",
            "ConditionsNotMet",
        ),
        (rule("in-time", "a", parameters), "True", "ConditionsNotMet"),
        (
            requires("default", "True", ", defaultStatus: 'True'"),
            "False",
            "ConditionsMet",
        ),
        (requires("unknown", "Unknown", ""), "False", "ConditionsMet"),
        (
            rule("counted", "a", &budget("0s")),
            "False",
            "BudgetCountsNewNodes",
        ),
        (
            rule("full", "a", &budget("0s").replace('5', "0")),
            "False",
            "BudgetCountsNewNodes",
        ),
        (rule("dry", "a", "  dryRun: true\n"), "False", "DryRun"),
        (
            rule("paused", "a", "  suspend: true\n"),
            "False",
            "Suspended",
        ),
        (rule("wrong", "a", wrong), "False", "InvalidRule"),
        // No node can be given it: then none could be created.
        (
            rule("refused", "a", "").replace("NoSchedule", "NoSchedule, value: 'not ok!'"),
            "False",
            "InvalidRule",
        ),
        (
            rule("gt", "a", "").replace(
                "{matchLabels: {pool: a}}",
                "{matchExpressions: [{key: size, operator: Gt, values: ['1']}]}",
            ),
            "False",
            "InvalidRule",
        ),
    ];
    let texts: Vec<_> = cases.iter().map(|(text, ..)| text.as_str()).collect();
    cluster.apply(&texts.join("---")).unwrap();
    install(&cluster, None);
    let mut held = Vec::new();
    for (text, status, reason) in &cases {
        let name = text
            .split("{name: ")
            .nth(1)
            .unwrap()
            .split('}')
            .next()
            .unwrap();
        until_new_nodes(&cluster, name, Status::parse(status).unwrap(), reason).await;
        held.extend((*status == "True").then_some(name));
    }
    until_born_with(&cluster, "a", &held).await;
    // It is no news that needs somebody.
    cluster.until_worked_off().await.unwrap();
    let events = cluster.events("plain", "NotReady").await.unwrap();
    assert_eq!(events, [""; 0]);
    host.terminate().await.unwrap();
}

/// A gate would put its taint on nodes about which it has no say.
#[tokio::test]
async fn a_rule_that_loses_every_node_to_another_holds_no_new_node_and_names_the_other() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    // Lets new nodes go at once: nothing but the loser's gate would hold them.
    let older = rule("a-older", "a", "")
        .replace(
            "requiredStatus: 'True'",
            "requiredStatus: 'True', defaultStatus: 'True'",
        )
        .replace("readiness.k8s.io/a-older", "readiness.k8s.io/shared");
    let younger = rule("b-younger", "a", "")
        .replace("{pool: a}", "{pool: a, zone: x}")
        .replace("readiness.k8s.io/b-younger", "readiness.k8s.io/shared");
    cluster.apply(&younger).unwrap();
    until_new_nodes(&cluster, "b-younger", Status::True, "ConditionsNotMet").await;
    // Of two of the same second the name decides, and there is no node that would tell.
    let replaces = older.replace("  conditions:", "  replaces: b-younger\n  conditions:");
    cluster.apply(&replaces).unwrap();
    until_new_nodes(&cluster, "b-younger", Status::False, "OtherRuleDecides").await;
    let stored = cluster.rules().get("b-younger").await.unwrap();
    let conditions = stored.status.unwrap().conditions;
    let told = conditions
        .iter()
        .find(|one| one.r#type == "HoldsNewNodes")
        .unwrap();
    assert_eq!(
        told.message,
        "rule a-older comes first, and decides about the same taint on every node that this one selects"
    );
    until_new_nodes(&cluster, "a-older", Status::False, "ConditionsMet").await;

    install(&cluster, None);
    // The other way round some nodes are its own.
    let wide = rule("c-wide", "a", "")
        .replace("{matchLabels: {pool: a}}", "{}")
        .replace("readiness.k8s.io/c-wide", "readiness.k8s.io/shared");
    cluster.apply(&wide).unwrap();
    until_new_nodes(&cluster, "c-wide", Status::True, "ConditionsNotMet").await;
    until_born_with(&cluster, "a", &["shared"]).await;
    cluster.delete_rule("c-wide").await.unwrap();
    until_born_with(&cluster, "a", &[]).await;
    let mut node = of_pool("node-1", "a");
    node["metadata"]["labels"]["zone"] = json!("x");
    let node = create(&cluster, node).await.unwrap();
    assert_eq!(taints(&node), set(&[]));
    // It has the say again when the other one is gone.
    cluster.delete_rule("a-older").await.unwrap();
    until_new_nodes(&cluster, "b-younger", Status::True, "ConditionsNotMet").await;
    host.terminate().await.unwrap();
}

/// Nobody runs: what the gate does here it does by itself.
#[tokio::test]
async fn a_rule_that_is_paused_or_deleted_holds_no_new_node_whoever_is_down() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&[rule("agent", "a", ""), rule("other", "a", "")].join("---"))
        .unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent", "other"]).await;
    host.kill().await.unwrap();
    for (field, value) in [("suspend", json!(true)), ("dryRun", json!(true))] {
        cluster
            .patch_rule("agent", json!({ "spec": { field: value } }))
            .await
            .unwrap();
        until_born_with(&cluster, "a", &["other"]).await;
        cluster
            .patch_rule("agent", json!({ "spec": { field: null } }))
            .await
            .unwrap();
        until_born_with(&cluster, "a", &["agent", "other"]).await;
    }
    // The CRD lets a value be set later, whatever it is.
    let value = json!({ "spec": { "taint": { "value": "not ok!" } } });
    cluster.patch_rule("other", value).await.unwrap();
    until_born_with(&cluster, "a", &["agent"]).await;
    // Its finalizer keeps it.
    cluster
        .rules()
        .delete("agent", &DeleteParams::default())
        .await
        .unwrap();
    until_born_with(&cluster, "a", &[]).await;
    assert!(cluster.rules().get_opt("agent").await.unwrap().is_some());
}

#[tokio::test]
async fn a_frozen_cluster_has_no_gate_until_it_is_released() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&[rule("agent", "a", ""), rule("other", "a", "")].join("---"))
        .unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent", "other"]).await;
    let freeze = |why: Value| json!({ "metadata": { "annotations": { "readiness.node.x-k8s.io/freeze-all": why } } });
    cluster
        .patch_rule("other", freeze(json!("why")))
        .await
        .unwrap();
    until_born_with(&cluster, "a", &[]).await;
    cluster
        .patch_rule("other", freeze(Value::Null))
        .await
        .unwrap();
    until_born_with(&cluster, "a", &["agent", "other"]).await;
    host.terminate().await.unwrap();
}

/// Nodes come all the time while a rule goes.
#[tokio::test]
async fn compat_j_at_birth_a_rule_that_is_deleted_while_nodes_are_created_leaves_nothing_on_any() {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("agent", "a", "")).unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent"]).await;
    let born = futures::stream::unfold(0, |number| {
        let cluster = Arc::clone(&cluster);
        async move {
            let node = create(&cluster, of_pool(&format!("node-{number}"), "a"))
                .await
                .unwrap();
            Some((taints(&node).len(), number + 1))
        }
    });
    tokio::pin!(born);
    let (mut held, mut free) = (0, 0);
    let mut delete = None;
    // As long as some are held, and some more that are not.
    while free < 20 {
        match born.next().await.unwrap() {
            0 => free += 1,
            _ => held += 1,
        }
        if held == 20 && delete.is_none() {
            let cluster = Arc::clone(&cluster);
            delete = Some(tokio::spawn(
                async move { cluster.delete_rule("agent").await },
            ));
        }
    }
    assert!(held >= 20, "{held}");
    delete.unwrap().await.unwrap().unwrap();
    until_clean(&cluster).await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn what_a_gate_put_there_for_a_rule_that_is_gone_is_released_by_the_next_host() {
    let cluster = Cluster::start().await.unwrap();
    let rules = rule("agent", "a", "");
    cluster.apply(&rules).unwrap();
    install(&cluster, Some(&rules));
    until_born_with(&cluster, "a", &["agent"]).await;
    let node = create(&cluster, of_pool("node-1", "a")).await.unwrap();
    assert_eq!(records(&node).len(), 1);
    // No host ever saw the rule: it has no finalizer.
    cluster.delete_rule("agent").await.unwrap();
    let host = cluster.start_host().await.unwrap();
    until_clean(&cluster).await;
    // Another one of the same name is another rule.
    cluster.apply(&rule("agent", "b", "")).unwrap();
    until_born_with(&cluster, "b", &["agent"]).await;
    assert_eq!(
        taints(&create(&cluster, of_pool("node-2", "a")).await.unwrap()),
        set(&[])
    );
    host.terminate().await.unwrap();
}

async fn until_clean(cluster: &Cluster) {
    wait::until("no node carries a taint or a record", || async {
        let nodes = cluster.nodes().list(&Default::default()).await?;
        let marked = nodes.iter().filter(|node| {
            let taints = taints(node);
            !taints.is_empty() || !records(node).is_empty()
        });
        let marked: Vec<_> = marked.map(ResourceExt::name_any).collect();
        Ok(if marked.is_empty() {
            Ok(())
        } else {
            Err(marked.join(", "))
        })
    })
    .await
    .unwrap();
}

/// The guide's rule selects by such a label: with NodeRestriction no kubelet creates a node that it selects.
#[tokio::test]
async fn a_rule_says_by_which_label_no_kubelet_can_create_its_node() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("guide", "continuous")).unwrap();
    cluster.apply(&rule("pool", "a", "")).unwrap();
    let message = async |name: &str| {
        let held = cluster.until_status(name, "HoldsNewNodes", |stored| {
            let mut told = stored.conditions.iter();
            told.any(|one| one.r#type == "HoldsNewNodes" && one.status == Status::True)
        });
        let held = held.await.unwrap();
        let mut told = held.status.unwrap().conditions.into_iter();
        told.find(|one| one.r#type == "HoldsNewNodes")
            .unwrap()
            .message
    };
    let guide = message("guide").await;
    let expected = "it may not set label node-role.kubernetes.io/worker, by which the rule selects";
    assert!(guide.contains(expected), "{guide}");
    assert!(!message("pool").await.contains("kubelet"));
    host.terminate().await.unwrap();
}
