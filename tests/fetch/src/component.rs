//! What is fetched.

use serde_json::json;

/// A component that says nothing but this text: a custom section.
pub fn component(text: &str) -> Vec<u8> {
    let name = text.as_bytes();
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX).min(100);
    let mut bytes = vec![0, b'a', b's', b'm', 0x0d, 0, 1, 0, 0, length + 1, length];
    bytes.extend(name.iter().take(usize::from(length)));
    bytes
}

/// An image manifest with these layers: media type, digest, size.
pub fn manifest(config: (&str, &[u8]), layers: &[(&str, &[u8])]) -> Vec<u8> {
    let describe = |(media_type, bytes): &(&str, &[u8])| {
        json!({
            "mediaType": media_type,
            "digest": fetch::Digest::of(bytes).to_string(),
            "size": bytes.len(),
        })
    };
    let layers: Vec<_> = layers.iter().map(describe).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe(&config),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}
