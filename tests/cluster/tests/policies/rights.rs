//! What a host does that may not see policies, or whose cluster knows none.

use anyhow::Context;
use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, rights_of, wait, worker};
use control_plane::{Options, User};
use planner::rule::Status;
use serde_json::json;

use crate::world::{apply, message, rule, until, until_of, until_stalled};

pub const USER: &str = "host";
const OTHER: &str = "readiness.k8s.io/other";

/// What the log says that is missing, and the right to say what became of a policy.
pub const OF_POLICIES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: host-policies}
rules:
- {apiGroups: [readiness.node.x-k8s.io], resources: [readinesspolicies], verbs: [list, watch]}
- {apiGroups: [readiness.node.x-k8s.io], resources: [readinesspolicies/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: host-policies}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: host-policies}
subjects: [{kind: User, name: host, apiGroup: rbac.authorization.k8s.io}]
";

/// The right to list and watch such objects, everywhere or in one namespace.
pub fn right_to_see(group: &str, resource: &str, namespace: Option<&str>) -> String {
    let (kind, place) = match namespace {
        Some(namespace) => ("Role", format!(", namespace: {namespace}")),
        None => ("ClusterRole", String::new()),
    };
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: host-{resource}{place}}}
rules:
- {{apiGroups: ['{group}'], resources: [{resource}], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}Binding
metadata: {{name: host-{resource}{place}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: host-{resource}}}
subjects: [{{kind: User, name: {USER}, apiGroup: rbac.authorization.k8s.io}}]
"
    )
}

/// A host with a node that is Ready and the objects of the example that has the policy's name, the rule continuous.
/// Until the host has this right, the policy's status says which is missing; then it decides.
pub async fn with_example(
    policy: &str,
    node: &str,
    says: [&str; 2],
    right: &str,
) -> (Cluster, Host) {
    let cluster = before_example(policy, node).await;
    let host = start_host(&cluster).await;
    let (no, yes) = (Status::False, Status::True);
    let status = until_of(&cluster, policy, "FactsAvailable", no, "Forbidden").await;
    let said = message(&status, "FactsAvailable");
    for part in says {
        assert!(said.contains(part), "{said}");
    }
    cluster.apply(right).unwrap();
    until_of(&cluster, policy, "Ready", yes, "Decides").await;
    (cluster, host)
}

/// As [`with_example`], before its host starts and has the right.
pub async fn before_example(policy: &str, node: &str) -> Cluster {
    let cluster = with_user(&[OF_POLICIES]).await;
    cluster.create_node(&worker(node, false)).await.unwrap();
    let ready = cluster.set_condition(node, "Ready", "True").await;
    ready.unwrap();
    let example = cli_tests::program::workspace()
        .join("examples")
        .join(policy);
    for file in ["policy.yaml", "rule.yaml"] {
        let objects = std::fs::read_to_string(example.join(file)).unwrap();
        cluster
            .apply(&objects.replace("bootstrap-only", "continuous"))
            .unwrap();
    }
    cluster
}

/// A cluster with both definitions and a user who may enforce rules, and no more than these rights.
pub async fn with_user(more: &[&str]) -> Cluster {
    let options = Options {
        users: vec![User::new(USER)],
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.install_policies().await.unwrap();
    for rights in [rights_of(USER).as_str()].iter().chain(more) {
        cluster.apply(rights).unwrap();
    }
    cluster
}

/// A host of that user.
pub async fn start_host(cluster: &Cluster) -> Host {
    let kubeconfig = cluster.plane.kubeconfig_for(USER).unwrap();
    let started = Host::start(&kubeconfig, &cluster.new_log(), &[]).await;
    started.unwrap()
}

const SENTENCE: &str = "the host needs the rights to list and watch readinesspolicies";

/// How often the API server has said that somebody may not do something. The host may do all else.
async fn denied(cluster: &Cluster) -> anyhow::Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = cluster.client.request_text(request).await?;
    let mut lines = text.lines();
    let count = lines
        .find_map(|line| line.strip_prefix("authorization_attempts_total{result=\"no-opinion\"} "));
    Ok(count.context("there is no such metric")?.parse()?)
}

#[tokio::test]
async fn without_the_right_to_see_policies_it_is_said_once_and_other_rules_work() {
    let cluster = with_user(&[]).await;
    apply(
        &cluster,
        json!({"module": {"builtin": {"name": "default"}}}),
    )
    .await;
    cluster.create_node(&worker("worker", false)).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.apply(&rule("named", OTHER)).unwrap();
    let mut host = start_host(&cluster).await;
    host.until_logged(SENTENCE).await.unwrap();
    cluster.until_held("worker").await;
    until_stalled(
        &cluster,
        "named",
        "PolicyNotFound: spec.policy.name: there is no policy \"steady\"",
    )
    .await;
    cluster.agent_reports("worker", "True").await;
    cluster.until_released("worker").await;
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [""; 0], "the rule without its policy holds nothing");

    // It is tried again, and not said again.
    let before = denied(&cluster).await.unwrap();
    wait::until_true("the watch is refused again", || async {
        Ok(denied(&cluster).await? > before)
    })
    .await
    .unwrap();

    // Just these rights are enough, and found by themselves.
    cluster.apply(OF_POLICIES).unwrap();
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster.agent_reports("worker", "False").await;
    for taint in [GUIDE_TAINT, OTHER] {
        let held = cluster.until_tainted("worker", taint, true).await;
        held.unwrap();
    }
    let log = host.log().unwrap();
    assert_eq!(log.matches(SENTENCE).count(), 1, "{log}");
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn a_definition_that_is_installed_later_is_found() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    until_stalled(
        &cluster,
        "agent",
        "PolicyNotFound: spec.policy.name: there is no policy \"steady\"",
    )
    .await;
    cluster.install_policies().await.unwrap();
    apply(
        &cluster,
        json!({"module": {"builtin": {"name": "default"}}}),
    )
    .await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster.until_held("worker").await;
    let log = host.log().unwrap();
    assert!(!log.contains(SENTENCE), "{log}");
    host.terminate().await.unwrap();
}
