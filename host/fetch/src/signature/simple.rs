//! The older form: a layer with a small document about the artifact, the signature in an annotation.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{Signers, Worth, signer};
use crate::digest::Digest;
use crate::web::plain;

/// Of the layer.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Of the layer, with the signature in base64.
pub(crate) const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Does it sign one of these digests?
pub(crate) fn artifact(
    payload: &[u8],
    signature: &str,
    digests: &[Digest],
    signers: Signers<'_>,
) -> Worth {
    let Ok(signature) = BASE64_STANDARD.decode(signature.trim()) else {
        return Worth::Unreadable("it is not base64".to_owned());
    };
    let Some(key) = signer(signers.keys, payload, &signature) else {
        if signers.keyless.is_some() && signers.keys.is_empty() {
            let why = "it is in the older form, which is checked by key only, and only identities may sign: sign with \
                       cosign 3, without --new-bundle-format=false";
            return Worth::NotTrusted(why.to_owned());
        }
        return Worth::OtherKey(None);
    };
    let Ok(Payload { critical }) = serde_json::from_slice(payload) else {
        return Worth::Unreadable("what was signed is no document of cosign".to_owned());
    };
    if critical.kind != TYPE {
        return Worth::Irrelevant;
    }
    let signed = critical.image.digest;
    if digests.iter().any(|digest| digest.to_string() == signed) {
        Worth::Signed(key)
    } else {
        Worth::Other(plain(&signed))
    }
}
