//! What is in a registry beside policies.

use fetch::{Digest, Source};
use fetch_tests::{IMAGE, INDEX, Options, Registry, manifest};
use serde_json::{Value, json};

use crate::{component, fetch};

const CONFIG: (&str, &[u8]) = ("application/vnd.wasm.config.v0+json", b"{}");
const WASM: &str = "application/wasm";
const REPOSITORY: &str = "policies/steady";

/// Stores an artifact with these layers under a tag.
async fn store(registry: &Registry, tag: &str, layers: &[(&str, &[u8])]) -> (Digest, usize) {
    for bytes in layers.iter().map(|(_, bytes)| *bytes).chain([CONFIG.1]) {
        registry.put_blob(REPOSITORY, bytes).await.unwrap();
    }
    let manifest = manifest(CONFIG, layers);
    let digest = registry
        .put_manifest(REPOSITORY, tag, IMAGE, &manifest)
        .await;
    (digest.unwrap(), manifest.len())
}

fn source(registry: &Registry, tag: &str) -> Source {
    registry.source(&format!("{REPOSITORY}:{tag}")).unwrap()
}

#[tokio::test]
async fn a_module_is_known_by_the_media_type_of_its_only_layer() {
    let registry = Registry::start(Options::default()).unwrap();
    let client = registry.client(None).unwrap();
    let bytes = component("older");
    let older = "application/vnd.module.wasm.content.layer.v1+wasm";
    store(&registry, "older", &[(older, &bytes)]).await;
    let module = fetch(&client, &source(&registry, "older")).await.unwrap();
    assert_eq!(module.bytes, bytes);

    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
    for (tag, layers, reason, expected) in [
        (
            "image",
            vec![(tar, gzip.as_slice())],
            "NotAPolicy",
            "it is not a policy: its layer is application/vnd.oci.image.layer.v1.tar+gzip instead of application/wasm: \
             `host push` writes one as it should be",
        ),
        (
            "two",
            vec![(WASM, bytes.as_slice()), (WASM, b"other")],
            "NotAPolicy",
            "it is not a policy: it has 2 layers instead of one of application/wasm",
        ),
        (
            "compressed",
            vec![("application/wasm+gzip", gzip.as_slice())],
            "NotAPolicy",
            "its layer is application/wasm+gzip instead of application/wasm",
        ),
        (
            "secretly-compressed",
            vec![(WASM, gzip.as_slice())],
            "NotAComponent",
            "it is not a WebAssembly component: it is compressed: decompress it before it is stored",
        ),
        (
            "core",
            vec![(WASM, b"\0asm\x01\0\0\0".as_slice())],
            "NotAComponent",
            "it is a core module: `wasm-tools component new MODULE.wasm -o POLICY.wasm`",
        ),
        (
            "text",
            vec![(WASM, b"#!/bin/sh".as_slice())],
            "NotAComponent",
            "it does not begin as WebAssembly does",
        ),
    ] {
        store(&registry, tag, &layers).await;
        let error = fetch(&client, &source(&registry, tag)).await.unwrap_err();
        assert_eq!(error.problem.reason(), reason, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn of_an_index_the_entry_for_wasm_is_taken() {
    let registry = Registry::start(Options::default()).unwrap();
    let client = registry.client(None).unwrap();
    let bytes = component("of an index");
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let image = store(&registry, "image", &[(tar, b"tar")]).await;
    let wasm = store(&registry, "wasm", &[(WASM, &bytes)]).await;
    let entry = |(digest, size): (Digest, usize), os: &str, architecture: &str| {
        json!({
            "mediaType": IMAGE, "digest": digest.to_string(), "size": size,
            "platform": {"os": os, "architecture": architecture},
        })
    };
    let index = |entries: Value| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        index.to_string().into_bytes()
    };
    let both = index(json!([
        entry(image, "linux", "amd64"),
        entry(wasm, "wasip2", "wasm")
    ]));
    let digest = registry
        .put_manifest(REPOSITORY, "both", INDEX, &both)
        .await
        .unwrap();
    let module = fetch(&client, &source(&registry, "both")).await.unwrap();
    assert_eq!(module.bytes, bytes);
    // What was asked for is the index: its digest is the one to pin.
    let pinned = registry
        .reference(&format!("{REPOSITORY}@{digest}"))
        .unwrap();
    assert_eq!(module.reference, Some(pinned.clone()));
    assert_eq!(
        fetch(&client, &Source::Registry(pinned)).await.unwrap(),
        module
    );

    let images = index(json!([
        entry(image, "linux", "amd64"),
        entry(image, "linux", "arm64")
    ]));
    registry
        .put_manifest(REPOSITORY, "images", INDEX, &images)
        .await
        .unwrap();
    let error = fetch(&client, &source(&registry, "images"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("its index has none for wasm, but linux/amd64, linux/arm64"),
        "{error}"
    );

    let nested = json!([{"mediaType": INDEX, "digest": digest.to_string(), "size": both.len()}]);
    registry
        .put_manifest(REPOSITORY, "nested", INDEX, &index(nested))
        .await
        .unwrap();
    let error = fetch(&client, &source(&registry, "nested"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("its index leads to another index"),
        "{error}"
    );
}
