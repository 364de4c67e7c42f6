//! Between two terms somebody else wrote.

use cluster_tests::{AGENT, GUIDE_TAINT, wait};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use planner::ownership;
use serde_json::{Value, json};

use crate::world::{LEASE, USERS, World};

async fn set_lease(world: &World, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let leases = world.leases();
    leases
        .patch(LEASE, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn patch_node(world: &World, name: &str, change: Value) {
    let nodes = world.cluster.nodes();
    let patch = Patch::Merge(change);
    nodes
        .patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Meanwhile another host gave the place in the budget to another node, and saw the rule change and change
/// back: what was known of places and times is not true any more.
#[tokio::test]
async fn compat_044_a_new_term_trusts_nothing_that_was_known_in_an_earlier_one() {
    let world = World::start().await;
    let cluster = &world.cluster;
    let budget = json!({ "spec": { "budget": { "maxHeld": 1, "exemptYoungerThan": "0s" } } });
    cluster.patch_rule("agent", budget).await.unwrap();
    let mut host = world.host(USERS[0]).await;
    let stored = cluster
        .until_status("agent", "its budget is used up", |status| {
            status
                .nodes
                .is_some_and(|nodes| (nodes.held, nodes.over_budget) == (Some(1), Some(4)))
        })
        .await
        .unwrap();
    set_lease(
        &world,
        json!({ "holderIdentity": "another", "leaseDurationSeconds": 15 }),
    )
    .await;
    host.until_logged("does not lead any more").await.unwrap();

    let nodes = cluster.nodes().list(&Default::default()).await.unwrap();
    let holds = |node: &&k8s_openapi::api::core::v1::Node| {
        node.annotations().contains_key(ownership::ANNOTATION)
    };
    let held = nodes.iter().find(holds).unwrap();
    let other = nodes.iter().find(|node| !holds(node)).unwrap();
    let record = &held.annotations()[ownership::ANNOTATION];
    let taints =
        |spec: &Option<k8s_openapi::api::core::v1::NodeSpec>| json!(spec.as_ref().unwrap().taints);
    let annotation = |value: Value| json!({ ownership::ANNOTATION: value });
    cluster
        .set_condition(&held.name_any(), AGENT, "True")
        .await
        .unwrap();
    let released = json!({ "metadata": { "annotations": annotation(json!(null)) }, "spec": { "taints": taints(&other.spec) } });
    patch_node(&world, &held.name_any(), released).await;
    let now_held = json!({ "metadata": { "annotations": annotation(json!(record)) }, "spec": { "taints": taints(&held.spec) } });
    patch_node(&world, &other.name_any(), now_held).await;
    let since = stored.creation_timestamp().unwrap().0;
    wait::until_true("a second is over", || async {
        Ok(Timestamp::now() > since + SignedDuration::from_secs(2))
    })
    .await
    .unwrap();
    let since = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let mut status = json!(stored.status);
    for condition in status["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(since.to_string());
    }
    let patch = Patch::Merge(json!({ "status": status }));
    let rules = cluster.rules();
    rules
        .patch_status("agent", &PatchParams::default(), &patch)
        .await
        .unwrap();

    set_lease(
        &world,
        json!({ "holderIdentity": "", "leaseDurationSeconds": 1 }),
    )
    .await;
    wait::until_true("it leads again", || async {
        Ok(host.log()?.matches("this host leads").count() == 2)
    })
    .await
    .unwrap();
    cluster.until_worked_off().await.unwrap();
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1);
    let stored = cluster.until_status_is_true("agent").await.unwrap();
    let conditions = stored.status.unwrap().conditions;
    let ready = conditions.iter().find(|one| one.r#type == "Ready").unwrap();
    assert_eq!(ready.reason, "BudgetExhausted");
    assert_eq!(ready.last_transition_time.0, since);
    host.terminate().await.unwrap();
}
