//! Modules that somebody signed who has no key, and a trust root that is mounted while the host runs.

use std::fs;

use cluster_tests::{GUIDE_TAINT, worker};
use fetch_tests::{Cosign, Options, Registry, Sigstore};
use planner::rule::Status;
use serde_json::{Value, json};

use crate::registry::{annotate, push_to};
use crate::world::{apply, hostile, message, rule, start, until, until_stalled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_decides_only_if_the_identity_signed_it_and_the_root_is_there() {
    let sigstore = Sigstore::start().unwrap();
    let registry = Registry::start(Options::default()).unwrap();
    let cosign = Cosign::new(&registry, None).unwrap();
    let pushed = push_to(&registry, None, "policies/steady:1.0", &hostile()).await;
    cosign.sign_as(&sigstore, "release", &pushed).unwrap();
    let spec = |issuer: &str, account: &str| {
        json!({
            "module": {"oci": {"reference": pushed.to_string(), "plainHTTP": true}},
            "signature": {"keyless": [{"issuer": issuer, "identity": Sigstore::identity(account)}]},
        })
    };
    let issuer = sigstore.issuer();

    let cluster = start().await;
    cluster.create_node(&worker("worker", true)).await.unwrap();
    let mounted = cluster.plane.folder().join("trusted_root.json");
    let root = format!("--trusted-root={}", mounted.display());
    let cache = cluster.plane.folder().join("policy-cache");
    let cache = format!("--policy-cache={}", cache.display());
    let host = cluster.start_host_with(&[&root, &cache]).await.unwrap();
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    apply(&cluster, spec(&issuer, "other")).await;
    let status = until(&cluster, "Verified", Status::False, "NoTrustedRoot").await;
    let said = message(&status, "Verified");
    assert!(said.starts_with(&format!("{root}: ")), "{said}");

    // Each is corrected where it is wrong.
    let text = fs::read(sigstore.trusted_root()).unwrap();
    fs::write(&mounted, &text).unwrap();
    let status = until(&cluster, "Verified", Status::False, "SignedByOtherIdentity").await;
    assert_eq!((status.digest, status.last_good_digest), (None, None));
    until_stalled(&cluster, "agent", "policy \"steady\" is not ready: ").await;
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);
    apply(&cluster, spec(&issuer, "release")).await;
    let good = until(&cluster, "Ready", Status::True, "Decides").await;
    let who = Sigstore::identity("release");
    let expected = format!("signed by {who} (issuer {issuer})");
    assert_eq!(message(&good, "Verified"), expected);
    cluster.until_released("worker").await;

    apply(&cluster, spec("https://issuer.example.com", "release")).await;
    // Nobody trusts any more who signed the one that decided.
    let status = until(&cluster, "Verified", Status::False, "SignedByOtherIssuer").await;
    assert_eq!(status.last_good_digest, None);
    apply(&cluster, spec(&issuer, "release")).await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    // Another authority takes the place of the one that gave the certificate.
    let mut other: Value = serde_json::from_slice(&text).unwrap();
    other["certificateAuthorities"][0]["certChain"] =
        other["timestampAuthorities"][0]["certChain"].clone();
    fs::write(&mounted, other.to_string()).unwrap();
    annotate(&cluster, "1").await;
    let status = until(&cluster, "Verified", Status::False, "SignatureNotTrusted").await;
    assert_eq!(status.last_good_digest, good.digest);
    host.terminate().await.unwrap();

    // Without a trust root nobody is believed, and what was kept is not either.
    fs::remove_file(&mounted).unwrap();
    let host = cluster.start_host_with(&[&root, &cache]).await.unwrap();
    until(&cluster, "Verified", Status::False, "NoTrustedRoot").await;
    until_stalled(&cluster, "agent", "policy \"steady\" is not ready: ").await;
    host.terminate().await.unwrap();
}
