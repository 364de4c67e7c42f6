//! Modules outside of registries: a bundle of `cosign sign-blob` lies beside them.

use std::fs;

use fetch::{Access, Client, Limits, Problem, Source};
use fetch_tests::{Reply, StandIn};

use crate::{World, by, component, fetch};

#[tokio::test]
async fn a_file_is_signed_by_the_bundle_beside_it() {
    let world = World::new();
    let [key, other] = ["cosign", "other"].map(|name| world.cosign.key(name).unwrap());
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ed25519 = world
        .cosign
        .import("ed25519", &ed25519.serialize_pem())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("steady.wasm");
    let bytes = component("a file");
    fs::write(&file, &bytes).unwrap();
    let source = Source::File(file.clone());
    let problem = async |keys| {
        fetch(&world.client, &source, keys)
            .await
            .unwrap_err()
            .problem
    };
    let digest = fetch::Digest::of(&bytes);
    assert_eq!(problem(&key).await, Problem::Unsigned { digest });

    for (name, keys) in [("cosign", &key), ("ed25519", &ed25519)] {
        let bundle = world.cosign.sign_file(name, &file).unwrap();
        let module = fetch(&world.client, &source, keys).await.unwrap();
        assert_eq!((module.bytes, module.digest), (bytes.clone(), digest));
        assert_eq!(module.signer, by(keys));
        assert_eq!(problem(&other).await.reason(), "SignedByOtherKey");
        // The same by http, the bundle beside it.
        let (served, beside) = (bytes.clone(), fs::read(bundle).unwrap());
        let server = StandIn::start(move |seen| match seen.path.as_str() {
            "/steady.wasm?v=1" => Reply::Answer(200, Vec::new(), served.clone()),
            "/steady.wasm.sigstore.json?v=1" => Reply::Answer(200, Vec::new(), beside.clone()),
            _ => Reply::status(404, ""),
        });
        let server = server.await.unwrap();
        let access = Access {
            plain_http: true,
            ..Access::default()
        };
        let client = Client::new(access, Limits::default()).unwrap();
        let url = format!("{}/steady.wasm?v=1", server.url()).parse().unwrap();
        let module = fetch(&client, &url, keys).await.unwrap();
        assert_eq!(module.signer, by(keys));
    }

    // With the older bundle beside it: the one of the last key names no digest.
    let changed = component("another");
    fs::write(&file, &changed).unwrap();
    let problem_of_last = problem(&ed25519).await.to_string();
    assert!(
        problem_of_last.contains("which did not sign this file: it or the file was changed"),
        "{problem_of_last}"
    );
    fs::write(&file, &bytes).unwrap();
    world.cosign.sign_file("cosign", &file).unwrap();
    fs::write(&file, &changed).unwrap();
    let replaced = Problem::Replaced {
        digest: fetch::Digest::of(&changed),
        signed: digest.to_string(),
    };
    assert_eq!(problem(&key).await, replaced);
}

#[tokio::test]
async fn a_file_that_is_no_module_is_named() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text"), "#!/bin/sh").unwrap();
    fs::write(path("large"), vec![0; (64 << 20) + 1]).unwrap();
    for (name, reason, expected) in [
        (
            "missing",
            "NotFound",
            ": there is no such file on this machine: correct the path",
        ),
        (
            "",
            "UnreadableFile",
            ": it is no file: name the module itself",
        ),
        (
            "text",
            "NotAComponent",
            "it does not begin as WebAssembly does",
        ),
        (
            "large",
            "TooLarge",
            ": the file is larger than the 64 MiB that it may have: make it smaller",
        ),
    ] {
        let source = Source::File(path(name));
        let error = fetch(&world.client, &source, &[]).await.unwrap_err();
        assert_eq!(error.problem.reason(), reason, "{error}");
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
        let path = source.to_string();
        assert_eq!(error.matches(&path).count(), 1, "{error}");
    }
}
