//! A policy that asks which DaemonSets should run on a node: the objects of `examples/daemon-sets-ready`, in a cluster
//! where a test does what the controller of DaemonSets and a kubelet would.

use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, Host, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use planner::rule::Status;
use serde_json::{Value, json};

use crate::rights::{USER, before_example, right_to_see};
use crate::world::{message, policies, until_of};

const TAINT: &str = "readiness.k8s.io/platform";
const POLICY: &str = "daemon-sets-ready";
const RULE: &str = "platform";
const NODE: &str = "worker-1";
const NONE: &str = "none should run on the node";
const NOT_EACH: &str = "not each that should run on the node has a pod there that is Ready";

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/daemon-sets-ready");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

async fn until_tainted(cluster: &Cluster, tainted: bool) {
    let seen = cluster.until_tainted(NODE, TAINT, tainted).await;
    seen.unwrap();
}

async fn until_said(cluster: &Cluster, says: &str) {
    let said = cluster.until_status(RULE, says, |status| {
        let mut nodes = status.node_evaluations.iter();
        nodes.any(|node| {
            let message = node.message.as_deref().unwrap_or_default();
            message.contains(says)
        })
    });
    said.await.unwrap();
}

/// The policy says which value of the chart gives the right that it lacks.
async fn until_lacks(cluster: &Cluster, value: &str) {
    wait::until(value, || async {
        let policy = policies(cluster).get(POLICY).await?;
        let status = policy.status.unwrap_or_default();
        let said = message(&status, "FactsAvailable").to_owned();
        Ok(if said.contains(value) {
            Ok(())
        } else {
            Err(said)
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

fn patch(cluster: &Cluster, set: &str, more: &[&str], patch: &Value) {
    let patch = patch.to_string();
    let arguments = [
        &["patch", "daemonset", set, "--namespace=platform"],
        more,
        &["--type=merge", "--patch", &patch],
    ];
    cluster.plane.kubectl_ok(&arguments.concat()).unwrap();
}

fn select(cluster: &Cluster, set: &str, selector: Value) {
    let template = json!({"spec": {"nodeSelector": selector}});
    patch(cluster, set, &[], &json!({"spec": {"template": template}}));
}

/// A Ready pod on the node, of the DaemonSet `network`.
async fn create_pod(cluster: &Cluster) {
    let pod = json!({
        "metadata": {"name": "network-1", "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "network", "uid": "u", "controller": true}]},
        "spec": {"nodeName": NODE, "containers": [{"name": "a", "image": "a"}]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "platform");
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let now = jiff::Timestamp::now().to_string();
    let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": now});
    let status = Patch::Merge(json!({"status": {"phase": "Running", "conditions": [condition]}}));
    let parameters = PatchParams::default();
    let patched = pods.patch_status("network-1", &parameters, &status);
    patched.await.unwrap();
}

#[tokio::test]
async fn nrc_facts_a_node_is_held_until_each_daemon_set_that_should_run_there_does() {
    let cluster = before_example(POLICY, NODE).await;
    let kubeconfig = cluster.plane.kubeconfig_for(USER).unwrap();
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
    ];
    let host = Host::start(&kubeconfig, &cluster.new_log(), &arguments).await;
    let host = host.unwrap();
    // Both are needed, and each is asked for.
    until_lacks(&cluster, "policyFacts.pods").await;
    let right = right_to_see("", "pods", None);
    cluster.apply(&right).unwrap();
    until_lacks(&cluster, "policyFacts.daemonSets").await;
    let right = right_to_see("apps", "daemonsets", None);
    cluster.apply(&right).unwrap();
    until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    until_tainted(&cluster, true).await;
    until_said(&cluster, NONE).await;

    // One of the two is for other nodes.
    cluster.apply(&example("daemonsets.yaml")).unwrap();
    until_said(&cluster, NOT_EACH).await;
    // A rollout brings no node back, and a change of where it should run does: once, since it changes no taint.
    let before = evaluations(&host).await;
    for number in 0..4 {
        let container = json!([{"name": "network", "image": number.to_string()}]);
        let template = json!({"spec": {"containers": container}});
        patch(
            &cluster,
            "network",
            &[],
            &json!({"spec": {"template": template}}),
        );
        let status = json!({"status": {"updatedNumberScheduled": number}});
        patch(&cluster, "network", &["--subresource=status"], &status);
    }
    select(&cluster, "network", json!({"example.com/disk": "true"}));
    until_said(&cluster, NONE).await;
    let made = evaluations(&host).await - before;
    assert_eq!(made, 1.0, "evaluations of a rollout, and of one change");
    select(&cluster, "network", json!(null));
    until_said(&cluster, NOT_EACH).await;

    create_pod(&cluster).await;
    until_tainted(&cluster, false).await;
    // Now the other should run as well; and then it is gone.
    let label = ["label", "node", NODE, "example.com/disk=true"];
    cluster.plane.kubectl_ok(&label).unwrap();
    until_tainted(&cluster, true).await;
    let gone = ["delete", "daemonset", "disk", "--namespace=platform"];
    cluster.plane.kubectl_ok(&gone).unwrap();
    until_tainted(&cluster, false).await;
    let gone = [
        "delete",
        "pod",
        "network-1",
        "--namespace=platform",
        "--force",
    ];
    cluster.plane.kubectl_ok(&gone).unwrap();
    until_tainted(&cluster, true).await;
    host.terminate().await.unwrap();
}
