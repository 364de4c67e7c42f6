//! Certificates that the host makes itself.

use std::collections::BTreeMap;

use cluster_tests::scrape::Scrape;
use cluster_tests::webhook::{Authority, CONFIGURATION, Folder};
use cluster_tests::{Cluster, agent_rule, wait};
use control_plane::{Options, User};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde_json::json;

const MANAGED: &[&str] = &[
    "--webhook-manage-certificates",
    "--webhook-secret=default/hook",
];

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), "default")
}

async fn held(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, String>> {
    let secret = secrets(cluster).get("hook").await?;
    let data = secret.data.unwrap_or_default().into_iter();
    let text = |(name, value): (String, ByteString)| Ok((name, String::from_utf8(value.0)?));
    data.map(text).collect()
}

async fn trusted(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let configuration = cluster.webhooks().get(CONFIGURATION).await?;
    let webhook = configuration.webhooks.unwrap_or_default().remove(0);
    let bundle = webhook.client_config.ca_bundle;
    Ok(bundle.and_then(|bundle| String::from_utf8(bundle.0).ok()))
}

async fn until_trusted(cluster: &Cluster, pem: &str) {
    wait::until_true(
        "the configuration trusts the Secret's authority",
        || async { Ok(trusted(cluster).await?.as_deref() == Some(pem)) },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn two_replicas_share_one_authority_and_keep_it_trusted() {
    let cluster = Cluster::start().await.unwrap();
    let folder = Folder::new().unwrap();
    let kubeconfig = cluster.kubeconfig();
    let start = || cluster.start_webhook(&kubeconfig, &folder, MANAGED);
    let (one, other) = tokio::join!(start(), start());
    let ((mut one, address), (mut other, other_address)) = (one.unwrap(), other.unwrap());
    let missing = format!("ValidatingWebhookConfiguration {CONFIGURATION} cannot be read");
    one.until_logged(&missing).await.unwrap();
    other.until_logged(&missing).await.unwrap();
    let log = one.log().unwrap();
    let line = log.lines().find(|line| line.contains(&missing)).unwrap();
    let advice = "since there is none: create it";
    assert!(
        line.contains(advice) && !line.contains("grant it"),
        "{line}"
    );
    cluster.configure_webhook(address, None).await.unwrap();
    cluster.until_asked().await.unwrap();
    let first = held(&cluster).await.unwrap();
    until_trusted(&cluster, &first["ca.crt"]).await;

    // Somebody clears it.
    let clear = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    cluster.patch_webhook(clear).await.unwrap();
    until_trusted(&cluster, &first["ca.crt"]).await;

    // The other replica has the same.
    let url = format!("https://{other_address}{}", api::webhook::PATH);
    let elsewhere =
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": url}]);
    cluster.patch_webhook(elsewhere).await.unwrap();
    one.terminate().await.unwrap();
    cluster.until_asked().await.unwrap();
    assert_eq!(held(&cluster).await.unwrap(), first);
    other.terminate().await.unwrap();
}

#[tokio::test]
async fn both_are_renewed_before_they_expire() {
    let cluster = Cluster::start().await.unwrap();
    let folder = Folder::new().unwrap();
    let ageing = Authority::until(300).unwrap();
    let pair = ageing.sign(20).unwrap();
    let text = |text: &str| ByteString(text.into());
    let secret = |authority: &Authority, pair: &cluster_tests::webhook::Pair| {
        BTreeMap::from([
            ("ca.crt".to_owned(), text(&authority.pem)),
            ("ca.key".to_owned(), text(&authority.key())),
            ("tls.crt".to_owned(), text(&pair.certificate)),
            ("tls.key".to_owned(), text(&pair.key)),
        ])
    };
    let stored = Secret {
        metadata: serde_json::from_value(json!({"name": "hook"})).unwrap(),
        data: Some(secret(&ageing, &pair)),
        ..Secret::default()
    };
    secrets(&cluster)
        .create(&PostParams::default(), &stored)
        .await
        .unwrap();
    let metrics = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
    ];
    let (host, address) = cluster
        .start_webhook(
            &cluster.kubeconfig(),
            &folder,
            &[MANAGED, &metrics].concat(),
        )
        .await
        .unwrap();
    cluster.configure_webhook(address, None).await.unwrap();
    cluster.until_asked().await.unwrap();
    let scrape = Scrape::of(&host.served_at("metrics are served").unwrap()).await;
    let expiry = "node_readiness_webhook_certificate_expiry_timestamp_seconds";
    let days = scrape.unwrap().get(expiry).unwrap() / 86_400.0;
    let today = jiff::Timestamp::now().as_second() as f64 / 86_400.0;
    assert!((85.0..95.0).contains(&(days - today)), "{days}");
    let renewed = held(&cluster).await.unwrap();
    assert_ne!(renewed["ca.key"], ageing.key());
    // The one before stays trusted while somebody may still show what it signed.
    assert!(renewed["ca.crt"].ends_with(&ageing.pem));
    assert_eq!(renewed["ca.crt"].matches("BEGIN CERTIFICATE").count(), 2);

    // The certificate alone: its authority stays.
    let authority = Authority::of(&renewed["ca.crt"], &renewed["ca.key"]).unwrap();
    let old = authority.sign(29).unwrap();
    let mut stored = secrets(&cluster).get("hook").await.unwrap();
    stored.data = Some(secret(&authority, &old));
    secrets(&cluster)
        .replace("hook", &PostParams::default(), &stored)
        .await
        .unwrap();
    wait::until_true("a new certificate is there", || async {
        let now = held(&cluster).await?;
        assert_eq!(now["ca.key"], renewed["ca.key"]);
        Ok(now["tls.crt"] != old.certificate)
    })
    .await
    .unwrap();
    cluster.until_asked().await.unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone() {
    let cluster = Cluster::start().await.unwrap();
    let folder = Folder::new().unwrap();
    let foreign = Secret {
        metadata: serde_json::from_value(json!({"name": "hook"})).unwrap(),
        data: Some(BTreeMap::from([(
            "tls.crt".to_owned(),
            ByteString("theirs".into()),
        )])),
        ..Secret::default()
    };
    secrets(&cluster)
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    let (mut host, address) = cluster
        .start_webhook(&cluster.kubeconfig(), &folder, MANAGED)
        .await
        .unwrap();
    cluster.configure_webhook(address, None).await.unwrap();
    host.until_logged("Secret default/hook has a certificate that the host did not make")
        .await
        .unwrap();
    assert_eq!(held(&cluster).await.unwrap()["tls.crt"], "theirs");
    host.terminate().await.unwrap();
}

/// What the Go controller may do, as far as this test needs it.
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: manager}
rules:
- {apiGroups: [''], resources: [nodes], verbs: [get, list, watch, patch, update]}
- {apiGroups: [readiness.node.x-k8s.io], resources: [nodereadinessrules], verbs: [get, list, watch, update, patch]}
- {apiGroups: [readiness.node.x-k8s.io], resources: [nodereadinessrules/status, nodereadinessrules/finalizers], verbs: [get, update, patch]}
- {apiGroups: ['', events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: manager}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: manager}
subjects: [{kind: User, name: manager, apiGroup: rbac.authorization.k8s.io}]
";

#[tokio::test]
async fn compat_045_without_the_rights_it_is_off_and_said_once() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: vec![User::new("manager")],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.apply(RIGHTS).unwrap();
    let folder = Folder::new().unwrap();
    let kubeconfig = cluster.plane.kubeconfig_for("manager").unwrap();
    let metrics = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
    ];
    let (mut host, address) = cluster
        .start_webhook(&kubeconfig, &folder, &[MANAGED, &metrics].concat())
        .await
        .unwrap();
    let off = "the webhook's certificates are not managed";
    host.until_logged(off).await.unwrap();
    let log = host.log().unwrap();
    let line = log.lines().find(|line| line.contains(off)).unwrap();
    assert!(
        line.contains("cannot be read") && line.contains("forbidden"),
        "{line}"
    );
    // The API server learns no more than that it was turned away. What is missing stands in an event, in a
    // metric, and beside each time that it tried.
    let note = cluster
        .until_event(CONFIGURATION, "CertificateNotManaged")
        .await;
    let note = note.unwrap();
    assert!(
        note.contains("has no certificate") && note.contains("forbidden"),
        "{note}"
    );
    let scrape = Scrape::of(&host.served_at("metrics are served").unwrap())
        .await
        .unwrap();
    let expiry = "node_readiness_webhook_certificate_expiry_timestamp_seconds";
    assert_eq!(scrape.get(expiry), Some(0.0));
    cluster.configure_webhook(address, None).await.unwrap();
    cluster.until_refused("tls: access denied").await.unwrap();
    host.until_logged("a client was turned away").await.unwrap();
    let log = host.log().unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("a client was turned away"));
    let line = line.unwrap();
    assert!(
        line.contains(CONFIGURATION) && line.contains("forbidden"),
        "{line}"
    );
    let webhooks = cluster.webhooks();
    webhooks
        .delete(CONFIGURATION, &Default::default())
        .await
        .unwrap();
    wait::until_true("it is not asked any more", || async {
        Ok(!cluster
            .refusal_of_nothing()
            .await?
            .contains("access denied"))
    })
    .await
    .unwrap();
    // The rest works.
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    wait::until_true("the host works", || async {
        Ok(!cluster.rules().get("agent").await?.finalizers().is_empty())
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
}
