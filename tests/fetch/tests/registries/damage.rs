//! A registry whose disk lost or changed something.

use std::fs;

use fetch::{Access, Client, Digest, Limits, Problem, Source};
use fetch_tests::{IMAGE, Options, Registry, Reply, StandIn, manifest};

use crate::{component, described, fetch, problem};

#[tokio::test]
async fn what_comes_is_what_was_pushed_or_nothing() {
    let registry = Registry::start(Options::default()).unwrap();
    let client = registry.client(None).unwrap();
    let bytes = component("soon damaged");
    let tag = registry.reference("policies/steady:1.0").unwrap();
    let pushed = client.push(&tag, &described(&bytes)).await.unwrap();
    let source = Source::Registry(tag);
    let digest = Digest::of(&bytes);
    let layer = registry.file(&digest);
    assert_eq!(fs::read(&layer).unwrap(), bytes);

    fs::write(&layer, &bytes[..bytes.len() - 3]).unwrap();
    let error = fetch(&client, &source).await.unwrap_err();
    let sentence = format!(
        "only {} of the {} bytes of the layer {digest} came: the copy there is damaged, push it again",
        bytes.len() - 3,
        bytes.len()
    );
    assert_eq!(error.problem.to_string(), sentence);
    assert_eq!(error.problem.reason(), "Truncated");

    let forged = component("soon Damaged");
    fs::write(&layer, &forged).unwrap();
    let expected = Problem::WrongDigest {
        what: format!("the layer {digest}"),
        expected: digest,
        received: Digest::of(&forged),
        advice: "the copy there is damaged or forged, push it again",
    };
    assert_eq!(problem(&client, &source).await, expected);

    fs::write(&layer, [bytes.as_slice(), b"more"].concat()).unwrap();
    let more = problem(&client, &source).await;
    assert!(matches!(more, Problem::Unexpected { .. }), "{more}");
    fs::write(&layer, &bytes).unwrap();
    fetch(&client, &source).await.unwrap();

    // The manifest: by its digest, what is not it is not taken.
    let fetch::Version::Digest(expected) = *pushed.version() else {
        panic!("{pushed}")
    };
    let file = registry.file(&expected);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("steady", "shaken")).unwrap();
    let changed = problem(&client, &Source::Registry(pushed)).await;
    assert!(
        matches!(changed, Problem::WrongDigest { expected: of, .. } if of == expected)
            || matches!(changed, Problem::NotFound { .. } | Problem::Busy { .. }),
        "{changed}"
    );
}

/// 100 MB are refused by what the manifest says, before a byte of them is read.
#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let registry = Registry::start(Options::default()).unwrap();
    let mut bytes = component("large");
    bytes.resize(100 << 20, 0);
    let config = ("application/vnd.wasm.config.v0+json", b"{}".as_slice());
    let manifest = manifest(config, &[("application/wasm", &bytes)]);
    for blob in [&bytes, config.1] {
        registry.put_blob("large", blob).await.unwrap();
    }
    registry
        .put_manifest("large", "1", IMAGE, &manifest)
        .await
        .unwrap();
    let url = registry.url();
    let between = StandIn::start(move |_| Reply::Forward(url.clone()))
        .await
        .unwrap();
    let access = || Access {
        plain_http: true,
        ..Access::default()
    };
    let source: Source = format!("oci://{}/large:1", between.host()).parse().unwrap();
    let client = Client::new(access(), Limits::default()).unwrap();
    let digest = Digest::of(&bytes);
    let too_large = Problem::TooLarge {
        what: format!("the layer {digest}"),
        limit: 64 << 20,
    };
    assert_eq!(problem(&client, &source).await, too_large);
    assert_eq!(between.count("/blobs/"), 0);

    // Whoever wants more gets more.
    let limits = Limits {
        module: 100 << 20,
        ..Limits::default()
    };
    let client = Client::new(access(), limits).unwrap();
    let source = registry.source("large:1").unwrap();
    assert_eq!(fetch(&client, &source).await.unwrap().digest, digest);
}
