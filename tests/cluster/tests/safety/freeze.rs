//! The switch that freezes every rule.

use std::sync::Arc;

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, Host, agent_rule, wait};
use futures::future::BoxFuture;
use http::StatusCode;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{until_ready_is, workers};

const FREEZE: &str = "readiness.node.x-k8s.io/freeze-all";

/// Puts the annotation on a rule, or (null) takes it off.
pub async fn freeze(cluster: &Cluster, rule: &str, why: Value) {
    let change = json!({ "metadata": { "annotations": { FREEZE: why } } });
    cluster.patch_rule(rule, change).await.unwrap();
}

/// The value of the annotation on a rule.
pub async fn carried(cluster: &Cluster, rule: &str) -> Option<String> {
    let stored = cluster.rules().get(rule).await.unwrap();
    stored.metadata.annotations?.remove(FREEZE)
}

/// Deletes a rule, and does not wait for it to go.
async fn delete(cluster: &Cluster, rule: &str) {
    let delete = DeleteParams::default();
    cluster.rules().delete(rule, &delete).await.unwrap();
}

/// One node, and a host at work with these rules.
async fn enforced(names: &[&str]) -> (Cluster, Host) {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let host = cluster.start_host().await.unwrap();
    for name in names {
        cluster.apply(&rule(name)).unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    (cluster, host)
}

pub async fn until_carried(cluster: &Cluster, rule: &str, why: &str) {
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
pub async fn until_agent_is_seen(cluster: &Cluster, rule: &str, status: &str) {
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
pub async fn observer(cluster: &Cluster) -> Proxy {
    let pass = |_, _| -> BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    Proxy::start(cluster.client.clone(), Arc::new(pass))
        .await
        .unwrap()
}

/// A rule for a taint of its own, and for the same nodes and condition as the guide's.
pub fn rule(name: &str) -> String {
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
    delete(&cluster, "first").await;
    let force = json!({ "metadata": { "finalizers": null } });
    cluster.patch_rule("first", force).await.unwrap();
    assert!(cluster.rules().get_opt("first").await.unwrap().is_none());
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
    let (cluster, host) = enforced(&["first", "second"]).await;
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    host.kill().await.unwrap();
    delete(&cluster, "first").await;
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
pub async fn forbid(cluster: &Cluster, rule: &str) {
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
    let (cluster, host) = enforced(&["first", "second"]).await;
    forbid(&cluster, "second").await;
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    delete(&cluster, "first").await;
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
    let stored = cluster.rules().get("first").await.unwrap();
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
    let (cluster, host) = enforced(&["first", "second"]).await;
    forbid(&cluster, "second").await;
    freeze(&cluster, "first", json!("why")).await;
    until_ready_is(&cluster, "second", "False", "Frozen").await;
    delete(&cluster, "first").await;
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

/// What somebody answers who is asked to let a rule carry the freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Passes,
    Waits,
    Refuses,
}

/// The rule that is deleted is looked at while the request that gives its heir the annotation is still under way; and
/// once more when that was refused, though nothing happens to it.
#[tokio::test]
async fn a_carrier_waits_until_its_heir_carries_the_freeze_and_says_what_it_waits_for() {
    let cluster = Cluster::start().await.unwrap();
    workers(&cluster, 1).await;
    let answer = watch::Sender::new(Answer::Passes);
    let asked = watch::Sender::new(0);
    let hook = {
        let (answer, asked) = (answer.clone(), asked.clone());
        move |method: String, path: String| -> BoxFuture<'static, Fault> {
            let path = path.split('?').next().unwrap_or_default();
            let is_it = method == "PATCH" && path.ends_with("/nodereadinessrules/heir");
            let (mut answer, asked) = (answer.subscribe(), asked.clone());
            Box::pin(async move {
                if !is_it {
                    return Fault::Pass;
                }
                asked.send_modify(|asked| *asked += 1);
                let answer = answer.wait_for(|answer| *answer != Answer::Waits).await;
                match answer.map(|answer| *answer) {
                    Ok(Answer::Refuses) => Fault::Explain(StatusCode::UNPROCESSABLE_ENTITY),
                    _ => Fault::Pass,
                }
            })
        }
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let proxy = proxy.await.unwrap();
    let two = ["--rule-concurrent-reconciles=2"];
    let host = proxy.start_host_with(&cluster, &two).await.unwrap();
    // The oldest inherits.
    for name in ["heir", "carrier", "third"] {
        cluster.apply(&rule(name)).unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    freeze(&cluster, "carrier", json!("why")).await;
    for name in ["heir", "carrier", "third"] {
        until_ready_is(&cluster, name, "False", "Frozen").await;
    }
    answer.send_replace(Answer::Waits);
    asked.send_replace(0);
    delete(&cluster, "carrier").await;
    wait::until_true("the heir is to be given it", || async {
        Ok(*asked.borrow() > 0)
    })
    .await
    .unwrap();
    // What comes later is worked off: so was the carrier.
    let budget = json!({ "spec": { "budget": { "maxHeld": 1 } } });
    cluster.patch_rule("third", budget).await.unwrap();
    let generation = cluster.rules().get("third").await.unwrap();
    let generation = generation.metadata.generation;
    cluster
        .until_status("third", "its change is worked off", |status| {
            status.observed_generation == generation
        })
        .await
        .unwrap();
    assert_eq!(carried(&cluster, "heir").await, None);
    assert_eq!(carried(&cluster, "carrier").await.as_deref(), Some("why"));
    answer.send_replace(Answer::Refuses);
    let note = cluster.until_event("carrier", "FreezeNotCarriedOn").await;
    assert!(note.unwrap().contains("rule 'heir'"));
    answer.send_replace(Answer::Passes);
    until_gone(&cluster, "carrier").await;
    assert_eq!(carried(&cluster, "heir").await.as_deref(), Some("why"));
    host.terminate().await.unwrap();
}

/// As kubectl users expect of a switch: a value that says no is off.
#[tokio::test]
async fn a_value_that_says_no_freezes_nothing_and_ends_a_freeze() {
    let (cluster, host) = enforced(&["first", "second"]).await;
    freeze(&cluster, "first", json!("false")).await;
    cluster.agent_reports("node-01", "True").await;
    for name in ["first", "second"] {
        let key = format!("readiness.k8s.io/{name}");
        cluster.until_tainted("node-01", &key, false).await.unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    freeze(&cluster, "first", json!("")).await;
    for name in ["first", "second"] {
        until_ready_is(&cluster, name, "False", "Frozen").await;
    }
    cluster.agent_reports("node-01", "False").await;
    let stays = "every rule is frozen: the node stays as it is";
    cluster
        .until_status("second", "it says what a new node meets", |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|one| one.r#type == "HoldsNewNodes" && one.message == stays)
                && status.conditions[0].message.ends_with("no reason is given")
        })
        .await
        .unwrap();
    freeze(&cluster, "first", json!("No")).await;
    for name in ["first", "second"] {
        let key = format!("readiness.k8s.io/{name}");
        cluster.until_tainted("node-01", &key, true).await.unwrap();
        until_ready_is(&cluster, name, "True", "Enforced").await;
    }
    host.terminate().await.unwrap();
}
