//! Who the server is, and who it says it is.

use std::time::{Duration, SystemTime};

use fetch::{
    Access, Authorities, Client, Credentials, Digest, InvalidAuthorities, Limits, Problem, Source,
};
use fetch_tests::{Authority, Options, Registry, trust};

use crate::{component, described, fetch, fetch_exactly};

/// The sentence about a registry with this certificate, to who trusts this authority.
async fn sentence(tls: (String, String), trusted: Option<&Authority>) -> (String, String) {
    let registry = Registry::start(Options {
        tls: Some(tls),
        ..Options::default()
    })
    .unwrap();
    let access = Access {
        authorities: trusted
            .map(|authority| trust(authority).unwrap())
            .unwrap_or_default(),
        ..Access::default()
    };
    let client = Client::new(access, Limits::default()).unwrap();
    let source = registry.source("policies/steady:1.0").unwrap();
    let error = fetch(&client, &source).await.unwrap_err();
    (error.problem.reason().to_owned(), error.to_string())
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_is_not_asked() {
    let authority = Authority::new().unwrap();
    let other = Authority::new().unwrap();
    let sound = || authority.server("127.0.0.1").unwrap();
    for (tls, trusted, expected) in [
        (
            sound(),
            None,
            "of an unknown certificate authority: give that",
        ),
        (
            sound(),
            Some(&other),
            "of an unknown certificate authority: give that",
        ),
        (
            authority.server("registry.example.com").unwrap(),
            Some(&authority),
            "shows a certificate of another host",
        ),
        (
            authority.expired_server("127.0.0.1").unwrap(),
            Some(&authority),
            "shows a certificate that has expired: renew it there",
        ),
    ] {
        let (reason, sentence) = sentence(tls, trusted).await;
        assert_eq!(reason, "TLSFailed");
        assert!(sentence.contains(expected), "{sentence}");
    }
}

#[tokio::test]
async fn plain_http_and_tls_are_not_mixed_up() {
    let plain = Registry::start(Options::default()).unwrap();
    let client = Client::new(Access::default(), Limits::default()).unwrap();
    let source = plain.source("policies/steady:1.0").unwrap();
    let error = fetch(&client, &source).await.unwrap_err().to_string();
    assert!(
        error.contains("does not speak TLS: is it served over plain http"),
        "{error}"
    );
    let url: Source = format!("{}/steady.wasm", plain.url()).parse().unwrap();
    let error = fetch(&client, &url).await.unwrap_err();
    assert!(
        matches!(error.problem, Problem::PlainHttp { .. }),
        "{error}"
    );

    let authority = Authority::new().unwrap();
    let private = Registry::private(&authority).unwrap();
    let access = Access {
        plain_http: true,
        ..Access::default()
    };
    let client = Client::new(access, Limits::default()).unwrap();
    let source = private.source("policies/steady:1.0").unwrap();
    let error = fetch(&client, &source).await.unwrap_err();
    assert!(
        matches!(error.problem, Problem::Unexpected { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("400 Bad Request"), "{error}");
}

#[test]
fn an_authority_that_cannot_be_used_is_refused_before_anybody_is_asked() {
    let now = SystemTime::now();
    let expired = Authority::expired().unwrap().pem();
    let error = Authorities::from_pem(expired.as_bytes(), now).unwrap_err();
    assert!(matches!(error, InvalidAuthorities::Expired { .. }));
    let sentence = error.to_string();
    assert!(
        sentence.starts_with(
            "the certificate authority 'CN=private authority' has expired at 2021-01-01"
        ) || sentence.contains("Jan  1"),
        "{sentence}"
    );
    // While its time was not over, it could be used.
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    assert!(Authorities::from_pem(expired.as_bytes(), before).is_ok());

    let sound = Authority::new().unwrap().pem();
    let middle = sound.len() / 2;
    for (pem, expected) in [
        ("", "is not PEM"),
        ("a certificate", "is not PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate 1 of the certificate authority cannot be read",
        ),
        (
            &format!("{sound}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "certificate 2 of the certificate authority cannot be read",
        ),
        (&sound[..middle], "is not PEM"),
    ] {
        let error = Authorities::from_pem(pem.as_bytes(), now)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            !error.contains("Parsing") && !error.contains("Der("),
            "{error}"
        );
    }
}

/// A file on a web server with TLS and a password: the registry serves its blobs as such.
#[tokio::test]
async fn a_url_is_fetched_with_the_same_authority_and_password() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let client = registry.client(Some(&authority)).unwrap();
    let bytes = component("by https");
    let digest = Digest::of(&bytes);
    let reference = registry.reference("policies/steady:1.0").unwrap();
    client.push(&reference, &described(&bytes)).await.unwrap();

    let url = format!("{}/v2/policies/steady/blobs/{digest}", registry.url());
    let source: Source = url.parse().unwrap();
    let module = fetch_exactly(&client, &source, Some(digest)).await.unwrap();
    assert_eq!(
        (module.bytes, module.digest, module.reference),
        (bytes, digest, None)
    );
    let error = fetch_exactly(&client, &source, Some(Digest::of(b"other")))
        .await
        .unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.starts_with(&format!("{url}: the module is not the one")),
        "{sentence}"
    );
    assert!(
        sentence.ends_with("it has been replaced; give its digest if it is what you want"),
        "{sentence}"
    );

    let access = Access {
        credentials: Credentials::default(),
        authorities: trust(&authority).unwrap(),
        plain_http: false,
    };
    let nobody = Client::new(access, Limits::default()).unwrap();
    let error = fetch(&nobody, &source).await.unwrap_err();
    assert_eq!(error.problem.reason(), "Unauthorized");
    let missing: Source = format!("{}/steady.wasm", registry.url()).parse().unwrap();
    let error = fetch(&client, &missing).await.unwrap_err();
    assert!(
        error.to_string().contains("has no file /steady.wasm (404)"),
        "{error}"
    );
}
