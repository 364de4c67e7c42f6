//! A policy that asks about devices: the objects of `examples/devices-ready`, in a cluster whose nodes and
//! ResourceSlices a test writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::Cluster;
use cluster_tests::proxy::{Fault, Proxy};
use futures::FutureExt;
use http::StatusCode;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use planner::rule::Status;
use serde_json::json;

use crate::rights::{right_to_see, with_example};
use crate::world::{message, start, until_of};

const TAINT: &str = "readiness.k8s.io/devices";
const POLICY: &str = "devices-ready";
const NODE: &str = "worker-1";

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/devices-ready");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

async fn until_tainted(cluster: &Cluster, tainted: bool, when: &str) {
    let seen = cluster.until_tainted(NODE, TAINT, tainted).await;
    seen.map_err(|error| error.context(when.to_owned()))
        .unwrap();
}

/// As a kubelet says it.
async fn set_gpus(cluster: &Cluster, number: &str) {
    let gpus = json!({"example.com/gpu": number});
    let status = Patch::Merge(json!({"status": {"capacity": gpus, "allocatable": gpus}}));
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let parameters = PatchParams::default();
    let patched = nodes.patch_status(NODE, &parameters, &status);
    patched.await.unwrap();
}

#[tokio::test]
async fn nrc_facts_a_node_is_held_until_its_devices_are_there_and_whenever_they_go() {
    let right = right_to_see("resource.k8s.io", "resourceslices", None);
    let says = ["policyFacts.resourceSlices", "\"resourceslices\""];
    let (cluster, host) = with_example(POLICY, NODE, says, &right).await;
    until_tainted(&cluster, true, "there are no devices yet").await;

    set_gpus(&cluster, "8").await;
    // One of two slices of the pool, and a whole pool of another node.
    let slice = example("resourceslice.yaml");
    let half = slice.replace("Count: 1", "Count: 2");
    let other = slice.replace(NODE, "other");
    for objects in [&other, &half] {
        cluster.apply(objects).unwrap();
    }
    (cluster.until_status("devices", "its pool is not complete", |status| {
        let mut nodes = status.node_evaluations.iter();
        nodes.any(|node| {
            let message = node.message.as_deref().unwrap_or_default();
            message.contains("complete pools on the node have fewer than 2")
        })
    }))
    .await
    .unwrap();
    until_tainted(&cluster, true, "its pool is not complete").await;
    cluster.apply(&slice).unwrap();
    until_tainted(&cluster, false, "all is there").await;

    // The driver's slice goes, and comes back.
    let gone = ["delete", "resourceslice", "worker-1-nic.example.com"];
    cluster.plane.kubectl_ok(&gone).unwrap();
    until_tainted(&cluster, true, "the slice is gone").await;
    cluster.apply(&slice).unwrap();
    until_tainted(&cluster, false, "the slice is back").await;
    // The device plugin dies.
    set_gpus(&cluster, "0").await;
    until_tainted(&cluster, true, "the device plugin is dead").await;
    host.terminate().await.unwrap();
}

/// As before Kubernetes 1.34; an upgrade brings them.
#[tokio::test]
async fn an_api_server_without_resource_slices_is_no_missing_right_and_is_asked_again() {
    let cluster = start().await;
    cluster.apply(&example("policy.yaml")).unwrap();
    let is_served = Arc::new(AtomicBool::new(false));
    let served = Arc::clone(&is_served);
    let hook = move |_, path: String| {
        let is_of_slices = path.starts_with("/apis/resource.k8s.io/");
        let fault = match is_of_slices && !served.load(Ordering::SeqCst) {
            true => Fault::Explain(StatusCode::NOT_FOUND),
            false => Fault::Pass,
        };
        async move { fault }.boxed()
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook));
    let proxy = proxy.await.unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    let no = Status::False;
    let status = until_of(&cluster, POLICY, "FactsAvailable", no, "NotServed").await;
    let said = message(&status, "FactsAvailable");
    assert!(
        said.contains("resourceslices, which this API server does not have"),
        "{said}"
    );
    is_served.store(true, Ordering::SeqCst);
    until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    host.terminate().await.unwrap();
}
