//! A policy that asks about pods: the objects of `examples/pods-ready`, with pods that nobody runs.

use cluster_tests::scrape::Scrape;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::policy::ReadinessPolicyStatus;
use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, worker};
use futures::FutureExt;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use planner::rule::Status;
use serde_json::json;

use crate::rights::{OF_POLICIES, right_to_see, start_host, with_user};
use crate::world::{message, policies, start, until_of, until_stalled};

const TAINT: &str = "readiness.k8s.io/agent";
const POLICY: &str = "pods-ready";
const RULE: &str = "agent";

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/pods-ready");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// A namespace with room for pods, and a worker whose own `Ready` is True.
async fn prepare(cluster: &Cluster) {
    for namespace in ["security", "other"] {
        let create = ["create", "namespace", namespace];
        cluster.plane.kubectl_ok(&create).unwrap();
    }
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let ready = cluster.set_condition("worker", "Ready", "True").await;
    ready.unwrap();
}

/// A pod on the node, of the DaemonSet `agent` of its namespace.
async fn create_pod(cluster: &Cluster, namespace: &str, name: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "agent"}, "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u", "controller": true}]},
        "spec": {"nodeName": "worker", "containers": [{"name": "agent", "image": "agent"}]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods = pods(cluster, namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

fn pods(cluster: &Cluster, namespace: &str) -> Api<Pod> {
    Api::namespaced(cluster.client.clone(), namespace)
}

/// As a kubelet says it.
async fn set_ready(cluster: &Cluster, namespace: &str, name: &str, ready: &str) {
    let now = jiff::Timestamp::now().to_string();
    let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": now});
    let status = json!({"status": {"phase": "Running", "conditions": [condition]}});
    let (pods, status) = (pods(cluster, namespace), Patch::Merge(status));
    let parameters = PatchParams::default();
    let patched = pods.patch_status(name, &parameters, &status);
    patched.await.unwrap();
}

async fn until_tainted(cluster: &Cluster, tainted: bool) {
    let seen = cluster.until_tainted("worker", TAINT, tainted).await;
    seen.unwrap();
}

async fn until_forbidden(cluster: &Cluster) -> ReadinessPolicyStatus {
    until_of(
        cluster,
        POLICY,
        "FactsAvailable",
        Status::False,
        "Forbidden",
    )
    .await
}

/// What the rule's status says of the node.
async fn until_said(cluster: &Cluster, says: &str) {
    cluster
        .until_status(RULE, says, |status| {
            let mut nodes = status.node_evaluations.iter();
            nodes.any(|node| {
                node.message
                    .as_ref()
                    .is_some_and(|message| message.contains(says))
            })
        })
        .await
        .unwrap();
}

/// How often the rule was evaluated, once that changes no more.
async fn evaluations(host: &Host) -> f64 {
    let address = host.served_at("metrics are served").unwrap();
    let series = format!(r#"node_readiness_evaluation_duration_seconds_count{{rule="{RULE}"}}"#);
    Scrape::settled(&address, &series).await.unwrap()
}

#[tokio::test]
async fn nrc_facts_a_node_is_held_until_its_agents_pod_is_ready_and_other_pods_are_nobodys_business()
 {
    let cluster = start().await;
    prepare(&cluster).await;
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
    ];
    let mut host = cluster.start_host_with(&arguments).await.unwrap();
    assert!(!host.log().unwrap().contains("asks about the pods"));
    cluster.apply(&example("policy.yaml")).unwrap();
    let status = until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    assert!(
        status
            .imports
            .iter()
            .any(|import| import.contains("policy/pods@"))
    );
    host.until_logged("a policy asks about the pods")
        .await
        .unwrap();

    cluster.apply(&example("rule.yaml")).unwrap();
    until_tainted(&cluster, true).await;
    until_said(
        &cluster,
        "DaemonSet security/agent: there is no pod on the node",
    )
    .await;
    // One that changes no taint: nothing comes back by the watch of nodes, so that one is all.
    let before = evaluations(&host).await;
    create_pod(&cluster, "security", "agent-1").await;
    until_said(
        &cluster,
        "DaemonSet security/agent: not every pod on the node is Ready",
    )
    .await;
    let made = evaluations(&host).await - before;
    assert_eq!(made, 1.0, "evaluations of a pod's change");

    let before = evaluations(&host).await;
    for number in 0..20 {
        let name = format!("agent-{number}");
        create_pod(&cluster, "other", &name).await;
        set_ready(&cluster, "other", &name, "True").await;
    }
    set_ready(&cluster, "security", "agent-1", "True").await;
    until_tainted(&cluster, false).await;
    // The pod's change, and the host's own write that came back by the watch.
    let made = evaluations(&host).await - before;
    assert!((1.0..=2.0).contains(&made), "{made} evaluations");

    // A change of the pod that answers nothing otherwise.
    let label = Patch::Merge(json!({"metadata": {"labels": {"more": "x"}}}));
    let security = pods(&cluster, "security");
    let parameters = PatchParams::default();
    let labelled = security.patch("agent-1", &parameters, &label);
    labelled.await.unwrap();
    set_ready(&cluster, "security", "agent-1", "False").await;
    until_tainted(&cluster, true).await;
    let made = evaluations(&host).await - before - made;
    assert!((1.0..=2.0).contains(&made), "{made} evaluations");
    set_ready(&cluster, "security", "agent-1", "True").await;
    until_tainted(&cluster, false).await;
    let at_once = DeleteParams::default().grace_period(0);
    security.delete("agent-1", &at_once).await.unwrap();
    until_tainted(&cluster, true).await;

    // Nobody asks any more.
    let all = policies(&cluster);
    all.delete(POLICY, &DeleteParams::default()).await.unwrap();
    host.until_logged("no policy asks about the pods")
        .await
        .unwrap();
    until_stalled(
        &cluster,
        RULE,
        "PolicyNotFound: spec.policy.name: there is no policy",
    )
    .await;
    // And again somebody does.
    create_pod(&cluster, "security", "agent-2").await;
    set_ready(&cluster, "security", "agent-2", "True").await;
    cluster.apply(&example("policy.yaml")).unwrap();
    until_tainted(&cluster, false).await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn without_the_right_the_policy_says_so_and_others_go_on() {
    let cluster = with_user(&[OF_POLICIES]).await;
    prepare(&cluster).await;
    for file in ["policy.yaml", "rule.yaml"] {
        cluster.apply(&example(file)).unwrap();
    }
    let host = start_host(&cluster).await;
    let status = until_forbidden(&cluster).await;
    let said = message(&status, "FactsAvailable");
    assert!(
        said.contains("policyFacts.pods") && said.contains("\"pods\""),
        "{said}"
    );
    assert_eq!(status.last_good_digest, None);
    let note = cluster.until_event(POLICY, "PolicyFactsUnavailable").await;
    assert!(note.unwrap().contains("may not list and watch"));
    until_stalled(&cluster, RULE, "asks about pods").await;
    // A rule of another policy is held up by nothing, and this one holds no node.
    cluster.apply(&agent_rule("other", "continuous")).unwrap();
    cluster.until_held("worker").await;
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);

    cluster.apply(&right_to_see("", "pods", None)).unwrap();
    until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    until_tainted(&cluster, true).await;
    host.terminate().await.unwrap();
}

/// Such a server sends lists first, and only then says that it may not be watched what was in them.
#[tokio::test]
async fn where_lists_are_not_streamed_nothing_decides_before_the_watch_and_the_right_is_found_later()
 {
    let cluster = start().await;
    prepare(&cluster).await;
    for file in ["policy.yaml", "rule.yaml"] {
        cluster.apply(&example(file)).unwrap();
    }
    let may_watch = Arc::new(AtomicBool::new(false));
    let right = Arc::clone(&may_watch);
    // A server that does not say how old it is when that is asked for: the first time it says that it is there.
    let connected = AtomicBool::new(false);
    let hook = move |_, path: String| {
        let is_watch = path.starts_with("/api/v1/pods?") && path.contains("watch=true");
        let fault = if path == "/version" && connected.swap(true, Ordering::SeqCst) {
            Fault::Explain(StatusCode::NOT_FOUND)
        } else if is_watch && !right.load(Ordering::SeqCst) {
            Fault::Explain(StatusCode::FORBIDDEN)
        } else {
            Fault::Pass
        };
        async move { fault }.boxed()
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let proxy = proxy.await.unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    until_forbidden(&cluster).await;
    let passed = proxy.passed();
    let mut of_pods = passed
        .iter()
        .filter(|passed| passed.path.starts_with("/api/v1/pods?"));
    assert!(
        of_pods.all(|passed| passed.path.contains("watch=true")),
        "nothing was listed"
    );
    may_watch.store(true, Ordering::SeqCst);
    until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    let streamed = proxy.passed();
    assert!(
        !streamed
            .iter()
            .any(|passed| passed.path.contains("sendInitialEvents"))
    );
    until_tainted(&cluster, true).await;
    create_pod(&cluster, "security", "agent-1").await;
    set_ready(&cluster, "security", "agent-1", "True").await;
    until_tainted(&cluster, false).await;

    // The right is taken away while it is made use of, and given back.
    may_watch.store(false, Ordering::SeqCst);
    proxy
        .watches()
        .send_modify(|watches| watches.generation += 1);
    until_forbidden(&cluster).await;
    until_stalled(&cluster, RULE, "asks about pods").await;
    set_ready(&cluster, "security", "agent-1", "False").await;
    may_watch.store(true, Ordering::SeqCst);
    until_tainted(&cluster, true).await;
    host.terminate().await.unwrap();
}
