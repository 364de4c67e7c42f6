//! A signature of the public instance of Sigstore, which cosign 3 made in December 2025: with a certificate of ten
//! minutes, an entry of Rekor, a signed timestamp and the receipt of a log of certificates. It is a test file of
//! the library.

use serde_json::{Value, json};
use sigstore_verify::trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT,
};

use super::super::{Identity, Signers, TrustedRoot, bundle_of_blob};
use super::*;

const BUNDLE: &[u8] = include_bytes!("../../../testdata/public-good.sigstore.json");
const FILE: &[u8] = include_bytes!("../../../testdata/public-good.txt");
const ISSUER: &str = "https://github.com/login/oauth";
const IDENTITY: &str = "w.vollprecht@gmail.com";

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn root() -> Value {
    json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
}

fn judged_of(bundle: &Value, file: &[u8], root: &Value, identities: &[(&str, &str)]) -> Worth {
    let identity = |(issuer, identity): &(&str, &str)| Identity::new(issuer, identity).unwrap();
    let keyless = Keyless {
        identities: identities.iter().map(identity).collect(),
        root: TrustedRoot::from_json(root.to_string().as_bytes()).unwrap(),
    };
    let signers = Signers {
        keys: &[],
        keyless: Some(&keyless),
    };
    bundle_of_blob(bundle.to_string().as_bytes(), file, signers)
}

fn judged(bundle: &Value, root: &Value) -> Worth {
    judged_of(bundle, FILE, root, &[(ISSUER, IDENTITY)])
}

/// Its certificate has expired long ago: it counts that it was good when the signature was made.
#[test]
fn who_signed_is_who_the_certificate_names() {
    let (bundle, root) = (json(BUNDLE), root());
    let judged = |identities: &[(&str, &str)]| judged_of(&bundle, FILE, &root, identities);
    let elsewhere = ("https://accounts.google.com", IDENTITY);
    let somebody = (ISSUER, "somebody@example.com");
    let signer = Signer::Identity(Identity::new(ISSUER, IDENTITY).unwrap());
    let both = [somebody, elsewhere, (ISSUER, IDENTITY)];
    assert_eq!(judged(&both), Worth::Signed(signer));

    let other = |wanted: Option<&str>| Worth::OtherIdentity {
        identity: IDENTITY.to_owned(),
        issuer: ISSUER.to_owned(),
        wanted: wanted.map(str::to_owned),
    };
    assert_eq!(judged(&[somebody]), other(None));
    assert_eq!(judged(&[elsewhere]), other(Some(elsewhere.0)));
    // Not one of each, no part, and no pattern.
    assert_eq!(judged(&[somebody, elsewhere]), other(Some(elsewhere.0)));
    assert_eq!(judged(&[(ISSUER, "vollprecht@gmail.com")]), other(None));
    assert_eq!(judged(&[(ISSUER, ".*")]), other(None));
    assert_eq!(judged(&[]), other(None));

    let changed = judged_of(&bundle, b"changed", &root, &[(ISSUER, IDENTITY)]);
    assert_eq!(changed, Worth::Other(Digest::of(FILE).to_string()));
}

fn without(text: &Value, pointers: &[&str]) -> Value {
    let mut text = text.clone();
    for pointer in pointers {
        *text.pointer_mut(pointer).unwrap() = json!([]);
    }
    text
}

const LOG: &str = "/verificationMaterial/tlogEntries";
const TIME: &str = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";

#[test]
fn what_the_trust_root_lists_has_to_be_shown() {
    let (bundle, root) = (json(BUNDLE), root());
    let staging = json(SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes());
    let of_staging = |list: &str| {
        let mut root = root.clone();
        root[list] = staging[list].clone();
        root
    };
    let mut forged = bundle.clone();
    *forged
        .pointer_mut(&format!("{LOG}/0/inclusionProof/hashes/0"))
        .unwrap() = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let mut promised = bundle.clone();
    let entry = promised.pointer_mut(&format!("{LOG}/0")).unwrap();
    entry.as_object_mut().unwrap().remove("inclusionProof");
    // The log says when it was made, so that it is the signature itself that is looked at.
    let mut resigned = without(&bundle, &[TIME]);
    resigned["messageSignature"]["signature"] = json!(
        "MEUCIQDfvJ0PYwPGDpIBlI1yPHnXjqWNLWMDOCkV5tvLTUTgQgIgLbrcVYhwhaJJfUOJlMXl9bTZnxnhc9iYJlOCSzw1Ktc="
    );
    let mut renamed = bundle.clone();
    renamed["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");

    for (bundle, root, why) in [
        (
            &bundle,
            of_staging("certificateAuthorities"),
            "no authority of the trust root has given its certificate",
        ),
        (
            &bundle,
            of_staging("timestampAuthorities"),
            "its timestamp is not one that an authority of the trust root made for it",
        ),
        (
            &bundle,
            of_staging("ctlogs"),
            "its certificate is in no log of certificates that the trust root lists",
        ),
        (
            &bundle,
            of_staging("tlogs"),
            "it is in no transparency log that the trust root lists",
        ),
        (
            &resigned,
            root.clone(),
            "it was not made with the key of its certificate",
        ),
        (&forged, root.clone(), "it is in no transparency log"),
        (&promised, root.clone(), "it is in no transparency log"),
        (
            &without(&bundle, &[LOG]),
            root.clone(),
            "it is in no transparency log",
        ),
        (
            &without(&bundle, &[LOG, TIME]),
            without(&root, &["/tlogs"]),
            "nothing that the trust root lists says when it was made",
        ),
    ] {
        let worth = judged(bundle, &root);
        assert!(
            matches!(&worth, Worth::NotTrusted(text) if text.starts_with(why)),
            "{why}: {worth:?}"
        );
    }
    let worth = judged(&renamed, &root);
    assert!(
        matches!(&worth, Worth::Unreadable(text) if text.contains("another version than 0.3")),
        "{worth:?}"
    );

    // The time is that of the log, or of the authority; where the root lists no log, none is asked for.
    for (bundle, root) in [
        (&without(&bundle, &[TIME]), root.clone()),
        (&without(&bundle, &[LOG]), without(&root, &["/tlogs"])),
        (&bundle, without(&root, &["/ctlogs"])),
    ] {
        let worth = judged(bundle, &root);
        assert!(matches!(worth, Worth::Signed(_)), "{worth:?}");
    }
}

#[test]
fn a_trust_root_that_nothing_could_be_verified_with_is_refused() {
    let refused = |root: &Value| {
        let root = root.to_string();
        TrustedRoot::from_json(root.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let root = root();
    for (root, why) in [
        (json!([]), "it is no trust root"),
        (
            without(&root, &["/certificateAuthorities"]),
            "it lists no certificate authority",
        ),
        (
            without(&root, &["/tlogs", "/timestampAuthorities"]),
            "it lists neither a timestamp authority nor a transparency log",
        ),
        (
            without(&root, &["/certificateAuthorities/0/certChain/certificates"]),
            "empty certificate chain",
        ),
    ] {
        let refused = refused(&root);
        assert!(refused.contains(why), "{refused}");
    }
    for (issuer, identity) in [
        ("", IDENTITY),
        (ISSUER, ""),
        (ISSUER, "a b"),
        ("a\n", IDENTITY),
    ] {
        let error = Identity::new(issuer, identity).unwrap_err().to_string();
        assert!(error.contains("patterns are not matched"), "{error}");
    }
}
