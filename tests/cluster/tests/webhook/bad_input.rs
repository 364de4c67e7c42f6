//! What keeps the webhook from being served is said at once. No cluster is needed for that.

use std::net::TcpListener;
use std::path::Path;

use cluster_tests::Host;
use cluster_tests::webhook::{Authority, Folder, Pair};
use control_plane::Lifetime;

/// Starts a host that cannot do anything; its exit status and what it said.
async fn run(folder: &Folder, address: &str) -> (Option<i32>, String) {
    let log = folder.path().join("log");
    let address = format!("--webhook-bind-address={address}");
    let host = Host::spawn_with(
        Path::new("/nowhere"),
        &log,
        Lifetime::OfThisProcess,
        &["--enable-webhook", &address],
        &[("TMPDIR", folder.path())],
    );
    host.unwrap().until_ended().await.unwrap()
}

#[tokio::test]
async fn compat_043_without_a_certificate_it_ends_with_1() {
    let folder = Folder::new().unwrap();
    let (status, log) = run(&folder, "127.0.0.1:0").await;
    assert_eq!(status, Some(1), "{log}");
    let file = folder
        .path()
        .join("k8s-webhook-server/serving-certs/tls.crt");
    let expected = format!(
        "error: the webhook has no certificate {} with key ",
        file.display()
    );
    assert!(log.contains(&expected), "{log}");
    assert!(
        log.contains("cannot be read: No such file or directory"),
        "{log}"
    );
    assert!(log.contains("--webhook-manage-certificates"), "{log}");
}

#[tokio::test]
async fn compat_043_with_an_unusable_certificate_it_ends_with_1() {
    let authority = Authority::new().unwrap();
    let (one, other) = (authority.sign(90).unwrap(), authority.sign(90).unwrap());
    let pair = |certificate: &str, key: &str| Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let damaged = one.certificate.replace('M', "A");
    for (pair, expected) in [
        (
            pair(&one.certificate, &other.key),
            "the key does not belong to the certificate",
        ),
        (pair("", &one.key), "has no PEM block CERTIFICATE"),
        (pair(&damaged, &one.key), "the certificate cannot be read"),
        (
            pair(&one.certificate, "nothing"),
            "the key is not a private key in PEM",
        ),
    ] {
        let (status, log) = run(&Folder::with(&pair).unwrap(), "127.0.0.1:0").await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let pair = Authority::new().unwrap().sign(90).unwrap();
    let (status, log) = run(&Folder::with(&pair).unwrap(), &address).await;
    assert_eq!(status, Some(2), "{log}");
    let expected = format!("the webhook cannot be served at {address}: Address already in use");
    assert!(log.contains(&expected), "{log}");
}
