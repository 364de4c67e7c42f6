//! What no test against the real cosign can show: forged signatures, and keys that it does not make.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

/// The beginning of a public key on P-256, before the point: RFC 5480.
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
const STATEMENT: &str = "application/vnd.in-toto+json";

struct Author {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Author {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { pair, random }
    }

    fn keys(&self) -> Vec<PublicKey> {
        let mut der = BASE64_STANDARD.decode(P256).unwrap();
        der.pop();
        der.extend_from_slice(self.pair.public_key().as_ref());
        PublicKey::from_pem(pem(&der).as_bytes()).unwrap()
    }

    fn sign(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.pair.sign(&self.random, message).unwrap())
    }

    /// A bundle with this statement, signed as being of this type.
    fn bundle(&self, kind: &str, statement: &Value) -> Value {
        let payload = statement.to_string();
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "somebody"}},
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{"sig": self.sign(message.as_bytes())}],
            },
        })
    }
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn statement(digests: &[Digest]) -> Value {
    let subject = |digest: &Digest| json!({"digest": {"sha256": digest.hex()}});
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": digests.iter().map(subject).collect::<Vec<_>>(),
        "predicateType": PREDICATE,
        "predicate": {},
    })
}

fn judged(bundle: &Value, digest: Digest, keys: &[PublicKey]) -> Worth {
    bundle_of_artifact(
        bundle.to_string().as_bytes(),
        &[digest],
        Signers::keys(keys),
    )
}

#[test]
fn a_bundle_signs_its_subjects_and_nothing_else() {
    let signer = Author::new();
    let keys = signer.keys();
    let key = Signer::Key(keys[0].fingerprint());
    let [one, two, three] = ["one", "two", "three"].map(|text| Digest::of(text.as_bytes()));
    let bundle = signer.bundle(STATEMENT, &statement(&[one, two]));
    assert_eq!(judged(&bundle, one, &keys), Worth::Signed(key.clone()));
    assert_eq!(judged(&bundle, two, &keys), Worth::Signed(key));
    assert_eq!(judged(&bundle, three, &keys), Worth::Other(one.to_string()));
    let none = signer.bundle(STATEMENT, &statement(&[]));
    assert_eq!(
        judged(&none, one, &keys),
        Worth::Other("nothing".to_owned())
    );
    let hint = Some("somebody".to_owned());
    assert_eq!(
        judged(&bundle, one, &Author::new().keys()),
        Worth::OtherKey(hint.clone())
    );
    assert_eq!(judged(&bundle, one, &[]), Worth::OtherKey(hint));
}

#[test]
fn every_part_of_a_bundle_is_covered_by_the_signature() {
    let signer = Author::new();
    let keys = signer.keys();
    let [signed, wanted] = ["signed", "wanted"].map(|text| Digest::of(text.as_bytes()));
    let sound = signer.bundle(STATEMENT, &statement(&[signed]));
    let other = BASE64_STANDARD.encode(statement(&[wanted]).to_string());

    let mut forged = sound.clone();
    forged["dsseEnvelope"]["payload"] = json!(other);
    assert!(matches!(judged(&forged, wanted, &keys), Worth::OtherKey(_)));
    // A signature of the payload alone is none: its type is part of what is signed.
    let mut bare = forged.clone();
    let payload = statement(&[wanted]).to_string();
    bare["dsseEnvelope"]["signatures"] = json!([{"sig": signer.sign(payload.as_bytes())}]);
    assert!(matches!(judged(&bare, wanted, &keys), Worth::OtherKey(_)));
    // Nor is a statement signed as something else.
    let mut renamed = signer.bundle("text/plain", &statement(&[wanted]));
    assert_eq!(judged(&renamed, wanted, &keys), Worth::Irrelevant);
    renamed["dsseEnvelope"]["payloadType"] = json!(STATEMENT);
    assert!(matches!(
        judged(&renamed, wanted, &keys),
        Worth::OtherKey(_)
    ));

    for (field, value) in [
        ("predicateType", "https://slsa.dev/provenance/v1"),
        ("_type", "https://in-toto.io/Statement/v2"),
    ] {
        let mut said = statement(&[wanted]);
        said[field] = json!(value);
        let bundle = signer.bundle(STATEMENT, &said);
        assert_eq!(judged(&bundle, wanted, &keys), Worth::Irrelevant);
    }
    for (path, value, why) in [
        (
            "/mediaType",
            "application/vnd.dev.sigstore.bundle.v0.4+json",
            "another version",
        ),
        ("/dsseEnvelope/payload", "!", "not base64"),
        ("/dsseEnvelope/signatures/0/sig", "!", "not base64"),
        ("/dsseEnvelope", "", "no bundle of sigstore"),
    ] {
        let mut damaged = sound.clone();
        *damaged.pointer_mut(path).unwrap() = json!(value);
        let worth = judged(&damaged, signed, &keys);
        assert!(
            matches!(&worth, Worth::Unreadable(text) if text.contains(why)),
            "{worth:?}"
        );
    }
    let mut without = sound;
    without.as_object_mut().unwrap().remove("dsseEnvelope");
    assert!(matches!(
        judged(&without, signed, &keys),
        Worth::Unreadable(_)
    ));
}

#[test]
fn an_older_signature_is_of_a_document_of_cosign() {
    let signer = Author::new();
    let keys = signer.keys();
    let digest = Digest::of(b"signed");
    let document = |kind: &str, digest: Digest| {
        let image = json!({"docker-manifest-digest": digest.to_string()});
        json!({"critical": {"image": image, "type": kind}, "optional": null}).to_string()
    };
    let judged = |payload: &str, signed: &str| {
        let signature = signer.sign(signed.as_bytes());
        simple_of_artifact(
            payload.as_bytes(),
            &signature,
            &[digest],
            Signers::keys(&keys),
        )
    };
    let own = "cosign container image signature";
    let sound = document(own, digest);
    let key = Signer::Key(keys[0].fingerprint());
    assert_eq!(judged(&sound, &sound), Worth::Signed(key));
    let other = document(own, Digest::of(b"other"));
    assert_eq!(
        judged(&other, &other),
        Worth::Other(Digest::of(b"other").to_string())
    );
    assert_eq!(judged(&sound, &other), Worth::OtherKey(None));
    let kind = document("atomic container signature", digest);
    assert_eq!(judged(&kind, &kind), Worth::Irrelevant);
    assert!(matches!(judged("{}", "{}"), Worth::Unreadable(_)));
    let worth = simple_of_artifact(sound.as_bytes(), "!", &[digest], Signers::keys(&keys));
    assert!(matches!(worth, Worth::Unreadable(_)), "{worth:?}");
}

/// What cosign wrote with a key of 2048 bits.
#[test]
fn a_signature_by_an_rsa_key_is_checked() {
    let keys = PublicKey::from_pem(include_bytes!("../../testdata/rsa.pub")).unwrap();
    let bundle = include_bytes!("../../testdata/rsa.sigstore.json");
    assert_eq!(
        bundle_of_blob(bundle, b"blob\n", Signers::keys(&keys)),
        Worth::Signed(Signer::Key(keys[0].fingerprint()))
    );
    let other = bundle_of_blob(bundle, b"other\n", Signers::keys(&keys));
    assert_eq!(other, Worth::Other(Digest::of(b"blob\n").to_string()));
}

const P521: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBxyyuzugxs+waVbvXj6ZnAe0vvkCE
2cBdCTvYRhYW6LJMX7Q/IP2gSb056VNkOOY30Ve6tIwyMmS1TKVLDA1b49IBvLF3
RlELJahB051gkqCpOgYBpY9zn7Od8xYbKtxYtgBaC7T4b0bMS1psx7o8xp9p/1dx
LJE9Y6tGkkO0tKKi6lU=
-----END PUBLIC KEY-----
";
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCx4ghA1t4mOBpNuZlf5x8kN61T
CCoUuAcZItbik3rnJzMh5tIlC/SP1I3cog+x0VCpY81Ptmjf0/m+K0u7PAZsh2TI
jRen5hKgfXwAEHx3A+19LkydpckVhT6u9Ffgyedjm7fmlzYH1E6wCDYmIaRNnhhR
O7MFy4wZA6QCAyaPswIDAQAB
-----END PUBLIC KEY-----
";
const P256_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXunFkKPMbu2y/EN4P9Ke0OgmbuTh
Fu2B6fi39GZJ7Jl1FAMy84+mBmVNSe0ix9uUqY4/uFbjZpxi1d+lnKErRQ==
-----END PUBLIC KEY-----
";

#[test]
fn a_file_of_keys_is_all_good_or_refused() {
    let both = format!("# who may sign\n{P256_KEY}\n{P256_KEY}");
    let keys = PublicKey::from_pem(both.as_bytes()).unwrap();
    assert_eq!(keys.len(), 2);
    // As openssl has it.
    let expected = "sha256:6163424e5dce0c06dadb2ee17c934dfff78d2ce765198b972bcbf37a273eb3dd";
    assert_eq!(keys[0].fingerprint().to_string(), expected);

    let longer =
        BASE64_STANDARD.encode([BASE64_STANDARD.decode(P256).unwrap(), vec![0; 70]].concat());
    let private = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    for (pem, expected) in [
        (String::new(), "it is no public key: it is a PEM block"),
        ("cosign.pub".to_owned(), "it is no public key"),
        (private("CERTIFICATE"), "it is no public key"),
        (
            private("PRIVATE KEY"),
            "it is a private key, which belongs to who signs",
        ),
        (
            private("ENCRYPTED SIGSTORE PRIVATE KEY"),
            "it is a private key",
        ),
        (
            format!("{P256_KEY}{}", private("EC PRIVATE KEY")),
            "it is a private key",
        ),
        (private("PUBLIC KEY"), "it is damaged"),
        (P256_KEY.replace("Fu2B", "F!2B"), "it is damaged"),
        (
            P256_KEY.replace("-----END PUBLIC KEY-----", ""),
            "it is damaged",
        ),
        (
            pem(&BASE64_STANDARD.decode(longer).unwrap()),
            "it is damaged",
        ),
        (
            P521.to_owned(),
            "keys of this kind (ECDSA on curve 1.3.132.0.35) are not checked: give one of",
        ),
        (
            RSA_1024.to_owned(),
            "keys of this kind (RSA with 1024 bits)",
        ),
        (format!("{P256_KEY}{P521}"), "on curve 1.3.132.0.35"),
    ] {
        let error = PublicKey::from_pem(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{pem}: {error}");
    }
}

#[test]
fn what_is_most_worth_knowing_is_said() {
    let digest = Digest::of(b"x");
    let reason = |worths: &[Worth]| {
        let mut findings = Findings::default();
        for worth in worths {
            assert_eq!(findings.add(worth.clone()), None);
        }
        findings.problem(digest).reason()
    };
    let other = Worth::Other("y".to_owned());
    let unreadable = Worth::Unreadable("z".to_owned());
    let other_key = Worth::OtherKey(None);
    assert_eq!(reason(&[]), "Unsigned");
    assert_eq!(reason(&[Worth::Irrelevant]), "Unsigned");
    assert_eq!(
        reason(&[Worth::Irrelevant, unreadable.clone()]),
        "UnreadableSignature"
    );
    assert_eq!(
        reason(&[unreadable.clone(), other_key.clone()]),
        "SignedByOtherKey"
    );
    assert_eq!(
        reason(&[unreadable, other_key, other]),
        "ReplacedAfterSigning"
    );
}
