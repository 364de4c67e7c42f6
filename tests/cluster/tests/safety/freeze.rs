//! The switch that freezes every rule, and the alarm that throws it.

use std::sync::Arc;

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{until_held, until_ready_is, workers};

const FREEZE: &str = "readiness.node.x-k8s.io/freeze-all";

/// Puts the annotation on a rule, or (null) takes it off.
async fn freeze(cluster: &Cluster, rule: &str, why: Value) {
    let change = json!({ "metadata": { "annotations": { FREEZE: why } } });
    cluster.patch_rule(rule, change).await.unwrap();
}

/// The value of the annotation on a rule.
async fn carried(cluster: &Cluster, rule: &str) -> Option<String> {
    let stored = cluster.rules().get(rule).await.unwrap();
    stored.metadata.annotations?.remove(FREEZE)
}

async fn until_carried(cluster: &Cluster, rule: &str, why: &str) {
    let what = format!("rule {rule} carries the freeze");
    wait::until_true(&what, || async {
        Ok(carried(cluster, rule).await.as_deref() == Some(why))
    })
    .await
    .unwrap();
}

async fn until_gone(cluster: &Cluster, rule: &str) {
    let what = format!("rule {rule} is gone");
    wait::until_true(&what, || async {
        Ok(cluster.rules().get_opt(rule).await?.is_none())
    })
    .await
    .unwrap();
}

/// Waits until a rule's status shows what the first of its nodes reports now.
async fn until_agent_is_seen(cluster: &Cluster, rule: &str, status: &str) {
    let shown = |node: &api::rule::status::NodeEvaluation| {
        node.condition_results[0].current_status.as_str() == status
    };
    cluster
        .until_status(rule, "every change was seen", |stored| {
            stored.node_evaluations.iter().all(shown)
        })
        .await
        .unwrap();
}

/// A proxy that only looks, and whose watches can be stopped.
async fn observer(cluster: &Cluster) -> Proxy {
    let pass =
        |_, _| -> futures::future::BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    Proxy::start(cluster.client.clone(), Arc::new(pass))
        .await
        .unwrap()
}

/// A rule for a taint of its own, and for the same nodes and condition as the guide's.
fn rule(name: &str) -> String {
    agent_rule(name, "continuous").replace("security-agent-ready", name)
}

#[tokio::test]
async fn compat_j_freeze_stops_every_rule_until_it_is_taken_off() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let other = agent_rule("other", "continuous").replace("security-agent-ready", "other");
    cluster.apply(&other).unwrap();
    cluster.until_held("node-01").await;
    cluster
        .until_tainted("node-01", "readiness.k8s.io/other", true)
        .await
        .unwrap();
    freeze(&cluster, "other", json!("something is wrong")).await;
    for rule in ["agent", "other"] {
        until_ready_is(&cluster, rule, "False", "Frozen").await;
    }
    assert!(
        cluster
            .until_event("agent", "Frozen")
            .await
            .unwrap()
            .contains("something is wrong")
    );
    cluster.agent_reports("node-01", "True").await;
    until_agent_is_seen(&cluster, "agent", "True").await;
    assert_eq!(cluster.readiness_taints("node-01").await.unwrap().len(), 2);
    freeze(&cluster, "other", json!(null)).await;
    cluster.until_released("node-01").await;
    cluster
        .until_tainted("node-01", "readiness.k8s.io/other", false)
        .await
        .unwrap();
    for rule in ["agent", "other"] {
        cluster.until_event(rule, "Thawed").await.unwrap();
    }
    // The next time is news as well, however soon it comes.
    freeze(&cluster, "agent", json!("once more")).await;
    wait::until("a second event says so", || async {
        let told = cluster.events("other", "Frozen").await?;
        let news = told.iter().any(|note| note.contains("once more"));
        Ok(if news {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        })
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_alarm_freezes_when_most_nodes_regress_and_is_released_by_hand() {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, 14).await;
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    let arguments = ["--freeze-when-regressed=50", "--freeze-window=1h"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    for name in &names {
        cluster.agent_reports(name, "False").await;
    }
    until_ready_is(&cluster, "agent", "False", "Frozen").await;
    until_agent_is_seen(&cluster, "agent", "False").await;
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 10);
    host.kill().await.unwrap();
    // It stands in the cluster, so another host is frozen as well.
    let host = cluster.start_host_with(&arguments).await.unwrap();
    until_ready_is(&cluster, "agent", "False", "Frozen").await;
    assert_eq!(
        carried(&cluster, "agent").await.as_deref(),
        Some("NodesRegressed: 10 of 14 nodes of rule 'agent' within 3600 s")
    );
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 10);
    freeze(&cluster, "agent", json!(null)).await;
    until_held(&cluster, 14).await;
    host.terminate().await.unwrap();
}

/// One node of three says Ready and not Ready a hundred times: it is one node.
#[tokio::test]
async fn compat_j_alarm_counts_nodes_and_not_how_often_one_flaps() {
    let cluster = Cluster::start().await.unwrap();
    for name in workers(&cluster, 3).await {
        cluster.agent_reports(&name, "True").await;
    }
    let arguments = ["--freeze-when-regressed=1", "--freeze-window=1h"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    for _ in 0..100 {
        cluster.agent_reports("node-01", "False").await;
        cluster.until_held("node-01").await;
        cluster.agent_reports("node-01", "True").await;
        cluster.until_released("node-01").await;
    }
    assert_eq!(carried(&cluster, "agent").await, None);
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

/// The same fourteen nodes as above, too slowly for the window.
#[tokio::test]
async fn compat_j_alarm_is_about_a_short_time() {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, 14).await;
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    let arguments = ["--freeze-when-regressed=50", "--freeze-window=1ms"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    for (held, name) in names.iter().enumerate() {
        cluster.agent_reports(name, "False").await;
        until_held(&cluster, held + 1).await;
    }
    assert_eq!(carried(&cluster, "agent").await, None);
    host.terminate().await.unwrap();
}

/// Each of the nodes is another one by the same name, which the host sees in one new list: none lost anything.
#[tokio::test]
async fn compat_j_alarm_takes_a_new_node_for_a_new_one_whatever_its_name() {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, 12).await;
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    let proxy = observer(&cluster).await;
    let arguments = ["--freeze-when-regressed=50", "--freeze-window=1h"];
    let host = proxy.start_host_with(&cluster, &arguments).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    let watches = proxy.watches();
    watches.send_modify(|watches| watches.paused = true);
    for name in &names {
        let nodes = cluster.nodes();
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
    }
    // Creation times are whole seconds.
    let deleted = jiff::Timestamp::now();
    wait::until_true("the second is over", || async {
        Ok(jiff::Timestamp::now().as_second() > deleted.as_second())
    })
    .await
    .unwrap();
    workers(&cluster, 12).await;
    watches.send_modify(|watches| {
        watches.paused = false;
        watches.expired = true;
        watches.generation += 1;
    });
    until_held(&cluster, 12).await;
    assert_eq!(carried(&cluster, "agent").await, None);
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

/// Who deletes a rule has no thaw in mind.
#[tokio::test]
async fn compat_j_freeze_is_carried_on_by_another_rule_where_its_carrier_goes() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
    ];
    let proxy = observer(&cluster).await;
    let host = proxy.start_host_with(&cluster, &arguments).await.unwrap();
    let metrics = host.served_at("metrics are served").unwrap();
    for name in ["first", "second", "third"] {
        cluster.apply(&rule(name)).unwrap();
        let key = format!("readiness.k8s.io/{name}");
        cluster.until_tainted("node-01", &key, true).await.unwrap();
    }
    freeze(&cluster, "second", json!("why")).await;
    until_ready_is(&cluster, "third", "False", "Frozen").await;
    cluster.delete_rule("second").await.unwrap();
    // Before it was gone another one carried it, and so nobody was thawed in between.
    assert_eq!(carried(&cluster, "first").await.as_deref(), Some("why"));
    let note = cluster
        .until_event("first", "FreezeCarriedOn")
        .await
        .unwrap();
    assert!(note.contains("rule 'second' is deleted"), "{note}");
    until_ready_is(&cluster, "third", "False", "Frozen").await;
    let scrape = Scrape::of(&metrics).await.unwrap();
    assert_eq!(scrape.get("node_readiness_rules_frozen"), Some(1.0));
    let written = r#"node_readiness_api_writes_total{kind="rule_freeze",result="success"}"#;
    assert_eq!(
        scrape.get(written),
        Some(2.0),
        "put on one, taken off the other"
    );

    // By force, and before the host saw it: nobody could hand anything over.
    let watches = proxy.watches();
    watches.send_modify(|watches| watches.paused = true);
    let rules = cluster.rules();
    rules
        .delete("first", &DeleteParams::default())
        .await
        .unwrap();
    let force = json!({ "metadata": { "finalizers": null } });
    cluster.patch_rule("first", force).await.unwrap();
    assert!(rules.get_opt("first").await.unwrap().is_none());
    watches.send_modify(|watches| watches.paused = false);
    until_carried(&cluster, "third", "why").await;
    cluster.agent_reports("node-01", "True").await;
    until_agent_is_seen(&cluster, "third", "True").await;
    let key = "readiness.k8s.io/third";
    assert_eq!(cluster.tainted(key).await.unwrap(), 1);

    freeze(&cluster, "third", json!(null)).await;
    cluster.until_tainted("node-01", key, false).await.unwrap();
    cluster.until_event("third", "Thawed").await.unwrap();
    let scrape = Scrape::of(&metrics).await.unwrap();
    assert_eq!(scrape.get("node_readiness_rules_frozen"), Some(0.0));
    let log = host.log().unwrap();
    for line in [
        "every rule is frozen",
        "every rule stays frozen",
        "no rule is frozen any more",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(
        log.matches("no rule is frozen any more").count(),
        1,
        "{log}"
    );
    host.terminate().await.unwrap();
}

/// The rule goes while no host is there, and the next one is another process.
#[tokio::test]
async fn compat_j_freeze_outlives_its_carrier_also_where_no_host_sees_it_go() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    for name in ["first", "second"] {
        cluster.apply(&rule(name)).unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    host.kill().await.unwrap();
    let rules = cluster.rules();
    rules
        .delete("first", &DeleteParams::default())
        .await
        .unwrap();
    cluster.agent_reports("node-01", "True").await;
    let host = cluster.start_host().await.unwrap();
    until_gone(&cluster, "first").await;
    assert_eq!(carried(&cluster, "second").await.as_deref(), Some("why"));
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    assert_eq!(cluster.tainted("readiness.k8s.io/second").await.unwrap(), 1);

    // The last rule takes it along, and says so.
    cluster.delete_rule("second").await.unwrap();
    let note = cluster.until_event("second", "Thawed").await.unwrap();
    assert!(note.contains("no other rule is left"), "{note}");
    cluster.apply(&rule("third")).unwrap();
    until_ready_is(&cluster, "third", "True", "Enforced").await;
    host.terminate().await.unwrap();
}

/// Nobody may put the annotation on this rule.
async fn forbid(cluster: &Cluster, rule: &str) {
    let expression = format!(
        "object.metadata.name != '{rule}' || !('{FREEZE}' in object.metadata.?annotations.orValue({{}}))"
    );
    let probe = json!({ "metadata": { "annotations": { FREEZE: "probe" } } });
    let refused = cluster.keep_out_of_rules(&expression, rule, probe).await;
    refused.unwrap();
}

/// Whoever may not write rules has frozen them all the same, and says that it is not to be seen.
#[tokio::test]
async fn a_freeze_that_cannot_be_written_is_told() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    for name in ["first", "second"] {
        cluster.apply(&rule(name)).unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    forbid(&cluster, "second").await;
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    let rules = cluster.rules();
    rules
        .delete("first", &DeleteParams::default())
        .await
        .unwrap();
    let note = cluster
        .until_event("second", "FreezeNotWritten")
        .await
        .unwrap();
    assert!(note.contains("not wanted here"), "{note}");
    // It waits, says for whom, and can be released where it stands.
    let note = cluster
        .until_event("first", "FreezeNotCarriedOn")
        .await
        .unwrap();
    let says = |text: &str| text.contains("rule 'second'") && text.contains("not wanted here");
    assert!(says(&note), "{note}");
    until_ready_is(&cluster, "first", "False", "FreezeNotCarriedOn").await;
    let stored = rules.get("first").await.unwrap();
    let conditions = stored.status.unwrap().conditions;
    let ready = conditions.iter().find(|one| one.r#type == "Ready").unwrap();
    assert!(says(&ready.message), "{}", ready.message);
    freeze(&cluster, "first", json!(null)).await;
    until_ready_is(&cluster, "second", "True", "Enforced").await;
    until_gone(&cluster, "first").await;
    host.terminate().await.unwrap();
}

/// Nobody touches either rule: the one that is to carry the freeze is tried until it can.
#[tokio::test]
async fn a_freeze_is_carried_on_when_nobody_is_against_it_any_more() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    for name in ["first", "second"] {
        cluster.apply(&rule(name)).unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    forbid(&cluster, "second").await;
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    let rules = cluster.rules();
    rules
        .delete("first", &DeleteParams::default())
        .await
        .unwrap();
    until_ready_is(&cluster, "first", "False", "FreezeNotCarriedOn").await;
    cluster.admit().unwrap();
    until_carried(&cluster, "second", "why").await;
    until_gone(&cluster, "first").await;
    // Where nothing is against it, a hand-over is nothing to warn of.
    cluster.apply(&rule("third")).unwrap();
    until_ready_is(&cluster, "third", "False", "Frozen").await;
    cluster.delete_rule("second").await.unwrap();
    assert_eq!(carried(&cluster, "third").await.as_deref(), Some("why"));
    host.terminate().await.unwrap();
    let told = cluster
        .events("second", "FreezeNotCarriedOn")
        .await
        .unwrap();
    assert_eq!(told, [""; 0]);
}

/// The rule that is to carry the freeze cannot: its own status says all the same what is so.
#[tokio::test]
async fn an_alarm_that_cannot_be_written_is_in_the_status_of_its_rule() {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, 12).await;
    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    let arguments = ["--freeze-when-regressed=50", "--freeze-window=1h"];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(&cluster, "agent", "True", "Enforced").await;
    forbid(&cluster, "agent").await;
    for name in &names {
        cluster.agent_reports(name, "False").await;
    }
    let says = |status: &api::rule::status::NodeReadinessRuleStatus| {
        let mut conditions = status.conditions.iter();
        conditions.any(|one| one.message.contains("every rule is frozen by this host"))
    };
    cluster
        .until_status("agent", "it says by whom it is frozen", says)
        .await
        .unwrap();
    assert_eq!(carried(&cluster, "agent").await, None);
    host.terminate().await.unwrap();
}
