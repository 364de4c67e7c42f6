//! The alarm, by which every rule is frozen when most nodes of one regress.

use std::sync::Arc;

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::proxy::{Fault, Passed, Proxy};
use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, wait};
use futures::future::BoxFuture;
use kube::api::DeleteParams;
use tokio::sync::watch;

use super::freeze::{carried, forbid, freeze, observer, rule, until_agent_is_seen, until_carried};
use super::{until_held, until_ready_is, workers};

/// More than half of the nodes of a rule, within an hour.
const SOON: [&str; 2] = ["--freeze-when-regressed=50", "--freeze-window=1h"];
/// A rule itself, and not its status.
const RULE: &str = "/nodereadinessrules/agent";

/// So many nodes, all of them ready.
async fn ready(count: usize) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start().await.unwrap();
    let names = workers(&cluster, count).await;
    reported(&cluster, &names, "True").await;
    (cluster, names)
}

async fn reported(cluster: &Cluster, names: &[String], status: &str) {
    for name in names {
        cluster.agent_reports(name, status).await;
    }
}

async fn until_enforced(cluster: &Cluster) {
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_ready_is(cluster, "agent", "True", "Enforced").await;
}

/// The same, and a host at work with a rule that holds none of them.
async fn watched(count: usize, arguments: &[&str]) -> (Cluster, Vec<String>, Host) {
    let (cluster, names) = ready(count).await;
    let host = cluster.start_host_with(arguments).await.unwrap();
    until_enforced(&cluster).await;
    (cluster, names, host)
}

/// Waits until a rule's status has this in one of its messages.
async fn until_said(cluster: &Cluster, rule: &str, text: &str) {
    let says = |status: &NodeReadinessRuleStatus| {
        let mut conditions = status.conditions.iter();
        conditions.any(|one| one.message.contains(text))
    };
    cluster.until_status(rule, text, says).await.unwrap();
}

#[tokio::test]
async fn compat_j_alarm_freezes_when_most_nodes_regress_and_is_released_by_hand() {
    let (cluster, names, host) = watched(14, &SOON).await;
    reported(&cluster, &names, "False").await;
    until_ready_is(&cluster, "agent", "False", "Frozen").await;
    until_agent_is_seen(&cluster, "agent", "False").await;
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 10);
    let why = "NodesRegressed: 10 of 14 nodes of rule 'agent' within 3600 s";
    until_carried(&cluster, "agent", why).await;
    host.kill().await.unwrap();
    // It stands in the cluster, so another host is frozen as well.
    let host = cluster.start_host_with(&SOON).await.unwrap();
    until_ready_is(&cluster, "agent", "False", "Frozen").await;
    assert_eq!(carried(&cluster, "agent").await.as_deref(), Some(why));
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 10);
    freeze(&cluster, "agent", serde_json::Value::Null).await;
    until_held(&cluster, 14).await;
    host.terminate().await.unwrap();
}

/// One node of three says Ready and not Ready a hundred times: it is one node.
#[tokio::test]
async fn compat_j_alarm_counts_nodes_and_not_how_often_one_flaps() {
    let arguments = ["--freeze-when-regressed=1", "--freeze-window=1h"];
    let (cluster, _, host) = watched(3, &arguments).await;
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
    let arguments = ["--freeze-when-regressed=50", "--freeze-window=1ms"];
    let (cluster, names, host) = watched(14, &arguments).await;
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
    let (cluster, names) = ready(12).await;
    let proxy = observer(&cluster).await;
    let host = proxy.start_host_with(&cluster, &SOON).await.unwrap();
    until_enforced(&cluster).await;
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

/// The rule that is to carry the freeze cannot: its own status says all the same what is so, and nobody has to
/// touch anything for it to be tried until it can.
#[tokio::test]
async fn an_alarm_that_cannot_be_written_is_told_and_tried_until_it_can() {
    let (cluster, names) = ready(12).await;
    let proxy = observer(&cluster).await;
    let host = proxy.start_host_with(&cluster, &SOON).await.unwrap();
    until_enforced(&cluster).await;
    forbid(&cluster, "agent").await;
    reported(&cluster, &names, "False").await;
    until_said(&cluster, "agent", "every rule is frozen by this host").await;
    assert_eq!(carried(&cluster, "agent").await, None);
    let refused = |request: &&Passed| {
        let path = request.path.split('?').next().unwrap_or_default();
        request.method == "PATCH" && path.ends_with(RULE) && request.status >= 400
    };
    // A few times something else brings it up again, such as its own status.
    wait::until_true("it was tried again and again", || async {
        Ok(proxy.passed().iter().filter(refused).count() > 6)
    })
    .await
    .unwrap();
    cluster.admit().unwrap();
    let why = "NodesRegressed: 10 of 12 nodes of rule 'agent' within 3600 s";
    until_carried(&cluster, "agent", why).await;
    until_said(&cluster, "agent", "every rule is frozen by annotation").await;
    host.terminate().await.unwrap();
}

/// Before it is written down each rule says so; then each says where it is.
#[tokio::test]
async fn every_rule_says_where_a_freeze_is_written_down_as_soon_as_it_is() {
    let (cluster, names) = ready(12).await;
    let (held, hold) = watch::channel(false);
    let hook = move |method: String, path: String| -> BoxFuture<'static, Fault> {
        let path = path.split('?').next().unwrap_or_default();
        let is_it = method == "PATCH" && path.ends_with(RULE);
        let mut hold = hold.clone();
        Box::pin(async move {
            if is_it {
                let _ = hold.wait_for(|held| !held).await;
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let proxy = proxy.await.unwrap();
    let arguments = [&SOON[..], &["--rule-concurrent-reconciles=2"]].concat();
    let host = proxy.start_host_with(&cluster, &arguments).await.unwrap();
    until_enforced(&cluster).await;
    cluster.apply(&rule("other")).unwrap();
    until_ready_is(&cluster, "other", "True", "Enforced").await;
    held.send_replace(true);
    reported(&cluster, &names, "False").await;
    until_said(&cluster, "other", "every rule is frozen by this host").await;
    assert_eq!(carried(&cluster, "agent").await, None);
    held.send_replace(false);
    for rule in ["agent", "other"] {
        until_said(
            &cluster,
            rule,
            "by annotation readiness.node.x-k8s.io/freeze-all of rule 'agent'",
        )
        .await;
    }
    host.terminate().await.unwrap();
}
