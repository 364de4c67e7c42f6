//! Writing into a registry by hand, what no good program writes.

use anyhow::{Context, Result, ensure};
use fetch::Digest;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::Registry;
use crate::stand_in::exchange;

/// The media type of an image's manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Registry {
    /// Stores bytes in a repository of a registry without TLS and password.
    ///
    /// # Errors
    /// It is against it.
    pub async fn put_blob(&self, repository: &str, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let url = format!("{}/v2/{repository}/blobs/uploads/", self.url());
        let (status, headers, _) =
            exchange(Method::POST, &url, HeaderMap::new(), Vec::new()).await?;
        ensure!(
            status == StatusCode::ACCEPTED.as_u16(),
            "no upload: {status}"
        );
        let place = headers.iter().find(|(name, _)| name == "location");
        let (_, place) = place.context("no place for the upload")?;
        let url = format!("{place}&digest={digest}");
        let (status, ..) = exchange(Method::PUT, &url, HeaderMap::new(), bytes.to_vec()).await?;
        ensure!(
            status == StatusCode::CREATED.as_u16(),
            "not stored: {status}"
        );
        Ok(digest)
    }

    /// Stores a manifest there under a tag.
    ///
    /// # Errors
    /// It is against it.
    pub async fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &'static str,
        bytes: &[u8],
    ) -> Result<Digest> {
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.url());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let (status, _, said) = exchange(Method::PUT, &url, headers, bytes.to_vec()).await?;
        let said = String::from_utf8_lossy(&said);
        ensure!(
            status == StatusCode::CREATED.as_u16(),
            "not stored: {status} {said}"
        );
        Ok(Digest::of(bytes))
    }

    /// The manifest that a tag names, as it is stored.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_manifest(&self, repository: &str, tag: &str) -> Result<Vec<u8>> {
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.url());
        let mut headers = HeaderMap::new();
        for media_type in [IMAGE, INDEX] {
            headers.append(http::header::ACCEPT, HeaderValue::from_static(media_type));
        }
        let (status, _, bytes) = exchange(Method::GET, &url, headers, Vec::new()).await?;
        ensure!(status == StatusCode::OK.as_u16(), "no {tag}: {status}");
        Ok(bytes)
    }
}
