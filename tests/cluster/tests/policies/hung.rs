//! A registry that takes connections and never answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::policy::ReadinessPolicyStatus;
use cluster_tests::link::Link;
use cluster_tests::{Cluster, GUIDE_TAINT, wait, worker};
use fetch::{Reference, Version};
use fetch_tests::{Options, Registry};
use kube::api::DeleteParams;
use planner::rule::Status;
use serde_json::json;
use tokio::net::TcpListener;

use crate::registry::{another, push_to};
use crate::world::{
    POLICY, apply, apply_as, hostile, message, policies, rule, start, until, until_of,
    until_stalled,
};

/// More than are brought at the same time from all hosts together. Each takes half a minute until it is given up.
const HUNG: usize = 10;

fn digest_of(artifact: &Reference) -> String {
    let Version::Digest(digest) = artifact.version() else {
        unreachable!("what was pushed is named by its digest");
    };
    digest.to_string()
}

async fn delete(cluster: &Cluster, policy: &str) {
    let (policies, parameters) = (policies(cluster), DeleteParams::default());
    policies.delete(policy, &parameters).await.unwrap();
}

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
    let unwanted = push_to(&registry, None, "policies/steady:2.0", &another()).await;

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

    // What was on its way when nobody wanted it any more does not decide: neither after the way back, nor without a
    // policy. That is known before the registry answers where another policy, applied later, is.
    let link = Link::to(registry.host().to_owned(), String::new()).await;
    let link = link.unwrap();
    let slow = json!({"module": {"oci": {
        "reference": format!("{}/policies/steady:2.0", link.address()), "plainHTTP": true}}});
    for (witness, back) in [("first", Some(oci(registry.host()))), ("second", None)] {
        link.cut();
        apply(&cluster, slow.clone()).await;
        until(&cluster, "Fetched", Status::Unknown, "Fetching").await;
        match back.clone() {
            Some(spec) => apply(&cluster, spec).await,
            None => delete(&cluster, POLICY).await,
        }
        let builtin = json!({"module": {"builtin": {"name": "default"}}});
        apply_as(&cluster, witness, builtin).await;
        until_of(&cluster, witness, "Ready", Status::True, "Decides").await;
        link.heal();
        match back {
            Some(_) => drop(until(&cluster, "Ready", Status::True, "Decides").await),
            None => {
                let says = "PolicyNotFound: spec.policy.name: there is no policy \"steady\"";
                until_stalled(&cluster, "agent", says).await;
            }
        }
        let (log, digest) = (host.log().unwrap(), digest_of(&unwanted));
        let decided =
            |line: &str| line.contains("another module decides now") && line.contains(&digest);
        assert!(!log.lines().any(decided), "{log}");
    }
    hung.abort();
    host.terminate().await.unwrap();
}
