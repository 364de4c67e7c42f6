//! What happens to a taint when somebody is against it, and when its rule changes hands.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::proxy::{Fault, Passed, Proxy};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use futures::StreamExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use planner::ownership;
use serde_json::json;

/// Refuses any node with this taint, as an operator's own admission may.
fn admission_against(key: &str) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-such-taint}}
spec:
  matchConstraints:
    resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: [nodes]}}]
  validations:
    - expression: \"!has(object.spec.taints) || object.spec.taints.all(taint, taint.key != '{key}')\"
      message: this taint is not wanted here
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-such-taint}}
spec: {{policyName: no-such-taint, validationActions: [Deny]}}
"
    )
}

#[tokio::test]
async fn nrc_362_408_compat_028_a_taint_that_admission_refuses_does_not_hold_up_the_others() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.create_node(&worker("node-2", false)).await.unwrap();
    cluster
        .apply(&admission_against("readiness.k8s.io/refused"))
        .unwrap();
    let probe = json!({ "spec": { "taints": [{ "key": "readiness.k8s.io/refused", "effect": "NoSchedule" }] } });
    wait::until_true("the admission policy is in force", || async {
        let patch = kube::api::Patch::Merge(&probe);
        let parameters = kube::api::PatchParams {
            dry_run: true,
            ..Default::default()
        };
        Ok(cluster
            .nodes()
            .patch("node-1", &parameters, &patch)
            .await
            .is_err())
    })
    .await
    .unwrap();
    for name in ["agent", "refused", "third"] {
        let key = if name == "agent" {
            "security-agent-ready"
        } else {
            name
        };
        cluster
            .apply(&agent_rule(name, "continuous").replace("security-agent-ready", key))
            .unwrap();
    }
    let pass = |_, _| -> BoxFuture<'static, Fault> { Box::pin(async { Fault::Pass }) };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(pass))
        .await
        .unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    for key in [GUIDE_TAINT, "readiness.k8s.io/third"] {
        for node in ["node-1", "node-2"] {
            cluster.until_tainted(node, key, true).await.unwrap();
        }
    }
    let stored = cluster
        .until_status("refused", "it says why", |status| {
            status.failed_nodes.len() == 2
                && status.nodes.is_some_and(|nodes| nodes.failed == Some(2))
        })
        .await
        .unwrap();
    let status = stored.status.unwrap();
    assert!(status.applied_nodes.is_empty());
    let failure = &status.failed_nodes[0];
    assert_eq!(failure.reason.as_deref(), Some("EvaluationError"));
    let message = failure.message.clone().unwrap();
    assert!(
        message.starts_with("failed to add taint: ") && message.contains("not wanted here"),
        "{message}"
    );
    for rule in ["agent", "third"] {
        cluster
            .until_status(rule, "both nodes went well", |status| {
                status.applied_nodes.len() == 2 && status.failed_nodes.is_empty()
            })
            .await
            .unwrap();
    }
    let note = cluster.until_event("node-1", "PatchFailed").await.unwrap();
    assert!(
        note.contains("'refused'") && note.contains("not wanted here"),
        "{note}"
    );
    // It is tried again and again, and told once.
    let tried = || {
        let is =
            |request: &&Passed| request.path.contains("/nodes/node-1?") && request.status == 422;
        proxy.passed().iter().filter(is).count()
    };
    let before = tried();
    wait::until_true("it was tried some times more", || async {
        Ok(tried() > before + 2)
    })
    .await
    .unwrap();
    for node in ["node-1", "node-2"] {
        let told = cluster.events(node, "PatchFailed").await.unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
    }
    // Once nobody is against it any more, it goes through.
    cluster
        .plane
        .kubectl_ok(&[
            "delete",
            "validatingadmissionpolicybinding",
            "no-such-taint",
        ])
        .unwrap();
    cluster
        .until_tainted("node-1", "readiness.k8s.io/refused", true)
        .await
        .unwrap();
    cluster
        .until_status("refused", "a success clears the failure", |status| {
            status.failed_nodes.is_empty() && status.applied_nodes.len() == 2
        })
        .await
        .unwrap();
    host.terminate().await.unwrap();
}

/// Watches a node, and notes whether it was ever without the taint.
fn never_without(cluster: &Cluster, node: &str, key: &'static str) -> Arc<AtomicBool> {
    let gap = Arc::new(AtomicBool::new(false));
    let (nodes, seen) = (cluster.nodes(), Arc::clone(&gap));
    let parameters = WatchParams::default().fields(&format!("metadata.name={node}"));
    tokio::spawn(async move {
        let mut events = nodes.watch(&parameters, "0").await.unwrap().boxed();
        while let Some(Ok(event)) = events.next().await {
            if let WatchEvent::Added(node) | WatchEvent::Modified(node) = event {
                let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
                if !taints.iter().any(|taint| taint.key == key) {
                    seen.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    gap
}

#[tokio::test]
async fn compat_j_replaces_another_and_takes_over_without_a_gap() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["waiting", "completed"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("completed", "True").await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("old", "bootstrap-only")).unwrap();
    cluster.until_held("waiting").await;
    cluster
        .until_status("old", "one is complete", |status| {
            status.nodes.is_some_and(|nodes| nodes.completed == Some(1))
        })
        .await
        .unwrap();
    let gap = never_without(&cluster, "waiting", GUIDE_TAINT);
    // The new one wants another condition, which no node has.
    let new = agent_rule("new", "bootstrap-only").replace("AgentReady", "NewAgentReady");
    cluster.apply(&(new + "  replaces: old\n")).unwrap();
    let new = cluster
        .until_status("new", "it decides about both, and inherits one", |status| {
            status.nodes.is_some_and(|nodes| {
                (nodes.held, nodes.completed, nodes.conflicting) == (Some(1), Some(1), Some(0))
            })
        })
        .await
        .unwrap();
    cluster
        .until_status("old", "it lost the node that waits", |status| {
            status
                .nodes
                .is_some_and(|nodes| nodes.conflicting == Some(1))
        })
        .await
        .unwrap();
    cluster.delete_rule("old").await.unwrap();
    let node = cluster.nodes().get("waiting").await.unwrap();
    let records: serde_json::Value =
        serde_json::from_str(&node.annotations()[ownership::ANNOTATION]).unwrap();
    assert_eq!(records[0]["rule"], "new");
    assert_eq!(cluster.readiness_taints("waiting").await.unwrap().len(), 1);
    // What the old one completed is not held again, though its own record is gone.
    let node = cluster.nodes().get("completed").await.unwrap();
    let completions: Vec<_> = node
        .annotations()
        .keys()
        .filter(|key| key.contains("bootstrap-completed"))
        .collect();
    assert_eq!(
        completions,
        [&format!(
            "readiness.k8s.io/bootstrap-completed-{}",
            new.uid().unwrap()
        )]
    );
    assert!(
        cluster
            .readiness_taints("completed")
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !gap.load(Ordering::SeqCst),
        "the taint was off for a moment"
    );
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn a_rule_that_became_unusable_takes_its_completions_with_it() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["completed", "waiting"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("completed", "True").await;
    let host = cluster.start_host().await.unwrap();
    let rule = agent_rule("agent", "bootstrap-only").replace(", value: pending", "");
    cluster.apply(&rule).unwrap();
    cluster
        .until_status("agent", "one is complete", |status| {
            status
                .nodes
                .is_some_and(|nodes| nodes.completed == Some(1) && nodes.held == Some(1))
        })
        .await
        .unwrap();
    // The schema lets pass what no node can carry.
    cluster
        .patch_rule(
            "agent",
            json!({ "spec": { "taint": { "value": "not ok!" } } }),
        )
        .await
        .unwrap();
    let stalled = cluster.until_event("agent", "Stalled").await.unwrap();
    assert!(stalled.contains("spec.taint.value"), "{stalled}");
    assert_eq!(
        cluster.readiness_taints("waiting").await.unwrap().len(),
        1,
        "what it holds stays"
    );
    cluster.delete_rule("agent").await.unwrap();
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        let ours: Vec<_> = node
            .annotations()
            .keys()
            .filter(|key| key.contains("readiness"))
            .collect();
        assert!(ours.is_empty(), "{}: {ours:?}", node.name_any());
        assert!(
            cluster
                .readiness_taints(&node.name_any())
                .await
                .unwrap()
                .is_empty()
        );
    }
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn an_owner_record_that_cannot_be_read_is_told_on_its_node() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster
        .annotate_node("node-1", json!({ ownership::ANNOTATION: "[{\"key\": 1}]" }))
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    let note = cluster
        .until_event("node-1", "OwnershipUnreadable")
        .await
        .unwrap();
    assert!(
        note.contains("entry 0") && note.contains("remove it by hand"),
        "{note}"
    );
    // A rule that holds the node writes its record all the same.
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let node = cluster.until_held("node-1").await;
    assert!(node.annotations()[ownership::ANNOTATION].contains("\"rule\":\"agent\""));
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_017_a_taint_put_on_a_completed_node_by_hand_stays_with_one_warning() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", true)).await.unwrap();
    cluster.agent_reports("node-1", "True").await;
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    cluster.until_released("node-1").await;
    cluster.agent_reports("node-1", "False").await;
    cluster
        .plane
        .kubectl_ok(&[
            "taint",
            "node",
            "node-1",
            &format!("{GUIDE_TAINT}=by-hand:NoSchedule"),
        ])
        .unwrap();
    cluster
        .until_event("node-1", "TaintNotManaged")
        .await
        .unwrap();
    for value in ["1", "2", "3"] {
        cluster
            .annotate_node("node-1", json!({ "example.com/touched": value }))
            .await
            .unwrap();
    }
    // Satisfied again: then it goes.
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap().len(), 1);
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    host.terminate().await.unwrap();
    assert_eq!(
        cluster
            .events("node-1", "TaintNotManaged")
            .await
            .unwrap()
            .len(),
        1
    );
}

/// No rule that has such a taint selects the node, and its record is lost: nobody may take it off, and nobody else
/// would say so.
#[tokio::test]
async fn a_taint_that_lost_its_record_while_no_host_ran_is_told_on_its_node() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    host.kill().await.unwrap();
    let off = json!({ "metadata": {
        "annotations": { ownership::ANNOTATION: null },
        "labels": { "node-role.kubernetes.io/worker": null },
    }});
    let (patch, parameters) = (Patch::Merge(off), PatchParams::default());
    let nodes = cluster.nodes();
    nodes.patch("node-1", &parameters, &patch).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let note = cluster.until_event("node-1", "TaintNotManaged").await;
    let note = note.unwrap();
    for part in [
        GUIDE_TAINT,
        "rule 'agent' does not select the node",
        "by hand",
    ] {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 1);
    // Once: nothing is asked of whoever reads it a second time.
    let touched = json!({ "example.com/touched": "1" });
    cluster.annotate_node("node-1", touched).await.unwrap();
    cluster.until_worked_off().await.unwrap();
    host.terminate().await.unwrap();
    let told = cluster.events("node-1", "TaintNotManaged").await.unwrap();
    assert_eq!(told.len(), 1);
}

/// The record of a rule that is gone is a record: nobody is told to do by hand what the host does.
#[tokio::test]
async fn a_taint_of_a_rule_that_came_back_under_its_name_is_taken_off_and_not_told() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let rule = agent_rule("agent", "continuous");
    cluster.apply(&rule).unwrap();
    cluster.until_held("node-1").await;
    host.kill().await.unwrap();
    let parameters = PatchParams::default();
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let rules = cluster.rules();
    rules.patch("agent", &parameters, &free).await.unwrap();
    cluster.delete_rule("agent").await.unwrap();
    let off = json!({ "metadata": { "labels": { "node-role.kubernetes.io/worker": null } } });
    let nodes = cluster.nodes();
    nodes
        .patch("node-1", &parameters, &Patch::Merge(off))
        .await
        .unwrap();
    cluster.apply(&rule).unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .until_tainted("node-1", GUIDE_TAINT, false)
        .await
        .unwrap();
    cluster.until_worked_off().await.unwrap();
    host.terminate().await.unwrap();
    let told = cluster.events("node-1", "TaintNotManaged").await.unwrap();
    assert_eq!(told, [""; 0]);
}
