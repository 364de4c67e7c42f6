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
struct MessageSignature {
    signature: String,
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
        return bundle.verification_material.other_key(keys);
    };
    let mut signed = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.sha256.as_deref());
    let is_meant = |hex: &str| digests.iter().any(|digest| digest.hex() == hex);
    Ok(if signed.clone().any(is_meant) {
        Worth::Signed(key)
    } else {
        let other = signed.next().unwrap_or("nothing");
        Worth::Other(plain(&format!("sha256:{other}")))
    })
}

/// Does it sign these bytes?
pub(crate) fn blob(bundle: &[u8], bytes: &[u8], keys: &[PublicKey]) -> Worth {
    let judge = || {
        let bundle = read(bundle)?;
        let Some(MessageSignature { signature }) = bundle.message_signature else {
            return Err("its bundle has no signature of a file");
        };
        match signer(keys, bytes, &decode(&signature)?) {
            Some(key) => Ok(Worth::Signed(key)),
            None => bundle.verification_material.other_key(keys),
        }
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
    /// No given key made it.
    fn other_key(&self, keys: &[PublicKey]) -> Result<Worth, &'static str> {
        let hint = self.fingerprint();
        let is_named = |key: &&PublicKey| hint == Some(key.fingerprint().to_string());
        match keys.iter().find(is_named) {
            None => Ok(Worth::OtherKey(hint)),
            // Version 3.1 of cosign itself does not accept what it writes with such a key.
            Some(key) if key.is_ed25519() => Err(
                "it names a given Ed25519 key, and cosign signs artifacts with such keys in a form (Ed25519ph) that \
                 is not checked; use an ECDSA key",
            ),
            Some(_) => Err("it names a given key, which did not make it"),
        }
    }

    /// What it says of the key, in the form in which we show keys.
    fn fingerprint(&self) -> Option<String> {
        let hint = &self.public_key.as_ref()?.hint;
        Some(match BASE64_STANDARD.decode(hint) {
            Ok(bytes) if bytes.len() == 32 => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha256:{hex}")
            }
            _ => plain(hint),
        })
    }
}

/// What is signed: the pre-authentication encoding of DSSE.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}
