//! A registry that takes connections and never answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_tests::{GUIDE_TAINT, wait, worker};
use fetch_tests::{Options, Registry};
use planner::rule::Status;
use serde_json::json;
use tokio::net::TcpListener;

use crate::registry::push_to;
use crate::world::{apply, apply_as, hostile, policies, rule, start, until};

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
    // The others still wait, or for their turn.
    let mut told = 0;
    for policy in policies(&cluster).list(&Default::default()).await.unwrap() {
        told += usize::from(policy.status.is_some());
    }
    assert!(told < HUNG, "{told} policies were told about");
    hung.abort();
    host.terminate().await.unwrap();
}
