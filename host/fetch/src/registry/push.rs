//! The way back: a component becomes an artifact.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use hyper::body::Bytes;
use serde::Serialize;

use super::Repository;
use super::manifest::{Descriptor, IMAGE, WASM, WASM_CONFIG};
use crate::digest::Digest;
use crate::error::Problem;
use crate::reference::Version;
use crate::web::{Ask, unexpected};

/// A component, and what its artifact says of it.
#[derive(Debug, Clone, Default)]
pub struct Component<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Its own name, for the annotation `org.opencontainers.image.title`.
    pub name: &'a str,
    /// Its own version, for the annotation `org.opencontainers.image.version`.
    pub version: &'a str,
    /// Interfaces that it imports.
    pub imports: Vec<&'a str>,
    /// Interfaces that it exports.
    pub exports: Vec<&'a str>,
    /// When it was made, as in RFC 3339. It is part of the digest: the same component pushed with the
    /// same time is the same artifact.
    pub created: &'a str,
}

/// `application/vnd.wasm.config.v0+json`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'a str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [Digest; 1],
    component: World<'a>,
}

#[derive(Serialize)]
struct World<'a> {
    exports: &'a [&'a str],
    imports: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: Annotations<'a>,
}

#[derive(Serialize)]
struct Annotations<'a> {
    #[serde(rename = "org.opencontainers.image.created")]
    created: &'a str,
    #[serde(rename = "org.opencontainers.image.title")]
    title: &'a str,
    #[serde(rename = "org.opencontainers.image.version")]
    version: &'a str,
}

/// Configuration and manifest of a component's artifact.
fn artifact(component: &Component<'_>) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
    let Component {
        bytes,
        name,
        version,
        imports,
        exports,
        created,
    } = component;
    let config = serde_json::to_vec(&Config {
        created,
        architecture: "wasm",
        // What the format calls a component, whether it needs WASI or not.
        os: "wasip2",
        layer_digests: [Digest::of(bytes)],
        component: World { exports, imports },
    })?;
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: IMAGE,
        config: Descriptor::of(WASM_CONFIG, &config),
        layers: [Descriptor::of(WASM, bytes)],
        annotations: Annotations {
            created,
            title: name,
            version,
        },
    })?;
    Ok((config, manifest))
}

impl Repository<'_> {
    /// Writes the artifact under this version, and gives its digest.
    pub(crate) async fn push(
        &self,
        version: &Version,
        component: &Component<'_>,
    ) -> Result<Digest, Problem> {
        let no_json = |error: serde_json::Error| Problem::OtherArtifact {
            why: error.to_string(),
        };
        let (config, manifest) = artifact(component).map_err(no_json)?;
        let layer = Bytes::copy_from_slice(component.bytes);
        for blob in [layer, Bytes::from(config)] {
            self.web().patiently(|| self.upload(&blob)).await?;
        }
        let digest = Digest::of(&manifest);
        let mut ask = Ask::new(
            Method::PUT,
            self.uri(&format!("manifests/{}", version.segment()))?,
        )
        .header(CONTENT_TYPE, HeaderValue::from_static(IMAGE));
        ask.body = manifest.into();
        self.web()
            .patiently(|| self.write(&ask, StatusCode::CREATED, "manifest"))
            .await?;
        Ok(digest)
    }

    /// In one piece, as every registry takes it; and not at all where it is there.
    async fn upload(&self, blob: &Bytes) -> Result<(), Problem> {
        let digest = Digest::of(blob);
        let there = Ask::new(Method::HEAD, self.uri(&format!("blobs/{digest}"))?);
        let status = self.session.ask(&there).await?.status();
        // Where it is kept elsewhere, the answer says where.
        if status == StatusCode::OK || status.is_redirection() {
            return Ok(());
        }
        let begin = Ask::new(Method::POST, self.uri("blobs/uploads/")?);
        let begun = self.write(&begin, StatusCode::ACCEPTED, "upload").await?;
        let place = begun.ok_or_else(|| {
            unexpected(
                &begin.uri,
                &format!("it accepts an upload and sends no {LOCATION}"),
            )
        })?;
        let separator = if place.query().is_some() { '&' } else { '?' };
        let place: Uri = format!("{place}{separator}digest={digest}")
            .parse()
            .map_err(|_| unexpected(&begin.uri, "it has a place for an upload that is no URL"))?;
        let octets = HeaderValue::from_static("application/octet-stream");
        let mut put = Ask::new(Method::PUT, place).header(CONTENT_TYPE, octets);
        put.body = blob.clone();
        self.write(&put, StatusCode::CREATED, "upload").await?;
        Ok(())
    }

    /// Where the answer sends to.
    async fn write(
        &self,
        ask: &Ask,
        wanted: StatusCode,
        what: &str,
    ) -> Result<Option<Uri>, Problem> {
        let answer = self.session.ask(ask).await?;
        if answer.status() != wanted {
            let what = format!("place for this {what}");
            return Err(self.web().refusal(answer, &what).await);
        }
        Ok(answer.location())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_as_the_working_group_has_it() {
        let component = Component {
            bytes: b"\0asm\x0d\0\x01\0",
            name: "steady",
            version: "1.0.0",
            imports: vec!["node-readiness:policy/node@0.1.0"],
            exports: vec!["node-readiness:policy/decide@0.1.0"],
            created: "1970-01-01T00:00:00Z",
        };
        let (config, manifest) = artifact(&component).unwrap();
        let digest = Digest::of(component.bytes);
        let expected = format!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["{digest}"],"component":{{"exports":["node-readiness:policy/decide@0.1.0"],"imports":["node-readiness:policy/node@0.1.0"]}}}}"#
        );
        assert_eq!(String::from_utf8(config.clone()).unwrap(), expected);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let expected = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": Digest::of(&config).to_string(),
                "size": config.len(),
            },
            "layers": [{"mediaType": "application/wasm", "digest": digest.to_string(), "size": 8}],
            "annotations": {
                "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
                "org.opencontainers.image.title": "steady",
                "org.opencontainers.image.version": "1.0.0",
            },
        });
        assert_eq!(manifest, expected);
    }
}
