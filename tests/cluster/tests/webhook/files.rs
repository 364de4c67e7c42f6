//! Certificates from files.

use cluster_tests::Cluster;
use cluster_tests::webhook::{Authority, Folder, Pair};
use k8s_openapi::ByteString;
use serde_json::json;

#[tokio::test]
async fn compat_043_certificates_are_reloaded_without_a_restart() {
    let cluster = Cluster::start().await.unwrap();
    let (first, second) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = Folder::with(&first.sign(90).unwrap()).unwrap();
    let (mut host, address) = cluster
        .start_webhook(&cluster.kubeconfig(), &folder, &[])
        .await
        .unwrap();
    let configure = cluster.configure_webhook(address, Some(&first.pem));
    configure.await.unwrap();
    cluster.until_asked().await.unwrap();

    // What cannot be used changes nothing.
    let (one, other) = (second.sign(90).unwrap(), second.sign(90).unwrap());
    let mixed = Pair {
        certificate: one.certificate,
        key: other.key,
    };
    folder.mount(&mixed).unwrap();
    host.until_logged("the one before is still served")
        .await
        .unwrap();
    let log = host.log().unwrap();
    assert!(
        log.contains("the key does not belong to the certificate"),
        "{log}"
    );
    cluster.until_asked().await.unwrap();

    folder.mount(&second.sign(-1).unwrap()).unwrap();
    host.until_logged("clients will refuse the certificate")
        .await
        .unwrap();
    let bundle = |authority: &Authority| {
        let bundle = ByteString(authority.pem.clone().into());
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}])
    };
    cluster.patch_webhook(bundle(&second)).await.unwrap();
    cluster
        .until_refused("certificate has expired")
        .await
        .unwrap();

    folder.mount(&second.sign(90).unwrap()).unwrap();
    cluster.until_asked().await.unwrap();
    host.terminate().await.unwrap();
}
