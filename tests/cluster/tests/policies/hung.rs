//! A registry that takes connections and never answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::policy::ReadinessPolicyStatus;
use cluster_tests::{GUIDE_TAINT, wait, worker};
use fetch_tests::{Options, Registry};
use planner::rule::Status;
use serde_json::json;
use tokio::net::TcpListener;

use crate::registry::push_to;
use crate::world::{
    apply, apply_as, hostile, message, policies, rule, start, until, until_of, until_stalled,
};

/// More than are brought at the same time from all hosts together. Each takes half a minute until it is given up.
const HUNG: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_never_answers_holds_up_no_policy_of_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let hung = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let registry = Registry::start(Options::default()).unwrap();
    push_to(&registry, None, "policies/steady:1.0", &hostile()).await;

    let cluster = start().await;
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let oci = |host: &str| {
        let reference = format!("{host}/policies/steady:1.0");
        json!({"module": {"oci": {"reference": reference, "plainHTTP": true}}})
    };
    let host = cluster.start_host().await.unwrap();
    for number in 0..HUNG {
        let name = format!("hung-{number}");
        apply_as(&cluster, &name, oci(&address.to_string())).await;
    }
    wait::until_true("two are asked for", || async {
        Ok(taken.load(Ordering::SeqCst) >= 2)
    })
    .await
    .unwrap();
    apply(&cluster, oci(registry.host())).await;
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster.until_released("worker").await;
    // The others still wait, or for their turn, and say so.
    let mut told = 0;
    for policy in policies(&cluster).list(&Default::default()).await.unwrap() {
        let status = policy.status.unwrap_or_default();
        let mut conditions = status.conditions.iter();
        told += usize::from(conditions.any(|one| one.status == Status::False));
    }
    assert!(told < HUNG, "{told} policies were told about");
    let last = format!("hung-{}", HUNG - 1);
    let status = until_of(&cluster, &last, "Ready", Status::Unknown, "Fetching").await;
    let reference = format!("{address}/policies/steady:1.0 is being fetched");
    assert!(
        message(&status, "Fetched").contains(&reference),
        "{status:?}"
    );
    assert!(message(&status, "Ready").contains("rules that name it are Stalled"));
    let waits =
        rule("waits", "readiness.k8s.io/waits").replace("name: steady", &format!("name: {last}"));
    cluster.apply(&waits).unwrap();
    let says =
        format!("PolicyNotReady: spec.policy.name: policy {last:?} is not ready: {reference}");
    until_stalled(&cluster, "waits", &says).await;

    // What decides goes on while another one is wanted.
    let decides = |status: &ReadinessPolicyStatus| {
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|one| one.r#type == "Ready").unwrap();
        (
            ready.status,
            ready.observed_generation,
            status.observed_generation,
        )
    };
    let before = until(&cluster, "Ready", Status::True, "Decides").await;
    apply(&cluster, oci(&address.to_string())).await;
    let status = until(&cluster, "Fetched", Status::Unknown, "Fetching").await;
    assert_eq!(decides(&status), decides(&before));
    assert_eq!(status.digest, before.digest);
    let says = message(&status, "Ready");
    assert!(
        says.contains(" decides, and ") && says.contains(&reference),
        "{says}"
    );
    hung.abort();
    host.terminate().await.unwrap();
}
