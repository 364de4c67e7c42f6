//! The keys of those who may sign.

use std::fmt;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::digest::Digest;

/// A public key that signatures are checked with: ECDSA on P-256 or P-384, Ed25519, or RSA from 2048
/// bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// As ring wants it: a point, or an RSAPublicKey.
    bytes: Vec<u8>,
    fingerprint: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No key in it.
    #[error(
        "it is no public key: it is a PEM block between -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----, \
         as `cosign generate-key-pair` writes into cosign.pub"
    )]
    NotPem,
    /// The secret half.
    #[error(
        "it is a private key, which belongs to who signs and to nobody else: give the public key, cosign.pub; \
         `cosign public-key --key cosign.key` prints it"
    )]
    Private,
    /// A block that is damaged.
    #[error("it is damaged: write it again from where it came")]
    Damaged,
    /// A kind of key that is not checked here.
    #[error(
        "keys of this kind ({0}) are not checked: give one of ECDSA on P-256 or P-384, Ed25519, or RSA with 2048 bits \
         or more"
    )]
    Unsupported(String),
}

impl PublicKey {
    /// All keys of a PEM file, of which there must be one at least. Who signs with any of them has signed.
    ///
    /// # Errors
    ///
    /// One of them cannot be used.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, InvalidKey> {
        let blocks = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
        let blocks: Result<Vec<_>, _> = blocks.collect();
        // A kind of block that is not known is not in the list, such as cosign's private key.
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
            return Err(InvalidKey::Private);
        }
        let blocks = blocks.map_err(|_| InvalidKey::Damaged)?;
        let keys = blocks
            .into_iter()
            .filter(|(kind, _)| *kind == SectionKind::PublicKey)
            .map(|(_, der)| Self::from_der(&der))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(InvalidKey::NotPem);
        }
        Ok(keys)
    }

    /// A SubjectPublicKeyInfo, RFC 5280, section 4.1.
    fn from_der(der: &[u8]) -> Result<Self, InvalidKey> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| InvalidKey::Damaged)?;
        if !rest.is_empty() {
            return Err(InvalidKey::Damaged);
        }
        let unsupported = |what: &str| Err(InvalidKey::Unsupported(what.to_owned()));
        let algorithm = &info.algorithm.algorithm;
        let kind = if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = info.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.as_oid().ok());
            match curve.ok_or(InvalidKey::Damaged)? {
                curve if curve == OID_EC_P256 => Kind::P256,
                curve if curve == OID_NIST_EC_P384 => Kind::P384,
                curve => return unsupported(&format!("ECDSA on curve {curve}")),
            }
        } else if *algorithm == OID_SIG_ED25519 {
            Kind::Ed25519
        } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
            match info.parsed() {
                Ok(Parsed::RSA(key)) if key.key_size() >= 2048 => Kind::Rsa,
                Ok(Parsed::RSA(key)) => {
                    return unsupported(&format!("RSA with {} bits", key.key_size()));
                }
                _ => return Err(InvalidKey::Damaged),
            }
        } else {
            return unsupported(&algorithm.to_string());
        };
        Ok(Self {
            kind,
            bytes: info.subject_public_key.data.into_owned(),
            fingerprint: Digest::of(der),
        })
    }

    /// Which key it is: the digest of its DER form, as `openssl pkey -pubin -outform DER | sha256sum`
    /// has it.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    pub(crate) fn is_ed25519(&self) -> bool {
        self.kind == Kind::Ed25519
    }

    /// Is this the signature of this message by this key?
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithms: &[&dyn VerificationAlgorithm] = match self.kind {
            Kind::P256 => &[&ECDSA_P256_SHA256_ASN1],
            // Older versions of cosign hash with SHA-256, whatever the curve.
            Kind::P384 => &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1],
            Kind::Ed25519 => &[&ED25519],
            Kind::Rsa => &[&RSA_PKCS1_2048_8192_SHA256],
        };
        algorithms.iter().any(|algorithm| {
            let key = UnparsedPublicKey::new(*algorithm, &self.bytes);
            key.verify(message, signature).is_ok()
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint)
    }
}
