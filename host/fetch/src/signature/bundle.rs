//! The bundle of version 0.3: an envelope (DSSE) with a statement (in-toto) about an artifact.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Keyless, PublicKey, Signers, Worth, keyless, signer};
use crate::digest::Digest;
use crate::web::plain;

pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What a statement says that is a signature, and nothing else.
pub(crate) const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Says it before the bundle is read.
pub(crate) const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<Hint>,
    certificate: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    #[serde(default)]
    message_digest: MessageDigest,
    signature: String,
}

/// Empty where the key signs the whole.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
}

impl Statement {
    pub(super) fn is_about(&self, digest: &Digest) -> bool {
        self.signed().any(|hex| digest.hex() == hex)
    }

    /// What is signed, as a message names it.
    pub(super) fn first(&self) -> String {
        let first = self.signed().next();
        first.map_or_else(
            || "nothing".to_owned(),
            |hex| plain(&format!("sha256:{hex}")),
        )
    }

    fn signed(&self) -> impl Iterator<Item = &str> {
        let subjects = self.subject.iter();
        subjects.filter_map(|subject| subject.digest.sha256.as_deref())
    }
}

/// What a payload states, where that is a signature.
pub(super) fn statement(kind: &str, payload: &[u8]) -> Result<Option<Statement>, &'static str> {
    if kind != STATEMENT {
        return Ok(None);
    }
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|_| "what was signed is no statement")?;
    let is_one = statement.kind == STATEMENT_TYPE && statement.predicate_type == PREDICATE;
    Ok(is_one.then_some(statement))
}

/// Does it sign one of these digests?
pub(crate) fn artifact(bundle: &[u8], digests: &[Digest], signers: Signers<'_>) -> Worth {
    judge(bundle, digests, signers).unwrap_or_else(Worth::Unreadable)
}

fn judge(text: &[u8], digests: &[Digest], signers: Signers<'_>) -> Result<Worth, String> {
    let bundle = read(text)?;
    if let Some(keyless) = bundle.keyless(signers) {
        return keyless::artifact(text, digests, keyless);
    }
    let Some(envelope) = bundle.dsse_envelope else {
        return Err("its bundle has no envelope".to_owned());
    };
    let payload = decode(&envelope.payload)?;
    let Some(statement) = statement(&envelope.payload_type, &payload)? else {
        return Ok(Worth::Irrelevant);
    };
    let message = encoded(&envelope.payload_type, &payload);
    let mut key = None;
    for Signature { sig } in &envelope.signatures {
        key = key.or(signer(signers.keys, &message, &decode(sig)?));
    }
    let Some(key) = key else {
        return bundle.verification_material.other_key(signers, |key| {
            if key.is_ed25519() {
                // Version 3.1 of cosign itself does not accept what it writes with such a key.
                "it names a given Ed25519 key, and cosign signs artifacts with such keys in a form (Ed25519ph) that \
                 is not checked; use an ECDSA key"
            } else {
                "it names a given key, which did not make it"
            }
        });
    };
    Ok(if digests.iter().any(|digest| statement.is_about(digest)) {
        Worth::Signed(key)
    } else {
        Worth::Other(statement.first())
    })
}

/// Does it sign these bytes?
pub(crate) fn blob(text: &[u8], bytes: &[u8], signers: Signers<'_>) -> Worth {
    let judge = || {
        let bundle = read(text)?;
        if let Some(keyless) = bundle.keyless(signers) {
            return keyless::blob(text, bytes, keyless);
        }
        let Some(MessageSignature {
            message_digest: MessageDigest { algorithm, digest },
            signature,
        }) = bundle.message_signature
        else {
            return Err("its bundle has no signature of a file".to_owned());
        };
        if let Some(key) = signer(signers.keys, bytes, &decode(&signature)?) {
            return Ok(Worth::Signed(key));
        }
        // No proof, and not needed: it is not this file's in any case.
        if algorithm == "SHA2_256"
            && let Some(signed) = fingerprint(&digest)
            && signed != Digest::of(bytes).to_string()
        {
            return Ok(Worth::Other(signed));
        }
        let changed =
            "it names a given key, which did not sign this file: it or the file was changed";
        bundle.verification_material.other_key(signers, |_| changed)
    };
    judge().unwrap_or_else(Worth::Unreadable)
}

impl Bundle {
    /// Whose identities count, where it is one with a certificate.
    fn keyless<'a>(&self, signers: Signers<'a>) -> Option<&'a Keyless> {
        self.verification_material.certificate.as_ref()?;
        signers.keyless
    }
}

fn read(bundle: &[u8]) -> Result<Bundle, &'static str> {
    let bundle: Bundle =
        serde_json::from_slice(bundle).map_err(|_| "it is no bundle of sigstore")?;
    if bundle.media_type == MEDIA_TYPE {
        Ok(bundle)
    } else {
        Err("it is a bundle of another version than 0.3")
    }
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    BASE64_STANDARD.decode(text).map_err(|_| "it is not base64")
}

impl Material {
    /// No given key made it; unless it says so.
    fn other_key(
        &self,
        signers: Signers<'_>,
        named: impl Fn(&PublicKey) -> &'static str,
    ) -> Result<Worth, String> {
        let hint = self.public_key.as_ref().map(|key| key.hint.as_str());
        let shown = hint.map(|hint| fingerprint(hint).unwrap_or_else(|| plain(hint)));
        let is_named = |key: &&PublicKey| shown == Some(key.fingerprint().to_string());
        match signers.keys.iter().find(is_named) {
            None if signers.keyless.is_some() && signers.keys.is_empty() => Ok(Worth::NotTrusted(
                "it was made with a key, and only identities may sign: give the key too, or sign without one"
                    .to_owned(),
            )),
            None => Ok(Worth::OtherKey(shown)),
            Some(key) => Err(named(key).to_owned()),
        }
    }
}

/// A digest in base64, as we write digests.
fn fingerprint(base64: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    (bytes.len() == 32).then(|| format!("sha256:{}", hex(&bytes)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is signed: the pre-authentication encoding of DSSE.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}
