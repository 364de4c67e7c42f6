//! The times in a status, and how often it is written.

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::audit::{self, Request};
use cluster_tests::{AGENT, Cluster, Host, agent_rule, wait, worker};
use control_plane::{Lifetime, Options, User};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Patch;
use serde_json::json;

const USER: &str = "host-a";

async fn overwrite(cluster: &Cluster, status: serde_json::Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let rules = cluster.rules();
    rules
        .patch_status("agent", &Default::default(), &patch)
        .await
        .unwrap();
}

async fn status(cluster: &Cluster) -> NodeReadinessRuleStatus {
    cluster.rules().get("agent").await.unwrap().status.unwrap()
}

/// A host knows when it saw what; one that comes later knows what cannot be.
#[tokio::test]
async fn compat_010_times_that_somebody_wrote_into_a_status_do_not_stay() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    // All that a host has to say is not always said at once.
    let whole = cluster.until_status("agent", "it is said", |status| {
        let mut conditions = status.conditions.iter();
        let holds =
            conditions.any(|one| one.r#type == "HoldsNewNodes" && one.reason == "ConditionsNotMet");
        holds
            && status
                .nodes
                .as_ref()
                .is_some_and(|nodes| nodes.held == Some(1))
    });
    whole.await.unwrap();
    let stored = cluster.until_status_is_true("agent").await.unwrap();
    let created = stored.metadata.creation_timestamp.unwrap();
    let before = stored.status.unwrap();
    let until_as_before =
        |what: &'static str| cluster.until_status("agent", what, |status| *status == before);
    let with_times = |time: &str| {
        let mut status = json!(before);
        status["nodeEvaluations"][0]["lastEvaluationTime"] = json!(time);
        for condition in status["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = json!(time);
        }
        status
    };
    // Nothing of these is impossible; the host knows better all the same.
    overwrite(&cluster, with_times(&created.0.to_string())).await;
    until_as_before("its times are put right").await.unwrap();
    // Nothing has changed, so nothing has a new time.
    overwrite(&cluster, json!(null)).await;
    until_as_before("it is put back").await.unwrap();
    host.terminate().await.unwrap();

    for impossible in ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        overwrite(&cluster, with_times(impossible)).await;
        let host = cluster.start_host().await.unwrap();
        let can_be = |Time(time): &Time| created.0 <= *time && *time <= jiff::Timestamp::now();
        cluster
            .until_status("agent", "no time is impossible", |status| {
                let mut conditions = status.conditions.iter();
                let mut nodes = status.node_evaluations.iter();
                conditions.all(|one| can_be(&one.last_transition_time))
                    && nodes.all(|one| can_be(&one.last_evaluation_time))
            })
            .await
            .unwrap();
        host.terminate().await.unwrap();
    }
    // What can be is believed, and nothing is written.
    let before = status(&cluster).await;
    let host = cluster.start_host().await.unwrap();
    cluster.until_worked_off().await.unwrap();
    host.terminate().await.unwrap();
    assert_eq!(status(&cluster).await, before);
}

/// However much changes: by the API server's own clock, a write a second, and one at each end.
#[tokio::test]
async fn nrc_111_a_status_is_written_once_a_second_at_most() {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        users: vec![User {
            name: USER.to_owned(),
            groups: vec!["system:masters".to_owned()],
        }],
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let kubeconfig = cluster.plane.kubeconfig_for(USER).unwrap();
    let (log, audit_log) = (cluster.new_log(), cluster.plane.audit_log());
    let host = Host::spawn(&kubeconfig, &log, Lifetime::OfThisProcess, &[]).unwrap();
    cluster.until_held("node-1").await;
    let written = || {
        let is_status =
            |request: &Request| request.uri.contains("/nodereadinessrules/agent/status");
        let requests = audit::read(&audit_log, &[USER]).unwrap();
        let times = requests.into_iter().filter(is_status);
        times.map(|request| request.received).collect::<Vec<_>>()
    };
    let (mut ready, mut times) = (false, Vec::new());
    let span = |times: &[jiff::Timestamp]| match times {
        [first, .., last] => last.duration_since(*first).as_secs(),
        _ => 0,
    };
    wait::until_true("it is written for four seconds", || {
        times = written();
        let enough = span(&times) >= 4;
        ready = !ready;
        let status = if ready { "True" } else { "False" };
        let change = cluster.set_condition("node-1", AGENT, status);
        async move {
            change.await?;
            Ok(enough)
        }
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
    let (writes, seconds) = (times.len(), span(&times));
    assert!(
        i64::try_from(writes).unwrap() <= seconds + 2,
        "{writes} in {seconds} s"
    );
}
