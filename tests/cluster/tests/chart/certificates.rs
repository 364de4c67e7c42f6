//! Each verb of the roles by which the host keeps a certificate in a Secret, has the webhook's configuration
//! trust it, and reads what policies name: without it a request is refused. The roles are read from what the chart
//! renders.

use api::ReadinessPolicy;
use cluster_tests::helm::{Helm, start_pod_of};
use cluster_tests::{Cluster, Host, audit, wait};
use control_plane::Options;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::verbs::{Chart, Missing, applied, releases};

const MANAGED: &str =
    "webhook.enabled=true,webhook.manageCertificates=true,validatingWebhook.enabled=true";
const SECRET: &str = "webhook-server-certs";
/// The role that policies have need of: to read every Secret of the namespace, too.
const POLICIES: &str = "-policy-modules-role";

/// The host of a release, with its own flags and rights.
async fn start(cluster: &Cluster, release: &str) -> Host {
    let deployment = format!("{release}-node-readiness-controller-manager");
    let port = ["--webhook-bind-address=127.0.0.1:0"];
    start_pod_of(cluster, release, &deployment, &port)
        .await
        .unwrap()
}

/// Verb and resource of what a release was refused so far. A watch that is refused is in no log of the host.
fn refused(cluster: &Cluster, release: &str) -> Vec<(String, String)> {
    let user = format!("system:serviceaccount:{release}:{release}-node-readiness-controller");
    let requests = audit::read(&cluster.plane.audit_log(), &[&user]).unwrap();
    assert!(!requests.is_empty(), "{user} asked nothing");
    let refused = requests.into_iter().filter(|one| one.code == 403);
    refused.map(|one| (one.verb, one.resource)).collect()
}

/// Whom the API server is told to trust when it asks the host of a release.
async fn trusted(cluster: &Cluster, release: &str) -> anyhow::Result<Option<String>> {
    let configuration = cluster.webhooks().get(&configuration(release)).await?;
    let webhook = configuration.webhooks.unwrap_or_default().remove(0);
    let bundle = webhook.client_config.ca_bundle;
    Ok(bundle.and_then(|bundle| String::from_utf8(bundle.0).ok()))
}

fn configuration(release: &str) -> String {
    format!("{release}-node-readiness-controller-validating-webhook-configuration")
}

fn secrets(cluster: &Cluster, release: &str) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), release)
}

/// Waits until the API server trusts what is in the Secret, and says what that is.
async fn until_trusted(cluster: &Cluster, release: &str) -> String {
    let secrets = secrets(cluster, release);
    wait::until("the Secret's authority is trusted", || async {
        let data = secrets
            .get_opt(SECRET)
            .await?
            .and_then(|secret| secret.data);
        let held = data.and_then(|mut data| data.remove("ca.crt"));
        let held = held.map(|pem| String::from_utf8(pem.0)).transpose()?;
        let trusted = trusted(cluster, release).await?;
        Ok(match (held, trusted) {
            (Some(held), Some(trusted)) if held == trusted => Ok(held),
            other => Err(format!("{other:?}")),
        })
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn compat_046_each_verb_for_a_certificate_of_the_hosts_own_is_needed() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let chart = Chart::render(&Helm::new(&cluster).unwrap(), MANAGED);
    let of_certificates = |missing: &Missing| {
        let resource = missing.resource.as_str();
        ["secrets", "validatingwebhookconfigurations"].contains(&resource)
            && !missing.role.ends_with(POLICIES)
    };
    let mut missing = chart.verbs("-role");
    missing.retain(of_certificates);
    let needs = |name: &str| {
        ["cleanup", "crd-upgrade", POLICIES]
            .iter()
            .all(|part| !name.contains(part))
    };
    let releases = releases(&cluster, &chart, missing, needs).await;
    assert_eq!(releases.len(), 9);
    for (release, Missing { verb, resource, .. }) in &releases {
        if verb != "create" {
            applied(
                &cluster,
                vec![json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": { "name": SECRET, "namespace": release },
                })],
            );
        }
        let host = start(&cluster, release).await;
        let expected = (verb.clone(), resource.clone());
        wait::until(&format!("{verb} {resource} is missed"), || async {
            let refused = refused(&cluster, release);
            Ok(if refused.contains(&expected) {
                Ok(())
            } else {
                Err(format!("{refused:?}"))
            })
        })
        .await
        .unwrap();
        // It is this one alone that is missed.
        let refused = refused(&cluster, release);
        assert!(refused.iter().all(|one| *one == expected), "{refused:?}");
        host.terminate().await.unwrap();
    }

    // With all of them a Secret is made, and both are put right again: the host watches them.
    let host = start(&cluster, "all").await;
    let first = until_trusted(&cluster, "all").await;
    let clear = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    let patch = Patch::Json::<()>(serde_json::from_value(clear).unwrap());
    cluster
        .webhooks()
        .patch(&configuration("all"), &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(until_trusted(&cluster, "all").await, first);
    let secrets = secrets(&cluster, "all");
    secrets.delete(SECRET, &Default::default()).await.unwrap();
    assert_ne!(until_trusted(&cluster, "all").await, first);
    let refused = refused(&cluster, "all");
    assert!(refused.is_empty(), "{refused:?}");
    host.terminate().await.unwrap();
}

/// Why the module of a policy was not brought: reason and message.
async fn until_not_fetched(cluster: &Cluster, policy: &str) -> (String, String) {
    let policies = Api::<ReadinessPolicy>::all(cluster.client.clone());
    wait::until(&format!("{policy} is not fetched"), || async {
        let status = policies.get(policy).await?.status;
        let mut conditions = status.into_iter().flat_map(|status| status.conditions);
        let fetched = conditions.find(|one| one.r#type == "Fetched" && one.reason != "Pending");
        Ok(fetched
            .map(|one| (one.reason, one.message))
            .ok_or("no status".to_owned()))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn compat_046_each_verb_for_modules_of_policies_is_needed() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let definition = Helm::chart().join("crds/readinesspolicies.yaml");
    cluster
        .apply(&std::fs::read_to_string(definition).unwrap())
        .unwrap();
    let established = [
        "wait",
        "crd/readinesspolicies.readiness.node.x-k8s.io",
        "--for=condition=Established",
    ];
    cluster.plane.kubectl_ok(&established).unwrap();
    let chart = Chart::render(&helm, "");
    let needs = |name: &str| !name.contains("cleanup") && !name.contains("crd-upgrade");
    let releases = releases(&cluster, &chart, chart.verbs(POLICIES), needs).await;
    assert_eq!(releases.len(), 2);
    let all = std::iter::once(("all", None));
    let without = releases
        .iter()
        .map(|(release, missing)| (release.as_str(), Some(missing.resource.as_str())));
    for (release, missing) in all.chain(without) {
        let policy = |kind: &str, module: Value| {
            json!({
                "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "ReadinessPolicy",
                "metadata": { "name": format!("{kind}-{release}") }, "spec": { "module": module },
            })
        };
        // Neither is there: whoever may read says so.
        let map = json!({ "configMap": { "namespace": release, "name": "none", "key": "a.wasm" } });
        let secret = json!({ "namespace": release, "name": "none" });
        let image = json!({ "oci": { "reference": "127.0.0.1:1/a/b:1", "pullSecret": secret } });
        applied(
            &cluster,
            vec![policy("configmaps", map), policy("secrets", image)],
        );
        let host = start(&cluster, release).await;
        for resource in ["configmaps", "secrets"] {
            let name = format!("{resource}-{release}");
            let (reason, message) = until_not_fetched(&cluster, &name).await;
            let says = format!("cannot get resource \"{resource}\"");
            let is_missed = missing == Some(resource);
            assert_eq!(message.contains(&says), is_missed, "{missing:?}: {message}");
            assert_eq!(reason == "Forbidden", is_missed, "{missing:?}: {reason}");
        }
        host.terminate().await.unwrap();
        cluster
            .plane
            .kubectl_ok(&["delete", "nrp", "--all"])
            .unwrap();
    }
}
