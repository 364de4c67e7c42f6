//! A cluster with both definitions, and what tests say of its policies.

use api::ReadinessPolicy;
use api::policy::ReadinessPolicyStatus;
use cluster_tests::{Cluster, agent_rule, wait};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use planner::rule::Status;
use serde_json::{Value, json};

/// Its own, and no other, decides for the rules of these tests.
pub const POLICY: &str = "steady";

/// Both definitions are installed.
pub async fn start() -> Cluster {
    let cluster = Cluster::start().await.unwrap();
    cluster.install_policies().await.unwrap();
    cluster
}

/// A policy that does as the name of its rule tells it to, and lets nodes go otherwise.
pub fn hostile() -> Vec<u8> {
    std::fs::read(guest_builder::path("hostile-guest").unwrap()).unwrap()
}

/// A rule about the agent that names the policy.
pub fn rule(name: &str, taint: &str) -> String {
    let rule = agent_rule(name, "continuous").replace(cluster_tests::GUIDE_TAINT, taint);
    format!("{rule}  policy: {{name: {POLICY}}}\n")
}

/// Stores the policy, or gives it another spec.
pub async fn apply(cluster: &Cluster, spec: Value) {
    apply_as(cluster, POLICY, spec).await;
}

/// The same by another name.
pub async fn apply_as(cluster: &Cluster, name: &str, spec: Value) {
    let policies = policies(cluster);
    if policies.get_opt(name).await.unwrap().is_some() {
        let change = json!([{ "op": "replace", "path": "/spec", "value": spec }]);
        let change = serde_json::from_value(change).unwrap();
        let patch = Patch::Json::<()>(change);
        let parameters = PatchParams::default();
        policies.patch(name, &parameters, &patch).await.unwrap();
        return;
    }
    let policy = json!({ "metadata": { "name": name }, "spec": spec });
    let policy = serde_json::from_value(policy).unwrap();
    let parameters = PostParams::default();
    policies.create(&parameters, &policy).await.unwrap();
}

pub fn policies(cluster: &Cluster) -> Api<ReadinessPolicy> {
    Api::all(cluster.client.clone())
}

/// Waits until a condition of the policy is so, with this reason, for the spec that it has now.
pub async fn until(
    cluster: &Cluster,
    condition: &str,
    status: Status,
    reason: &str,
) -> ReadinessPolicyStatus {
    until_of(cluster, POLICY, condition, status, reason).await
}

/// The same of the policy of this name.
pub async fn until_of(
    cluster: &Cluster,
    name: &str,
    condition: &str,
    status: Status,
    reason: &str,
) -> ReadinessPolicyStatus {
    let what = format!("{condition} of {name} is {status} because of {reason}");
    wait::until(&what, || async {
        let policy = policies(cluster).get(name).await?;
        let Some(told) = policy.status else {
            return Ok(Err("no status".to_owned()));
        };
        let mut conditions = told.conditions.iter();
        let is = conditions.any(|found| {
            found.r#type == condition
                && found.status == status
                && found.reason == reason
                && found.observed_generation == policy.metadata.generation
        });
        Ok(if is {
            Ok(told)
        } else {
            Err(format!("{told:?}"))
        })
    })
    .await
    .unwrap()
}

/// The message of a condition.
pub fn message<'a>(status: &'a ReadinessPolicyStatus, condition: &str) -> &'a str {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|found| found.r#type == condition);
    found.map_or("", |found| &found.message)
}

/// Waits until a rule is Stalled, and says this of `reason: message`.
pub async fn until_stalled(cluster: &Cluster, rule: &str, says: &str) {
    let what = format!("Stalled: {says}");
    cluster
        .until_status(rule, &what, |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| {
                found.r#type == "Stalled"
                    && found.status == Status::True
                    && format!("{}: {}", found.reason, found.message).contains(says)
            })
        })
        .await
        .unwrap();
}

/// Stores a ConfigMap with these entries alone.
pub async fn put_config_map(cluster: &Cluster, name: &str, entries: &[(&str, &[u8])]) {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "default");
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let entries = entries.iter();
    let entries = entries.map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec())));
    let map = ConfigMap {
        binary_data: Some(entries.collect()),
        ..map
    };
    match maps.get_opt(name).await.unwrap() {
        Some(_) => maps.replace(name, &PostParams::default(), &map).await,
        None => maps.create(&PostParams::default(), &map).await,
    }
    .unwrap();
}
