//! Signed tokens, RFC 7519.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Who signs them.
pub(crate) struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    pub(crate) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random);
        let document = document.ok().context("no key")?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Ok(Self(key.ok().context("no key")?))
    }

    /// The set of keys to verify with, RFC 7517.
    pub(crate) fn public(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "test", "alg": "ES256",
            "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({"typ": "JWT", "alg": "ES256", "kid": "test"}));
        let message = format!("{head}.{}", part(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Some(format!("{message}.{signature}"))
    }
}

/// In seconds, as tokens have it.
pub(crate) fn now() -> Option<u64> {
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs())
}
