//! A policy that asks about leases: the objects of `examples/heartbeat`, with leases that a test renews.

use cluster_tests::scrape::Scrape;
use std::time::{Duration, Instant};

use cluster_tests::{Cluster, Host, worker};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use planner::rule::Status;
use serde_json::json;

use crate::rights::{OF_POLICIES, right_to_see, start_host, with_user};
use crate::world::{message, start, until_of};

const TAINT: &str = "readiness.k8s.io/alive";
const POLICY: &str = "heartbeat";
/// A rule's `maxLeaseAge`.
const AGE: Duration = Duration::from_secs(4);

fn example(file: &str) -> String {
    let folder = cli_tests::program::workspace().join("examples/heartbeat");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!(
        text.matches("maxLeaseAge: 30s").count(),
        usize::from(file == "rule.yaml")
    );
    text.replace(
        "maxLeaseAge: 30s",
        &format!("maxLeaseAge: {}s", AGE.as_secs()),
    )
}

async fn prepare(cluster: &Cluster) {
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let ready = cluster.set_condition("worker", "Ready", "True").await;
    ready.unwrap();
}

/// As a kubelet does, so long ago.
async fn renew(cluster: &Cluster, node: &str, ago: SignedDuration) {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    // An API server wants six digits.
    let at = (Timestamp::now() - ago).strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node},
        "spec": {"holderIdentity": node, "renewTime": at.to_string()}});
    let (parameters, lease) = (PatchParams::apply("kubelet").force(), Patch::Apply(&lease));
    let applied = leases.patch(node, &parameters, &lease);
    applied.await.unwrap();
}

async fn until_tainted(cluster: &Cluster, tainted: bool, when: &str) {
    let seen = cluster.until_tainted("worker", TAINT, tainted).await;
    seen.map_err(|error| error.context(when.to_owned()))
        .unwrap();
}

/// How often the rule was evaluated.
async fn evaluations(host: &Host) -> f64 {
    let address = host.served_at("metrics are served").unwrap();
    let scrape = Scrape::of(&address).await.unwrap();
    let series = r#"node_readiness_evaluation_duration_seconds_count{rule="alive"}"#;
    scrape.get(series).unwrap_or_default()
}

#[tokio::test]
async fn a_renewal_brings_no_node_back_and_one_that_does_not_come_does() {
    let cluster = start().await;
    prepare(&cluster).await;
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    for file in ["policy.yaml", "rule.yaml"] {
        cluster.apply(&example(file)).unwrap();
    }
    until_of(&cluster, POLICY, "Ready", Status::True, "Decides").await;
    // There is no lease yet, and then one in another's name.
    until_tainted(&cluster, true, "there is no lease yet").await;
    renew(&cluster, "other", SignedDuration::ZERO).await;
    renew(&cluster, "worker", SignedDuration::ZERO).await;
    until_tainted(&cluster, false, "the lease is young").await;

    // The node is looked at when a lease would be too old that was not renewed since the last look.
    let began = Instant::now();
    let before = evaluations(&host).await;
    let mut renewals = 0;
    let mut made = 0.0;
    while made < 3.0 {
        for _ in 0..20 {
            renew(&cluster, "worker", SignedDuration::ZERO).await;
            renewals += 1;
        }
        made = evaluations(&host).await - before;
        let took = began.elapsed();
        assert!(took < 20 * AGE, "{made} evaluations in {took:?}");
    }
    let ages = began.elapsed().as_secs_f64() / AGE.as_secs_f64();
    // The host's own write that came back by the watch, and the look that was waited for then.
    assert!(
        made <= ages + 2.0,
        "{made} evaluations of {renewals} renewals in {ages} times the age"
    );
    assert!(
        f64::from(renewals) > 5.0 * made,
        "{renewals} renewals, {made} evaluations"
    );

    // Nothing comes any more: time alone.
    until_tainted(&cluster, true, "nobody renews the lease").await;
    renew(&cluster, "worker", SignedDuration::ZERO).await;
    until_tainted(&cluster, false, "it is renewed again").await;
    // One that is older than what was known, as when a clock was set.
    renew(&cluster, "worker", SignedDuration::from_secs(3600)).await;
    until_tainted(&cluster, true, "it was renewed an hour ago").await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn the_right_in_the_namespace_of_node_leases_is_asked_for_and_is_enough() {
    let cluster = with_user(&[OF_POLICIES]).await;
    prepare(&cluster).await;
    for file in ["policy.yaml", "rule.yaml"] {
        cluster.apply(&example(file)).unwrap();
    }
    let host = start_host(&cluster).await;
    let (no, yes) = (Status::False, Status::True);
    let status = until_of(&cluster, POLICY, "FactsAvailable", no, "Forbidden").await;
    let said = message(&status, "FactsAvailable");
    for part in ["policyFacts.leases", "\"leases\"", "kube-node-lease"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(cluster.readiness_taints("worker").await.unwrap().is_empty());
    cluster
        .apply(&right_to_see(
            "coordination.k8s.io",
            "leases",
            Some("kube-node-lease"),
        ))
        .unwrap();
    until_of(&cluster, POLICY, "Ready", yes, "Decides").await;
    until_tainted(&cluster, true, "the right is there, and no lease").await;
    host.terminate().await.unwrap();
}
