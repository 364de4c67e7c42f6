//! Signatures of cosign by key, checked offline: the bundle that version 3 writes, and the older form.

mod bundle;
mod key;
mod simple;

pub(crate) use bundle::{MEDIA_TYPE as BUNDLE, PREDICATE, PREDICATE_ANNOTATION};
pub use key::{InvalidKey, PublicKey};
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
    /// The key with this fingerprint signed what is there.
    Signed(Digest),
    /// A given key signed something else: what.
    Other(String),
    /// No given key made it. What it says of its key.
    OtherKey(Option<String>),
    /// It cannot be read: why.
    Unreadable(String),
    /// A statement about something else than that this may be used, such as a list of parts.
    Irrelevant,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Worth>);

impl Findings {
    /// The fingerprint, if this is what was looked for.
    pub(crate) fn add(&mut self, worth: Worth) -> Option<Digest> {
        match worth {
            Worth::Signed(fingerprint) => Some(fingerprint),
            worth => {
                self.0.push(worth);
                None
            }
        }
    }

    /// Why nothing of it is the signature of this digest: what is most worth knowing.
    pub(crate) fn problem(self, digest: Digest) -> Problem {
        let mut hints = Vec::new();
        let mut other_key = false;
        let mut unreadable = None;
        for worth in self.0 {
            match worth {
                Worth::Other(signed) => return Problem::Replaced { digest, signed },
                Worth::OtherKey(hint) => {
                    other_key = true;
                    let more = hints.len() < HINTS;
                    hints.extend(hint.filter(|hint| more && !hints.contains(hint)));
                }
                Worth::Unreadable(why) => unreadable = unreadable.or(Some(why)),
                Worth::Signed(_) | Worth::Irrelevant => {}
            }
        }
        match unreadable {
            _ if other_key => Problem::OtherKey { digest, hints },
            Some(why) => Problem::UnreadableSignature { digest, why },
            None => Problem::Unsigned { digest },
        }
    }
}

pub(crate) use bundle::{artifact as bundle_of_artifact, blob as bundle_of_blob};
pub(crate) use simple::artifact as simple_of_artifact;

/// The first key that verifies.
fn signer(keys: &[PublicKey], message: &[u8], signature: &[u8]) -> Option<Digest> {
    let verifies = |key: &&PublicKey| key.verifies(message, signature);
    keys.iter().find(verifies).map(PublicKey::fingerprint)
}

#[cfg(test)]
mod tests;
