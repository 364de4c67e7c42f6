//! Manifests, and which part of them is the module.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, InvalidDigest};
use crate::error::Problem;

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The configuration that the Wasm working group has agreed on.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM: &str = "application/wasm";
/// What a module's layer was called before there was an agreement.
const OLDER_WASM: [&str; 2] = [
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];
/// The longest text of a manifest that is repeated in a message.
const SHOWN: usize = 100;

/// A manifest, as far as it is needed.
#[derive(Debug)]
pub(crate) enum Manifest {
    /// Layers.
    Image(Image),
    /// Other manifests.
    Index(Vec<Descriptor>),
}

/// An image is what a registry calls an artifact of any kind.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Descriptor>,
}

/// What describes bytes in a registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Descriptor {
    /// Of these bytes.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: None,
            platform: None,
        }
    }

    pub(crate) fn digest(&self) -> Result<Digest, Problem> {
        self.digest
            .parse()
            .map_err(|error: InvalidDigest| Problem::OtherArtifact {
                why: format!("in its manifest, {}", shown(&error.to_string())),
            })
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

impl Manifest {
    /// From what a registry sent, with the media type that it sent it as. Why not is a short sentence.
    pub(crate) fn parse(bytes: &[u8], sent_as: Option<&str>) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "its manifest cannot be read ({})",
                shown(&error.to_string())
            )
        })?;
        if raw.schema_version != Some(2) {
            return Err("its manifest is not of schema version 2".to_owned());
        }
        // Who signs and who runs must not see two things in one document.
        let sent_as = sent_as
            .and_then(|sent| sent.split(';').next())
            .map(str::trim);
        if let (Some(own), Some(sent)) = (&raw.media_type, sent_as)
            && own != sent
        {
            let (own, sent) = (shown(own), shown(sent));
            return Err(format!("its manifest is {own} and was sent as {sent}"));
        }
        match (raw.layers, raw.manifests) {
            (Some(layers), None) => Ok(Self::Image(Image { layers })),
            (None, Some(manifests)) => Ok(Self::Index(manifests)),
            (Some(_), Some(_)) => Err("its manifest has both layers and manifests".to_owned()),
            (None, None) => Err("its manifest has neither layers nor manifests".to_owned()),
        }
    }
}

impl Image {
    /// The only layer of a module. A layer that is compressed is none: nothing is decompressed.
    pub(crate) fn module(&self) -> Result<&Descriptor, Problem> {
        let is_wasm = |layer: &Descriptor| {
            let media_type = layer.media_type.as_str();
            media_type == WASM || OLDER_WASM.contains(&media_type)
        };
        let why = match self.layers.as_slice() {
            [layer] if is_wasm(layer) => return Ok(layer),
            [] => "it has no layer".to_owned(),
            [layer] => {
                let media_type = shown(&layer.media_type);
                format!("its layer is {media_type} instead of {WASM}")
            }
            layers => format!("it has {} layers instead of one of {WASM}", layers.len()),
        };
        Err(Problem::OtherArtifact { why })
    }
}

/// The entry of an index that has the module: the one for wasm, or the only one.
pub(crate) fn entry(entries: &[Descriptor]) -> Result<&Descriptor, Problem> {
    let is_wasm = |entry: &&Descriptor| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.architecture == "wasm")
    };
    let wasm: Vec<_> = entries.iter().filter(is_wasm).collect();
    let why = match (wasm.as_slice(), entries) {
        ([entry], _) => return Ok(entry),
        ([], [entry]) => return Ok(entry),
        (_, []) => "its index is empty".to_owned(),
        ([], entries) => {
            let platforms: Vec<_> = entries.iter().map(platform).take(8).collect();
            format!("its index has none for wasm, but {}", platforms.join(", "))
        }
        (wasm, _) => format!(
            "its index has {} for wasm, and nothing says which",
            wasm.len()
        ),
    };
    Err(Problem::OtherArtifact { why })
}

fn platform(entry: &Descriptor) -> String {
    match &entry.platform {
        Some(Platform { architecture, os }) => format!("{}/{}", shown(os), shown(architecture)),
        None => "one without a platform".to_owned(),
    }
}

fn shown(text: &str) -> String {
    let text = crate::web::plain(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "without a media type".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(more: &str) -> String {
        format!(r#"{{"digest": "{DIGEST}", "size": 7, {more}}}"#)
    }

    fn image(layers: &[&str]) -> Result<Descriptor, String> {
        let layers: Vec<_> = layers
            .iter()
            .map(|media_type| descriptor(&format!(r#""mediaType": "{media_type}""#)))
            .collect();
        let text = format!(
            r#"{{"schemaVersion": 2, "layers": [{}]}}"#,
            layers.join(",")
        );
        match Manifest::parse(text.as_bytes(), None)? {
            Manifest::Image(image) => image.module().cloned().map_err(|error| error.to_string()),
            Manifest::Index(_) => Err("an index".to_owned()),
        }
    }

    fn index(platforms: &[&str]) -> Result<Option<String>, String> {
        let entries: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(number, platform)| {
                let annotations = format!(r#""annotations": {{"number": "{number}"}}"#);
                match platform.split_once('/') {
                    Some((os, architecture)) => descriptor(&format!(
                        r#"{annotations}, "platform": {{"os": "{os}", "architecture": "{architecture}"}}"#
                    )),
                    None => descriptor(&annotations),
                }
            })
            .collect();
        let text = format!(
            r#"{{"schemaVersion": 2, "manifests": [{}]}}"#,
            entries.join(",")
        );
        match Manifest::parse(text.as_bytes(), None)? {
            Manifest::Index(entries) => entry(&entries)
                .map(|entry| entry.annotation("number").map(str::to_owned))
                .map_err(|error| error.to_string()),
            Manifest::Image(_) => Err("an image".to_owned()),
        }
    }

    #[test]
    fn the_module_is_the_only_layer_and_says_so() {
        for media_type in [WASM, OLDER_WASM[0], OLDER_WASM[1]] {
            assert_eq!(image(&[media_type]).unwrap().media_type, media_type);
        }
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (layers, problem) in [
            (vec![], "it has no layer"),
            (
                vec![gzip],
                "its layer is application/vnd.oci.image.layer.v1.tar+gzip instead of application/wasm",
            ),
            (
                vec!["application/wasm+gzip"],
                "its layer is application/wasm+gzip instead",
            ),
            (vec![""], "its layer is without a media type instead"),
            (vec![WASM, WASM], "it has 2 layers instead of one"),
        ] {
            let error = image(&layers).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let long = image(&[&"x".repeat(1000)]).unwrap_err();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn the_entry_is_that_of_wasm_or_the_only_one() {
        let number = |number: &str| Ok(Some(number.to_owned()));
        assert_eq!(
            index(&["linux/amd64", "wasip2/wasm", "unknown/unknown"]),
            number("1")
        );
        assert_eq!(index(&[""]), number("0"));
        assert_eq!(index(&["linux/amd64"]), number("0"));
        for (platforms, problem) in [
            (vec![], "its index is empty"),
            (
                vec!["linux/amd64", ""],
                "none for wasm, but linux/amd64, one without a platform",
            ),
            (vec!["wasip1/wasm", "wasip2/wasm"], "has 2 for wasm"),
        ] {
            let error = index(&platforms).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_manifest_that_can_be_read_in_two_ways_is_refused() {
        let media_type = format!("\"mediaType\": \"{IMAGE}\"");
        for (text, sent_as, problem) in [
            (
                "{\"schemaVersion\": 2, \"layers\": [], \"manifests\": []}",
                None,
                "both layers and manifests",
            ),
            (
                "{\"schemaVersion\": 2}",
                None,
                "neither layers nor manifests",
            ),
            (
                "{\"schemaVersion\": 1, \"layers\": []}",
                None,
                "not of schema version 2",
            ),
            ("{\"layers\": []}", None, "not of schema version 2"),
            (
                "{\"schemaVersion\": 2, \"layers\": [], \"layers\": []}",
                None,
                "cannot be read",
            ),
            ("<html>", None, "cannot be read"),
            (
                &format!("{{\"schemaVersion\": 2, {media_type}, \"layers\": []}}"),
                Some("application/vnd.oci.image.index.v1+json"),
                "was sent as application/vnd.oci.image.index.v1+json",
            ),
        ] {
            let error = Manifest::parse(text.as_bytes(), sent_as).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let text = format!("{{\"schemaVersion\": 2, {media_type}, \"layers\": []}}");
        assert!(Manifest::parse(text.as_bytes(), Some(IMAGE)).is_ok());
    }

    #[test]
    fn a_digest_of_another_kind_is_refused_where_it_is_used() {
        let descriptor = Descriptor {
            digest: "sha512:00".to_owned(),
            ..Descriptor::of(WASM, b"")
        };
        let error = descriptor.digest().unwrap_err().to_string();
        assert!(error.contains("'sha512:00' is not a digest"), "{error}");
    }
}
