//! What somebody can do who may write into the registry, and has no key.

use fetch::Problem;
use fetch_tests::{Form, IMAGE, INDEX};

use crate::{World, digest, list_tag};

#[tokio::test]
async fn a_tag_that_was_moved_names_nothing_signed() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    let signed = world.push("signed").await;
    world.cosign.sign("cosign", Form::Bundle, &signed).unwrap();
    world.fetch(&key).await.unwrap();
    let moved = world.push("moved").await;
    let problem = world.problem(&key).await;
    let expected = format!(
        "{} must be signed, and is not; if it was once, it has been replaced since: sign it again if it is what you want",
        digest(&moved)
    );
    assert_eq!(problem.to_string(), expected);
    assert_eq!(problem.reason(), "Unsigned");
}

#[tokio::test]
async fn a_signature_does_not_move_with_the_tag() {
    for form in [Form::Bundle, Form::Older] {
        let world = World::new();
        let key = world.cosign.key("cosign").unwrap();
        let signed = world.push("signed").await;
        world.cosign.sign("cosign", form, &signed).unwrap();
        let moved = world.push("moved").await;
        let (ending, media_type) = match form {
            Form::Bundle => ("", INDEX),
            Form::Older => (".sig", IMAGE),
        };
        let (from, to) = (list_tag(&signed) + ending, list_tag(&moved) + ending);
        let copied = world
            .registry
            .get_manifest("policies/steady", &from)
            .await
            .unwrap();
        world
            .registry
            .put_manifest("policies/steady", &to, media_type, &copied)
            .await
            .unwrap();
        let problem = world.problem(&key).await;
        let expected = Problem::Replaced {
            digest: digest(&moved),
            signed: digest(&signed).to_string(),
        };
        assert_eq!(problem, expected);
        let sentence = format!(
            "{} was replaced after signing: its signature is one of {}",
            digest(&moved),
            digest(&signed)
        );
        assert_eq!(problem.to_string(), sentence);
        // By its own digest, what was signed is still what it was.
        let source = fetch::Source::Registry(signed);
        crate::fetch(&world.client, &source, &key).await.unwrap();
    }
}

/// A list of parts, or the report of a scanner, is signed with the same keys.
#[tokio::test]
async fn a_statement_about_something_else_is_no_signature() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    let pushed = world.push("described").await;
    world.cosign.attest("cosign", &pushed).unwrap();
    assert_eq!(world.problem(&key).await.reason(), "Unsigned");
    world.cosign.sign("cosign", Form::Bundle, &pushed).unwrap();
    world.fetch(&key).await.unwrap();
}

/// The annotation that says so first may be missing, or lie.
#[tokio::test]
async fn what_a_statement_says_is_read_in_the_statement() {
    let world = World::new();
    let key = world.cosign.key("cosign").unwrap();
    let pushed = world.push("described").await;
    world.cosign.attest("cosign", &pushed).unwrap();
    let tag = list_tag(&pushed);
    let list = world
        .registry
        .get_manifest("policies/steady", &tag)
        .await
        .unwrap();
    let mut list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    for lie in [None, Some("https://sigstore.dev/cosign/sign/v1")] {
        list["manifests"][0]["annotations"] = match lie {
            Some(lie) => serde_json::json!({"dev.sigstore.bundle.predicateType": lie}),
            None => serde_json::json!({}),
        };
        let text = list.to_string();
        let stored = world
            .registry
            .put_manifest("policies/steady", &tag, INDEX, text.as_bytes());
        stored.await.unwrap();
        assert_eq!(world.problem(&key).await.reason(), "Unsigned");
    }
}
