//! Signatures without a key, by the real Fulcio and the real timestamp authority.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fetch::{
    Digest, FetchError, Identity, Keyless, Module, Problem, Reference, Signer, Signers, TrustedRoot,
};
use fetch_tests::{Form, IMAGE, INDEX, Sigstore};
use serde_json::{Value, json};

use crate::{World, by, digest, fetch_by, list_tag};

fn root(sigstore: &Sigstore) -> Value {
    serde_json::from_slice(&fs::read(sigstore.trusted_root()).unwrap()).unwrap()
}

fn keyless(root: &Value, issuer: &str, account: &str) -> Keyless {
    Keyless {
        identities: vec![Identity::new(issuer, &Sigstore::identity(account)).unwrap()],
        root: TrustedRoot::from_json(root.to_string().as_bytes()).unwrap(),
    }
}

fn of(keyless: &Keyless) -> Signers<'_> {
    Signers {
        keys: &[],
        keyless: Some(keyless),
    }
}

impl World {
    async fn fetch_by(&self, signers: Signers<'_>) -> Result<Module, FetchError> {
        let tag = self.registry.source("policies/steady:1.0").unwrap();
        fetch_by(&self.client, &tag, signers).await
    }

    async fn sentence(&self, signers: Signers<'_>) -> String {
        self.fetch_by(signers)
            .await
            .unwrap_err()
            .problem
            .to_string()
    }

    /// The only signature that is listed of an artifact.
    async fn bundle(&self, of: &Reference) -> Value {
        let list = self.json(&list_tag(of)).await;
        let entry = list["manifests"][0]["digest"].as_str().unwrap();
        let image = self.json(entry).await;
        let digest: Digest = image["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        serde_json::from_slice(&fs::read(self.registry.file(&digest)).unwrap()).unwrap()
    }

    async fn json(&self, name: &str) -> Value {
        let manifest = self.registry.get_manifest("policies/steady", name).await;
        serde_json::from_slice(&manifest.unwrap()).unwrap()
    }

    /// Lists this one in its place.
    async fn put_bundle(&self, of: &Reference, bundle: &Value) {
        let (registry, repository) = (&self.registry, "policies/steady");
        let (kind, empty) = ("application/vnd.dev.sigstore.bundle.v0.3+json", b"{}");
        let bundle = bundle.to_string();
        for blob in [empty, bundle.as_bytes()] {
            registry.put_blob(repository, blob).await.unwrap();
        }
        let empty = ("application/vnd.oci.empty.v1+json", empty.as_slice());
        let manifest = fetch_tests::manifest(empty, &[(kind, bundle.as_bytes())]);
        let stored = registry.put_manifest(repository, "forged", IMAGE, &manifest);
        let entry = json!({"mediaType": IMAGE, "digest": stored.await.unwrap().to_string(),
                           "size": manifest.len(), "artifactType": kind});
        let list =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string();
        let tag = list_tag(of);
        let stored = registry.put_manifest(repository, &tag, INDEX, list.as_bytes());
        stored.await.unwrap();
    }
}

#[tokio::test]
async fn who_signed_an_artifact_is_proved_without_a_key() {
    let world = World::new();
    let sigstore = Sigstore::start().unwrap();
    let (root, issuer) = (root(&sigstore), sigstore.issuer());
    let release = keyless(&root, &issuer, "release");
    let key = world.cosign.key("cosign").unwrap();
    let pushed = world.push("signed").await;
    let signed = digest(&pushed);
    let unsigned = format!("{signed} must be signed, and is not");
    assert!(world.sentence(of(&release)).await.starts_with(&unsigned));
    for form in [Form::Bundle, Form::Older] {
        world.cosign.sign("cosign", form, &pushed).unwrap();
    }
    let by_key = format!("the signature of {signed} is not believed: it was made with a key");
    assert!(world.sentence(of(&release)).await.starts_with(&by_key));
    // Where the key may sign as well, it suffices.
    let both = Signers {
        keys: &key,
        keyless: Some(&release),
    };
    assert_eq!(world.fetch_by(both).await.unwrap().signer, by(&key));

    let pushed = world.push("signed without a key").await;
    let signed = digest(&pushed);
    world.cosign.sign_as(&sigstore, "release", &pushed).unwrap();
    for signers in [of(&release), both] {
        let module = world.fetch_by(signers).await.unwrap();
        let who = Signer::Identity(release.identities[0].clone());
        assert_eq!(module.signer, Some(who));
        assert_eq!(module.reference.as_ref(), Some(&pushed));
    }
    let who = Sigstore::identity("release");
    let sentence = world.sentence(of(&keyless(&root, &issuer, "other"))).await;
    let expected = format!(
        "{signed} is signed by {who} (issuer {issuer}), who is none of those that may sign: name this identity if it \
         may, or have it signed by one that may"
    );
    assert_eq!(sentence, expected);
    let elsewhere = "https://issuer.example.com";
    let sentence = world
        .sentence(of(&keyless(&root, elsewhere, "release")))
        .await;
    let expected = format!(
        "{signed} is signed by {who}, as issuer {issuer} says, and issuer {elsewhere} would have to say so: name that \
         issuer if it may, or have it signed with a token of the one that may"
    );
    assert_eq!(sentence, expected);
    let problem = world.problem(&key).await;
    assert_eq!(problem.reason(), "SignedByOtherKey");

    // With the certificate of somebody else as that of the authority.
    let mut other_root = root.clone();
    other_root["certificateAuthorities"][0]["certChain"] =
        root["timestampAuthorities"][0]["certChain"].clone();
    let other = keyless(&other_root, &issuer, "release");
    let sentence = world.sentence(of(&other)).await;
    assert!(
        sentence.contains("no authority of the trust root has given its certificate"),
        "{sentence}"
    );

    // What somebody can write there who can sign nothing.
    let bundle = world.bundle(&pushed).await;
    let mut timeless = bundle.clone();
    let material = timeless["verificationMaterial"].as_object_mut().unwrap();
    material.remove("timestampVerificationData");
    world.put_bundle(&pushed, &timeless).await;
    let sentence = world.sentence(of(&release)).await;
    assert!(sentence.contains("says when it was made"), "{sentence}");
    let moved = world.push("moved").await;
    world.put_bundle(&moved, &bundle).await;
    let replaced = Problem::Replaced {
        digest: digest(&moved),
        signed: signed.to_string(),
    };
    let found = world.fetch_by(of(&release)).await.unwrap_err().problem;
    assert_eq!(found, replaced);
    let mut forged = bundle;
    let payload = &mut forged["dsseEnvelope"]["payload"];
    let statement = BASE64_STANDARD.decode(payload.as_str().unwrap()).unwrap();
    let statement = String::from_utf8(statement).unwrap();
    let statement = statement.replace(&signed.hex(), &digest(&moved).hex());
    *payload = json!(BASE64_STANDARD.encode(statement));
    world.put_bundle(&moved, &forged).await;
    let sentence = world.sentence(of(&release)).await;
    assert!(
        sentence.contains("it was not made with the key of its certificate"),
        "{sentence}"
    );
}
