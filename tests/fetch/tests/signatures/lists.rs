//! Where signatures are listed: by the registry, or under a tag.

use fetch::{Access, Client, Credentials, Limits, Problem, Source};
use fetch_tests::{Form, IMAGE, INDEX, Reply, StandIn};
use serde_json::{Value, json};

use crate::{World, by, digest, fetch, list_tag};

/// What the registry of the tests does not have: the list of referrers, here made of what cosign left
/// under the tag, one entry on a page. Everything else is the registry's.
async fn with_referrers(world: &World, tag: &str) -> StandIn {
    let list = world
        .registry
        .get_manifest("policies/steady", tag)
        .await
        .unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let entries = list["manifests"].as_array().unwrap().clone();
    let registry = world.registry.url();
    StandIn::start(move |seen| {
        if !seen.path.contains("/referrers/") {
            return Reply::Forward(registry.clone());
        }
        let page = seen
            .path
            .rsplit_once("&page=")
            .map_or(0, |(_, page)| page.parse().unwrap());
        let answer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entries[page]]});
        let mut headers = vec![("content-type", INDEX.to_owned())];
        if page + 1 < entries.len() {
            let path = seen.path.split("&page=").next().unwrap();
            headers.push(("link", format!("<{path}&page={}>; rel=\"next\"", page + 1)));
        }
        Reply::Answer(200, headers, answer.to_string().into_bytes())
    })
    .await
    .unwrap()
}

fn plain() -> Client {
    let access = Access {
        credentials: Credentials::default(),
        plain_http: true,
        ..Access::default()
    };
    Client::new(access, Limits::default()).unwrap()
}

#[tokio::test]
async fn a_registry_that_lists_referrers_is_asked_for_them() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    world.cosign.key("other").unwrap();
    let pushed = world.push("listed").await;
    for name in ["other", "cosign"] {
        world.cosign.sign(name, Form::Bundle, &pushed).unwrap();
    }
    let tag = list_tag(&pushed);
    let between = with_referrers(&world, &tag).await;
    let source: Source = format!("oci://{}/policies/steady:1.0", between.host())
        .parse()
        .unwrap();
    let module = fetch(&plain(), &source, &key).await.unwrap();
    assert_eq!(module.signer, by(&key));
    // Both pages, each once; and not the tag, since it was found before.
    let wanted = format!(
        "/referrers/{}?artifactType=application%2Fvnd.dev.sigstore.bundle.v0.3%2Bjson",
        digest(&pushed)
    );
    assert_eq!(between.count(&wanted), 2);
    assert_eq!(between.count(&format!("/manifests/{tag}")), 0);
}

/// Who has no key has nothing to send: the module is not read before the signature was.
#[tokio::test]
async fn nothing_unsigned_is_downloaded() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    world.push("unsigned").await;
    let registry = world.registry.url();
    let between = StandIn::start(move |_| Reply::Forward(registry.clone()))
        .await
        .unwrap();
    let source: Source = format!("oci://{}/policies/steady:1.0", between.host())
        .parse()
        .unwrap();
    let error = fetch(&plain(), &source, &key).await.unwrap_err();
    assert_eq!(error.problem.reason(), "Unsigned");
    assert_eq!(between.count("/blobs/"), 0);
    fetch(&plain(), &source, &[]).await.unwrap();
    assert_eq!(between.count("/blobs/"), 1);
}

/// Anybody who may push can leave something under these tags.
#[tokio::test]
async fn garbage_hides_no_signature_and_is_none() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    let pushed = world.push("beside garbage").await;
    let (registry, repository) = (&world.registry, "policies/steady");
    let tag = list_tag(&pushed);
    let entry = |digest: &fetch::Digest, size: usize| {
        json!({"mediaType": IMAGE, "digest": digest.to_string(), "size": size,
               "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"})
    };
    registry.put_blob(repository, b"{}").await.unwrap();
    let mut garbage = Vec::new();
    for text in [
        "",
        "{}",
        "{\"mediaType\": \"application/vnd.dev.sigstore.bundle.v0.3+json\"}",
    ] {
        registry
            .put_blob(repository, text.as_bytes())
            .await
            .unwrap();
        let layer = (
            "application/vnd.dev.sigstore.bundle.v0.3+json",
            text.as_bytes(),
        );
        let manifest =
            fetch_tests::manifest(("application/vnd.oci.empty.v1+json", b"{}"), &[layer]);
        let name = format!("garbage-{}", garbage.len());
        let digest = registry
            .put_manifest(repository, &name, IMAGE, &manifest)
            .await;
        garbage.push(entry(&digest.unwrap(), manifest.len()));
    }
    let list =
        |entries: &[Value]| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let text = list(&garbage).to_string();
    registry
        .put_manifest(repository, &tag, INDEX, text.as_bytes())
        .await
        .unwrap();
    let problem = world.problem(&key).await;
    assert!(
        matches!(&problem, Problem::UnreadableSignature { .. }),
        "{problem}"
    );
    assert!(
        problem
            .to_string()
            .contains("it is no bundle of sigstore: sign it again"),
        "{problem}"
    );

    // cosign adds its own to the list.
    world.cosign.sign("cosign", Form::Bundle, &pushed).unwrap();
    let signed = registry.get_manifest(repository, &tag).await.unwrap();
    let signed: Value = serde_json::from_slice(&signed).unwrap();
    assert_eq!(signed["manifests"].as_array().unwrap().len(), 4);
    world.fetch(&key).await.unwrap();

    // An image where the list should be, and a signature in the older form.
    let older = world.push("beside other garbage").await;
    let manifest = fetch_tests::manifest(("application/vnd.oci.empty.v1+json", b"{}"), &[]);
    registry
        .put_manifest(repository, &list_tag(&older), IMAGE, &manifest)
        .await
        .unwrap();
    world.cosign.sign("cosign", Form::Older, &older).unwrap();
    world.fetch(&key).await.unwrap();
}

#[tokio::test]
async fn of_an_index_the_whole_or_the_part_may_be_signed() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    for (text, whole) in [("whole", true), ("part", false)] {
        let part = world.push(text).await;
        let manifest = world
            .registry
            .get_manifest("policies/steady", "1.0")
            .await
            .unwrap();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": IMAGE, "digest": digest(&part).to_string(), "size": manifest.len(),
            "platform": {"os": "wasip2", "architecture": "wasm"},
        }]});
        let index = index.to_string().into_bytes();
        let found = world
            .registry
            .put_manifest("policies/steady", "1.0", INDEX, &index)
            .await;
        let found = part.at(found.unwrap());
        let unsigned = Problem::Unsigned {
            digest: digest(&found),
        };
        assert_eq!(world.problem(&key).await, unsigned);
        let signed = if whole { &found } else { &part };
        world.cosign.sign("cosign", Form::Bundle, signed).unwrap();
        assert_eq!(world.fetch(&key).await.unwrap().reference, Some(found));
    }
}
