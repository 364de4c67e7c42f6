//! The bundle of version 0.3: an envelope (DSSE) with a statement (in-toto) about an artifact.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{PublicKey, Worth, signer};
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
struct Statement {
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

/// Does it sign one of these digests?
pub(crate) fn artifact(bundle: &[u8], digests: &[Digest], keys: &[PublicKey]) -> Worth {
    judge(bundle, digests, keys).unwrap_or_else(|why| Worth::Unreadable(why.to_owned()))
}

fn judge(bundle: &[u8], digests: &[Digest], keys: &[PublicKey]) -> Result<Worth, &'static str> {
    let bundle = read(bundle)?;
    let Some(envelope) = bundle.dsse_envelope else {
        return Err("its bundle has no envelope");
    };
    let payload = decode(&envelope.payload)?;
    if envelope.payload_type != STATEMENT {
        return Ok(Worth::Irrelevant);
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|_| "what was signed is no statement")?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE {
        return Ok(Worth::Irrelevant);
    }
    let message = encoded(&envelope.payload_type, &payload);
    let mut key = None;
    for Signature { sig } in &envelope.signatures {
        key = key.or(signer(keys, &message, &decode(sig)?));
    }
    let Some(key) = key else {
        return bundle.verification_material.other_key(keys, |key| {
            if key.is_ed25519() {
                // Version 3.1 of cosign itself does not accept what it writes with such a key.
                "it names a given Ed25519 key, and cosign signs artifacts with such keys in a form (Ed25519ph) that \
                 is not checked; use an ECDSA key"
            } else {
                "it names a given key, which did not make it"
            }
        });
    };
    let mut signed = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.sha256.as_deref());
    let is_meant = |hex: &str| digests.iter().any(|digest| digest.hex() == hex);
    Ok(if signed.clone().any(is_meant) {
        Worth::Signed(key)
    } else {
        let other = signed.next().map(|hex| plain(&format!("sha256:{hex}")));
        Worth::Other(other.unwrap_or_else(|| "nothing".to_owned()))
    })
}

/// Does it sign these bytes?
pub(crate) fn blob(bundle: &[u8], bytes: &[u8], keys: &[PublicKey]) -> Worth {
    let judge = || {
        let bundle = read(bundle)?;
        let Some(MessageSignature {
            message_digest: MessageDigest { algorithm, digest },
            signature,
        }) = bundle.message_signature
        else {
            return Err("its bundle has no signature of a file");
        };
        if let Some(key) = signer(keys, bytes, &decode(&signature)?) {
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
        bundle.verification_material.other_key(keys, |_| changed)
    };
    judge().unwrap_or_else(|why: &str| Worth::Unreadable(why.to_owned()))
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
        keys: &[PublicKey],
        named: impl Fn(&PublicKey) -> &'static str,
    ) -> Result<Worth, &'static str> {
        let hint = self.public_key.as_ref().map(|key| key.hint.as_str());
        let shown = hint.map(|hint| fingerprint(hint).unwrap_or_else(|| plain(hint)));
        let is_named = |key: &&PublicKey| shown == Some(key.fingerprint().to_string());
        match keys.iter().find(is_named) {
            None => Ok(Worth::OtherKey(shown)),
            Some(key) => Err(named(key)),
        }
    }
}

/// A digest in base64, as we write digests.
fn fingerprint(base64: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes.len() == 32).then(|| format!("sha256:{hex}"))
}

/// What is signed: the pre-authentication encoding of DSSE.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}
