//! What the webhook says of a rule that names a policy.

use cluster_tests::GUIDE_TAINT;
use cluster_tests::webhook::{Authority, Folder};
use planner::rule::Status;
use serde_json::json;

use crate::world::{apply, hostile, rule, start, until, until_stalled};

#[tokio::test]
async fn the_webhook_asks_the_policy_of_the_rule_about_its_parameters() {
    let cluster = start().await;
    let authority = Authority::new().unwrap();
    let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
    let kubeconfig = cluster.kubeconfig();
    let started = cluster.start_webhook(&kubeconfig, &folder, &[]).await;
    let (mut host, address) = started.unwrap();
    host.until_logged("caches are synced").await.unwrap();
    let configured = cluster.configure_webhook(address, Some(&authority.pem));
    configured.await.unwrap();
    cluster.until_asked().await.unwrap();

    let refusal = |name: &str| {
        cluster
            .apply(&rule(name, GUIDE_TAINT))
            .unwrap_err()
            .to_string()
    };
    let said = refusal("check-finds");
    assert!(
        said.contains("spec.policy.name: Invalid value: \"steady\": there is no such policy"),
        "{said}"
    );
    let file = cluster.plane.folder().join("hostile.wasm");
    apply(&cluster, json!({"module": {"file": {"path": file}}})).await;
    until(&cluster, "Fetched", Status::False, "NotFound").await;
    // It may come yet: the rule is stored, and waits.
    cluster
        .apply(&rule("waits", "readiness.k8s.io/other"))
        .unwrap();
    until_stalled(&cluster, "waits", "is not ready").await;
    std::fs::write(&file, hostile()).unwrap();
    until(&cluster, "Ready", Status::True, "Decides").await;
    let said = refusal("check-finds");
    assert!(
        said.contains("spec.policy.parameters.zone: Invalid value: null: no such"),
        "{said}"
    );
    cluster.apply(&rule("behaves", GUIDE_TAINT)).unwrap();
    host.terminate().await.unwrap();
}
