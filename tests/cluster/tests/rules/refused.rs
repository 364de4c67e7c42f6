//! What the API server is against, with each status that it has for that.

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const NAME: &str = "not-wanted";

/// Lets pass only updates of nodes for which the expression holds, and waits until `probe`, a merge patch
/// of node-1, is refused.
pub async fn keep_out(cluster: &Cluster, expression: &str, reason: &str, probe: Value) {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "matchConstraints": { "resourceRules": [
                { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"] }] },
            "validations": [{ "expression": expression, "reason": reason, "message": "not wanted here" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": NAME }, "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    });
    cluster.apply(&format!("{policy}\n---\n{binding}")).unwrap();
    wait::until_true("the admission policy is in force", || async {
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&probe);
        Ok(cluster
            .nodes()
            .patch("node-1", &parameters, &patch)
            .await
            .is_err())
    })
    .await
    .unwrap();
}

/// Nobody is against anything any more.
pub fn admit(cluster: &Cluster) {
    let binding = ["delete", "validatingadmissionpolicybinding", NAME];
    cluster.plane.kubectl_ok(&binding).unwrap();
}

/// Admission that answers 403 is admission all the same: one taint does not hold up the other.
#[tokio::test]
async fn compat_028_a_taint_that_is_forbidden_does_not_hold_up_the_others() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let key = "readiness.k8s.io/forbidden";
    let without = format!("object.spec.?taints.orValue([]).all(taint, taint.key != '{key}')");
    let taint = json!({ "spec": { "taints": [{ "key": key, "effect": "NoSchedule" }] } });
    keep_out(&cluster, &without, "Forbidden", taint).await;
    let forbidden = agent_rule("forbidden", "continuous").replace(GUIDE_TAINT, key);
    cluster.apply(&forbidden).unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let host = cluster.start_host().await.unwrap();
    for rule in ["agent", "forbidden"] {
        let evaluated = |status: &NodeReadinessRuleStatus| {
            status.nodes.is_some_and(|nodes| nodes.pending == Some(0))
        };
        cluster
            .until_status(rule, "it has begun", evaluated)
            .await
            .unwrap();
    }
    // Both want this one at once.
    cluster.create_node(&worker("node-2", false)).await.unwrap();
    cluster.until_held("node-2").await;
    let note = cluster.until_event("node-2", "PatchFailed").await.unwrap();
    assert!(
        note.contains("'forbidden'") && note.contains("not wanted here"),
        "{note}"
    );
    host.terminate().await.unwrap();
}
