//! Signatures of cosign, checked offline: the bundle that version 3 writes, by key or by certificate, and the older
//! form by key.

mod bundle;
mod key;
#[cfg(feature = "keyless")]
mod keyless;
#[cfg(not(feature = "keyless"))]
#[path = "signature/no_keyless.rs"]
mod keyless;
mod signers;
mod simple;

pub(crate) use bundle::{MEDIA_TYPE as BUNDLE, PREDICATE, PREDICATE_ANNOTATION};
pub use key::{InvalidKey, PublicKey};
pub use signers::{
    Identity, InvalidIdentity, InvalidTrustedRoot, Keyless, Signer, Signers, TrustedRoot,
};
pub(crate) use simple::{ANNOTATION as SIMPLE_SIGNATURE, MEDIA_TYPE as SIMPLE};

use crate::digest::Digest;
use crate::error::Problem;

/// What the name of a file's bundle ends in, beside the file.
pub(crate) const ENDING: &str = ".sigstore.json";

/// How many keys a message names.
const HINTS: usize = 4;

/// What something that is said to be a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Worth {
    /// This is who signed what is there.
    Signed(Signer),
    /// Who may sign signed something else: what.
    Other(String),
    /// No given key made it. What it says of its key.
    OtherKey(Option<String>),
    /// Somebody made it who can prove to be somebody, and is none of those who may.
    #[cfg_attr(not(feature = "keyless"), expect(dead_code, reason = "nobody can"))]
    OtherIdentity {
        identity: String,
        issuer: String,
        /// Who would have to say so, where this identity is one of those who may.
        wanted: Option<String>,
    },
    /// Its certificate is not believed: the rest of a sentence about it.
    NotTrusted(String),
    /// It cannot be read: why.
    Unreadable(String),
    /// A statement about something else than that this may be used, such as a list of parts.
    Irrelevant,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Worth>);

impl Findings {
    /// Who signed, if this is what was looked for.
    pub(crate) fn add(&mut self, worth: Worth) -> Option<Signer> {
        match worth {
            Worth::Signed(signer) => Some(signer),
            worth => {
                self.0.push(worth);
                None
            }
        }
    }

    /// Why nothing of it is the signature of this digest: what is most worth knowing.
    pub(crate) fn problem(self, digest: Digest) -> Problem {
        let mut hints = Vec::new();
        let (mut other_identity, mut other_key) = (None, false);
        let (mut not_trusted, mut unreadable) = (None, None);
        for worth in self.0 {
            match worth {
                Worth::Other(signed) => return Problem::Replaced { digest, signed },
                Worth::OtherIdentity {
                    identity,
                    issuer,
                    wanted,
                } => other_identity = other_identity.or(Some((identity, issuer, wanted))),
                Worth::OtherKey(hint) => {
                    other_key = true;
                    let more = hints.len() < HINTS;
                    hints.extend(hint.filter(|hint| more && !hints.contains(hint)));
                }
                Worth::NotTrusted(why) => not_trusted = not_trusted.or(Some(why)),
                Worth::Unreadable(why) => unreadable = unreadable.or(Some(why)),
                Worth::Signed(_) | Worth::Irrelevant => {}
            }
        }
        match (other_identity, not_trusted, unreadable) {
            (Some((identity, issuer, None)), _, _) => Problem::OtherIdentity {
                digest,
                identity,
                issuer,
            },
            (Some((identity, issuer, Some(wanted))), _, _) => Problem::OtherIssuer {
                digest,
                identity,
                issuer,
                wanted,
            },
            (None, Some(why), _) => Problem::NotTrusted { digest, why },
            _ if other_key => Problem::OtherKey { digest, hints },
            (None, None, Some(why)) => Problem::UnreadableSignature { digest, why },
            (None, None, None) => Problem::Unsigned { digest },
        }
    }
}

pub(crate) use bundle::{artifact as bundle_of_artifact, blob as bundle_of_blob};
pub(crate) use simple::artifact as simple_of_artifact;

/// The first key that verifies.
fn signer(keys: &[PublicKey], message: &[u8], signature: &[u8]) -> Option<Signer> {
    let verifies = |key: &&PublicKey| key.verifies(message, signature);
    let key = keys.iter().find(verifies)?;
    Some(Signer::Key(key.fingerprint()))
}

#[cfg(test)]
mod tests;
