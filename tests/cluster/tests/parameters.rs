//! The parameters of the default policy, where time goes by itself.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use jiff::{Timestamp, ToSpan};
use kube::api::{Patch, PatchParams};
use planner::rule::Status;
use serde_json::{Value, json};

fn rule_with(mode: &str, parameters: &str) -> String {
    let rule = agent_rule("agent", mode);
    format!("{rule}  policy: {{name: default, parameters: {parameters}}}\n")
}

async fn set_status(cluster: &Cluster, status: Value) {
    cluster
        .nodes()
        .patch_status(
            "worker",
            &PatchParams::default(),
            &Patch::Merge(json!({ "status": status })),
        )
        .await
        .unwrap();
}

/// As a node's parts write it: in whole seconds.
fn seconds_ago(seconds: i64) -> String {
    let at = Timestamp::now() - seconds.seconds();
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

async fn version(cluster: &Cluster) -> String {
    let node = cluster.nodes().get_metadata("worker").await.unwrap();
    node.metadata.resource_version.unwrap()
}

/// The reporter is dead: nothing happens to the node, and yet the taint comes back.
#[tokio::test]
async fn nrc_357_a_heartbeat_grows_too_old_without_any_event() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let mut host = cluster.start_host().await.unwrap();
    cluster
        .apply(&rule_with("continuous", "{maxHeartbeatAge: 2s}"))
        .unwrap();
    cluster.agent_reports("worker", "True").await;
    host.until_logged("taint removed").await.unwrap();
    let node = cluster.until_held("worker").await;
    let condition = node.status.unwrap().conditions.unwrap();
    assert_eq!(condition[0].status, "True", "it only grew old");
    host.until_logged("without a heartbeat in the last 2s")
        .await
        .unwrap();
    // A held node is not looked at again: what comes next is the reporter's.
    let before = version(&cluster).await;
    cluster.agent_reports("worker", "True").await;
    let after = cluster.until_released("worker").await;
    assert_ne!(after.metadata.resource_version, Some(before));
    host.terminate().await.unwrap();
}

/// Released by the host's own timer, and not before the time is over.
#[tokio::test]
async fn a_node_is_released_once_its_condition_lasted() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&rule_with("bootstrap-only", "{minReadyTime: 2s}"))
        .unwrap();
    let since = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let condition = json!({
        "type": AGENT, "status": "True", "lastTransitionTime": since.to_string(),
    });
    set_status(&cluster, json!({ "conditions": [condition] })).await;
    let seen = cluster
        .until_status("agent", "the condition was seen", |status| {
            let results = status.node_evaluations.iter();
            let mut results = results.flat_map(|node| &node.condition_results);
            results.any(|result| result.current_status == Status::True)
        })
        .await
        .unwrap();
    let held = Timestamp::now().duration_since(since).as_secs() < 2;
    let nodes = seen.status.unwrap().nodes.unwrap();
    assert!(!held || nodes.held == Some(1), "{nodes:?}");
    cluster.until_released("worker").await;
    assert!(Timestamp::now().duration_since(since).as_secs() >= 2);
    host.terminate().await.unwrap();
}

/// Also where nobody watched while the node rebooted, and after a rollback in between.
#[tokio::test]
async fn compat_j_a_reboot_arms_the_rule_again() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let status = |boot: &str, ready: i64, agent: i64| {
        let condition = |name: &str, ago| json!({ "type": name, "status": "True", "lastHeartbeatTime": seconds_ago(ago) });
        json!({
            "nodeInfo": { "bootID": boot },
            "conditions": [condition("Ready", ready), condition(AGENT, agent)],
        })
    };
    cluster
        .apply(&rule_with("bootstrap-only", "{rearmOnReboot: true}"))
        .unwrap();
    set_status(&cluster, status("one", 100, 90)).await;
    let node = cluster.until_released("worker").await;
    let uid = cluster.rules().get("agent").await.unwrap().metadata.uid;
    let key = format!("readiness.k8s.io/bootstrap-completed-{}", uid.unwrap());
    let completion = |node: &k8s_openapi::api::core::v1::Node| {
        node.metadata.annotations.as_ref().unwrap()[&key].clone()
    };
    assert_eq!(
        completion(&node),
        r#"{"rule-name":"agent","boot-id":"one"}"#
    );
    host.kill().await.unwrap();

    // What a controller that knows no boots may leave is stamped at first sight.
    let plain = json!({ &key: r#"{"rule-name":"agent"}"# });
    cluster.annotate_node("worker", plain).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    wait::until("the completion has its boot", || async {
        let found = completion(&cluster.nodes().get("worker").await?);
        Ok(if found.contains(r#""boot-id":"one""#) {
            Ok(())
        } else {
            Err(found)
        })
    })
    .await
    .unwrap();
    host.kill().await.unwrap();

    set_status(&cluster, status("two", 50, 60)).await;
    let host = cluster.start_host().await.unwrap();
    let node = cluster.until_held("worker").await;
    assert!(completion(&node).contains(r#""rebooted":{"boot-id":"two""#));
    // A restart does not forget which heartbeat of Ready counts.
    host.kill().await.unwrap();
    set_status(&cluster, status("two", 0, 40)).await;
    let host = cluster.start_host().await.unwrap();
    let node = cluster.until_released("worker").await;
    assert_eq!(
        completion(&node),
        r#"{"rule-name":"agent","boot-id":"two"}"#
    );
    host.terminate().await.unwrap();
}

/// While its parameters are refused a rule changes no taint, and says why.
#[tokio::test]
async fn a_rule_with_refused_parameters_is_stalled_and_its_taints_stay() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&rule_with("continuous", "{maxHeartbeatAge: 1h}"))
        .unwrap();
    cluster.until_held("worker").await;
    let parameters =
        |age: &str| json!({ "spec": { "policy": { "parameters": { "maxHeartbeatAge": age } } } });
    cluster
        .patch_rule("agent", parameters("soon"))
        .await
        .unwrap();
    cluster
        .until_status("agent", "Stalled with the policy's sentence", |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| {
                found.r#type == "Stalled"
                    && found.status == Status::True
                    && found
                        .message
                        .starts_with("spec.policy.parameters.maxHeartbeatAge: not a duration")
            })
        })
        .await
        .unwrap();
    // It would go now; another rule shows that the host has seen the node.
    let other = agent_rule("other", "continuous").replace(GUIDE_TAINT, "readiness.k8s.io/other");
    cluster.apply(&other).unwrap();
    cluster
        .until_tainted("worker", "readiness.k8s.io/other", true)
        .await
        .unwrap();
    cluster.agent_reports("worker", "True").await;
    cluster
        .until_tainted("worker", "readiness.k8s.io/other", false)
        .await
        .unwrap();
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);
    cluster
        .patch_rule("agent", parameters("30m"))
        .await
        .unwrap();
    cluster.until_released("worker").await;
    host.terminate().await.unwrap();
}

/// A policy may take anything: what is nested in its parameters is stored as it was given.
#[tokio::test]
async fn nested_parameters_are_stored_as_they_are_given() {
    let cluster = Cluster::start().await.unwrap();
    let parameters = json!({ "pods": { "selector": { "app": "driver" }, "least": 2 }, "or": [{ "a": [{ "b": true }] }] });
    let rule = rule_with("continuous", &parameters.to_string());
    cluster.apply(&rule).unwrap();
    let stored = cluster.rules().get("agent").await.unwrap();
    let stored = stored.spec.policy.unwrap().parameters;
    assert_eq!(stored.map(Value::Object), Some(parameters));
}

/// A reporter whose clock runs ahead may be dead for as long as it runs ahead.
#[tokio::test]
async fn a_heartbeat_from_the_future_is_no_sign_of_life_and_the_status_says_so() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&rule_with("continuous", "{maxHeartbeatAge: 1h}"))
        .unwrap();
    let heartbeat = |ago| {
        let times = seconds_ago(ago);
        let condition = json!({
            "type": AGENT, "status": "True", "lastHeartbeatTime": times, "lastTransitionTime": times,
        });
        json!({ "conditions": [condition] })
    };
    cluster.until_held("worker").await;
    set_status(&cluster, heartbeat(-30)).await;
    cluster.until_released("worker").await;
    set_status(&cluster, heartbeat(-3000)).await;
    cluster.until_held("worker").await;
    cluster
        .until_status("agent", "why it is held", |status| {
            let message = status.node_evaluations[0].message.as_deref();
            message
                .is_some_and(|message| message.contains("the clock of whoever reports it is ahead"))
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();
}

/// Who asks why a node is held is told until when.
#[tokio::test]
async fn the_status_says_why_a_node_is_held_and_until_when() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&rule_with("continuous", "{minReadyTime: 1h}"))
        .unwrap();
    let says = |expected: String| {
        let cluster = &cluster;
        async move {
            let is = |status: &api::rule::status::NodeReadinessRuleStatus| {
                let mut nodes = status.node_evaluations.iter();
                nodes.any(|node| node.message.as_deref() == Some(expected.as_str()))
            };
            cluster.until_status("agent", &expected, is).await.unwrap();
        }
    };
    says(format!(
        "{AGENT} is absent and counts as Unknown, required True"
    ))
    .await;
    let since: Timestamp = seconds_ago(60).parse().unwrap();
    let condition = json!({
        "type": AGENT, "status": "True", "lastTransitionTime": since.to_string(),
    });
    set_status(&cluster, json!({ "conditions": [condition] })).await;
    let until = since + 1.hour();
    says(format!(
        "{AGENT} is True for less than 1h (until {until}), required True"
    ))
    .await;
    // Released, it needs no reason.
    let condition = json!({
        "type": AGENT, "status": "True", "lastTransitionTime": seconds_ago(4000),
    });
    set_status(&cluster, json!({ "conditions": [condition] })).await;
    cluster.until_released("worker").await;
    cluster
        .until_status("agent", "no reason", |status| {
            status.node_evaluations[0].message.is_none()
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();
}
