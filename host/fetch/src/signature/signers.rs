//! Who may sign, and who did.

use std::fmt;
use std::sync::Arc;

use super::key::PublicKey;
use super::keyless::Root;
use crate::digest::Digest;

/// Who may have signed: any of them suffices. The default: nobody has to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signers<'a> {
    /// Who has the private half of one of these.
    pub keys: &'a [PublicKey],
    /// Who can prove to be somebody.
    pub keyless: Option<&'a Keyless>,
}

impl<'a> Signers<'a> {
    /// Those who have one of these keys. Where there are none, nobody has to sign.
    pub fn keys(keys: &'a [PublicKey]) -> Self {
        Self {
            keys,
            keyless: None,
        }
    }

    /// Must it be signed at all?
    pub(crate) fn are_wanted(&self) -> bool {
        !self.keys.is_empty() || self.keyless.is_some()
    }
}

/// Who may sign without a key: one of these identities, as a certificate says that leads to this root. With no
/// identity nobody may.
#[derive(Debug, Clone)]
pub struct Keyless {
    /// Any of them.
    pub identities: Vec<Identity>,
    /// Whose certificates, logs and timestamps are believed.
    pub root: TrustedRoot,
}

/// Whose certificates, logs and timestamps are believed: what `cosign trusted-root create` writes. What it lists has
/// to be shown: where it lists transparency logs a signature must be in one of them, and where it lists logs of
/// certificates its certificate must be.
#[derive(Clone)]
pub struct TrustedRoot(Arc<Root>);

/// A trust root cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrustedRoot {
    /// Something else.
    #[error("it is no trust root, as `cosign trusted-root create` writes one: {0}")]
    Unreadable(String),
    /// Nobody gives certificates.
    #[error(
        "it lists no certificate authority, so that nobody could have signed: `cosign trusted-root create --fulcio=…` \
         writes one that does"
    )]
    NoAuthority,
    /// Nobody says when.
    #[error(
        "it lists neither a timestamp authority nor a transparency log, and without a time no certificate is believed: \
         `cosign trusted-root create --tsa=…` or `--rekor=…` adds one"
    )]
    NoTime,
    /// Not in this program.
    #[error("this program was built without its feature `keyless`: use keys, or another build")]
    NotBuilt,
}

impl TrustedRoot {
    /// From the file, which is JSON.
    ///
    /// # Errors
    ///
    /// It is no trust root, or nothing could ever be believed by it.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidTrustedRoot> {
        Ok(Self(Arc::new(Root::from_json(json)?)))
    }

    pub(super) fn root(&self) -> &Root {
        &self.0
    }
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedRoot")
    }
}

/// Somebody who an issuer of identity tokens (OIDC) knows. Both texts are compared exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    issuer: String,
    identity: String,
}

/// Texts that are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} {text:?} cannot be one: it is the whole text as the certificate has it, such as {example}, without spaces; \
     patterns are not matched"
)]
pub struct InvalidIdentity {
    what: &'static str,
    text: String,
    example: &'static str,
}

impl Identity {
    /// Issuer of the tokens, such as `https://token.actions.githubusercontent.com`, and the e-mail address or URI
    /// that the certificate is for.
    ///
    /// # Errors
    ///
    /// One of them is empty, or has a space in it.
    pub fn new(issuer: &str, identity: &str) -> Result<Self, InvalidIdentity> {
        let exact = |what, text: &str, example| {
            let is_one = !text.is_empty()
                && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
            let text = text.to_owned();
            if is_one {
                Ok(text)
            } else {
                Err(InvalidIdentity {
                    what,
                    text,
                    example,
                })
            }
        };
        Ok(Self {
            issuer: exact("issuer", issuer, "https://accounts.google.com")?,
            identity: exact("identity", identity, "release@example.com")?,
        })
    }

    /// Who says so.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who it is.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (issuer {})", self.identity, self.issuer)
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// Who has the key with this fingerprint.
    Key(Digest),
    /// One of the identities.
    Identity(Identity),
}

/// The fingerprint of a key, or the identity with its issuer: no two signers have the same text.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => fingerprint.fmt(f),
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}
