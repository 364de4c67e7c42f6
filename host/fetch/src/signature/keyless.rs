//! Signatures without a key: a certificate says who signed. The library of the Sigstore project verifies it,
//! offline, against a trust root; here is what is asked of it, and what its answers mean.

mod crypto;

use std::fmt;

use sigstore_verify::bundle::Error as Shape;
use sigstore_verify::trust_root;
use sigstore_verify::types::{Artifact, Bundle, Sha256Hash, SignatureContent};
use sigstore_verify::{
    CertificateError, Error, TimestampError, VerificationPolicy, VerificationResult, Verifier,
};

use super::Worth;
use super::bundle::{hex, statement};
use super::signers::{InvalidTrustedRoot, Keyless, Signer};
use crate::digest::Digest;
use crate::web::plain;

/// A trust root, made ready.
pub(super) struct Root {
    verifier: Verifier,
    /// Everything but who it is.
    policy: VerificationPolicy,
}

impl Root {
    pub(super) fn from_json(json: &[u8]) -> Result<Self, InvalidTrustedRoot> {
        crypto::install();
        let text = std::str::from_utf8(json).map_err(unreadable)?;
        let root = trust_root::TrustedRoot::from_json(text).map_err(unreadable)?;
        if root.certificate_authorities.is_empty() {
            return Err(InvalidTrustedRoot::NoAuthority);
        }
        if root.tlogs.is_empty() && root.timestamp_authorities.is_empty() {
            return Err(InvalidTrustedRoot::NoTime);
        }
        // What it lists has to be shown. A time has to be in any case: the library never takes that of now.
        let mut policy = VerificationPolicy::any_identity();
        if root.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        if root.ctlogs.is_empty() {
            policy = policy.skip_sct();
        }
        let verifier = Verifier::new(&root).map_err(unreadable)?;
        Ok(Self { verifier, policy })
    }
}

fn unreadable(why: impl fmt::Display) -> InvalidTrustedRoot {
    InvalidTrustedRoot::Unreadable(plain(&why.to_string()))
}

/// Does it sign one of these digests?
pub(super) fn artifact(
    bundle: &[u8],
    digests: &[Digest],
    keyless: &Keyless,
) -> Result<Worth, String> {
    let bundle = read(bundle)?;
    // As the library reads it, so that what is looked at here is what it verifies.
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err("its bundle has no envelope".to_owned());
    };
    let Some(statement) = statement(&envelope.payload_type, envelope.payload.as_bytes())? else {
        return Ok(Worth::Irrelevant);
    };
    let meant = digests.iter().find(|digest| statement.is_about(digest));
    let Some(digest) = meant.or(digests.first()) else {
        return Err("there is nothing to verify".to_owned());
    };
    let digest = Sha256Hash::from_hex(&digest.hex()).map_err(|error| error.to_string())?;
    let Root { verifier, policy } = keyless.root.root();
    let found = verifier.verify(digest, &bundle, policy);
    judge(found, keyless, || statement.first())
}

/// Does it sign these bytes?
pub(super) fn blob(bundle: &[u8], bytes: &[u8], keyless: &Keyless) -> Result<Worth, String> {
    let bundle = read(bundle)?;
    let SignatureContent::MessageSignature(signature) = &bundle.content else {
        return Err("its bundle has no signature of a file".to_owned());
    };
    let Root { verifier, policy } = keyless.root.root();
    let found = crypto::about(bytes, || {
        verifier.verify(Artifact::Blob(bytes), &bundle, policy)
    });
    judge(found, keyless, || match &signature.message_digest {
        Some(signed) => format!("sha256:{}", hex(signed.digest.as_bytes())),
        None => "something else".to_owned(),
    })
}

/// It is known to be of version 0.3: earlier ones may have the promise of a log in the place of its proof.
fn read(bundle: &[u8]) -> Result<Bundle, String> {
    let no_bundle = |why: String| format!("it is no bundle of sigstore: {}", plain(&why));
    let text = std::str::from_utf8(bundle).map_err(|error| no_bundle(error.to_string()))?;
    Bundle::from_json(text).map_err(|error| no_bundle(error.to_string()))
}

/// What the library found, with who it is. `signed`: what was signed, if it is something else.
fn judge(
    found: Result<VerificationResult, Error>,
    keyless: &Keyless,
    signed: impl FnOnce() -> String,
) -> Result<Worth, String> {
    let found = match found {
        Ok(found) => found,
        Err(Error::ArtifactMismatch(_)) => return Ok(Worth::Other(signed())),
        Err(error) => return refusal(error).map(Worth::NotTrusted),
    };
    let identity = found.identity().map_or("nobody", |name| name.as_str());
    let issuer = found.issuer().unwrap_or("nobody");
    let identities = keyless.identities.iter();
    let mut of_this_name = identities.filter(|one| one.identity() == identity);
    let first = of_this_name.clone().next();
    // That its certificate was verified is the policy's matter; all else rests on it, so it is asked again.
    match of_this_name.find(|one| one.issuer() == issuer) {
        Some(one) if found.certificate_verified() => {
            Ok(Worth::Signed(Signer::Identity(one.clone())))
        }
        _ => Ok(Worth::OtherIdentity {
            identity: plain(identity),
            issuer: plain(issuer),
            wanted: first.map(|one| one.issuer().to_owned()),
        }),
    }
}

/// Why it is not believed, as the rest of a sentence about the signature; or why it cannot be read.
fn refusal(error: Error) -> Result<String, String> {
    Ok(match error {
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => {
            "nothing that the trust root lists says when it was made, and its certificate is good for some minutes \
             only: sign with a timestamp authority or a log of the trust root"
                .to_owned()
        }
        Error::Timestamp(error) => format!(
            "its timestamp is not one that an authority of the trust root made for it ({}): sign with a timestamp \
             authority of the trust root",
            plain(&error.to_string())
        ),
        Error::Certificate(CertificateError::Sct(why)) => format!(
            "its certificate is in no log of certificates that the trust root lists ({}): get it from an authority \
             that writes there",
            plain(&why)
        ),
        Error::Certificate(CertificateError::Malformed(why)) => return Err(plain(&why)),
        Error::Certificate(error) => format!(
            "no authority of the trust root has given its certificate, for signing and for the time when it was \
             made ({}): sign with a certificate of one that it lists",
            plain(&error.to_string())
        ),
        Error::TransparencyLog(_)
        | Error::Bundle(
            Shape::MissingInclusionProof(_)
            | Shape::MissingCheckpoint
            | Shape::LogIndexOutOfRange { .. }
            | Shape::CheckpointRootMismatch,
        ) => format!(
            "it is in no transparency log that the trust root lists ({}): sign with one of those logs",
            plain(&error.to_string())
        ),
        Error::Bundle(Shape::MissingSigningTimeEvidence) => {
            return refusal(TimestampError::NoVerifiedTimestamp(String::new()).into());
        }
        Error::SignatureInvalid(_) => {
            "it was not made with the key of its certificate: it, or what it signs, was changed".to_owned()
        }
        error => return Err(plain(&error.to_string())),
    })
}

#[cfg(test)]
mod tests;
