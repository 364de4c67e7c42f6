//! The part of the distribution specification that is needed: manifests, blobs, referrers.

pub(crate) mod manifest;
mod push;
mod signatures;

use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode, Uri};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::error::Problem;
use crate::limits::{DOCUMENT, SIGNATURES};
use crate::reference::{Reference, Version};
use crate::session::{Session, encode};
use crate::web::{Ask, Size, Web, resolve, same_origin, unexpected};

use manifest::{Descriptor, Manifest};
pub use push::Component;

/// What we read of a registry's manifests: images and indexes, of OCI and of docker.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// How many pages of referrers are read.
const PAGES: usize = 4;

/// One repository of a registry, for as long as one module is fetched or pushed.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    session: Session<'a>,
    /// `https://REGISTRY/v2/REPOSITORY`
    base: String,
}

/// A manifest as it was received.
#[derive(Debug)]
pub(crate) struct Document {
    /// Of exactly these bytes.
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(
        web: &'a Web,
        credentials: &'a Credentials,
        reference: &'a Reference,
    ) -> Result<Self, Problem> {
        let (host, path) = (reference.registry(), reference.repository());
        let registry = match host {
            // The name that people know is that of a web site.
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        };
        let base = format!("{}://{registry}/v2/{path}", web.scheme());
        let origin: Uri = base.parse().map_err(|_| Problem::Unexpected {
            host: host.to_owned(),
            why: format!("{base} is no URL"),
        })?;
        Ok(Self {
            session: Session::new(web, credentials, origin, host, path),
            base,
        })
    }

    /// The manifest of this version. Its digest is that of what came, whatever the registry says.
    pub(crate) async fn manifest(&self, version: &Version) -> Result<Document, Problem> {
        let what = match version {
            Version::Tag(tag) => format!("tag {tag} of {}", self.session.path),
            Version::Digest(digest) => format!("{digest} of {}", self.session.path),
        };
        let uri = self.uri(&format!("manifests/{}", version.segment()))?;
        let (bytes, media_type) = self.web().patiently(|| self.document(&uri, &what)).await?;
        let digest = Digest::of(&bytes);
        if let Version::Digest(expected) = version
            && *expected != digest
        {
            return Err(wrong(what, *expected, digest));
        }
        let manifest = Manifest::parse(&bytes, media_type.as_deref())
            .map_err(|why| Problem::OtherArtifact { why })?;
        Ok(Document { digest, manifest })
    }

    async fn document(&self, uri: &Uri, what: &str) -> Result<(Vec<u8>, Option<String>), Problem> {
        let accept = HeaderValue::from_static(MANIFESTS);
        let answer = self
            .session
            .ask(&Ask::get(uri.clone()).header(ACCEPT, accept))
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(self.web().refusal(answer, what).await);
        }
        let media_type = answer.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let what = format!("the manifest of {what}");
        let bytes = self
            .web()
            .read(answer, &what, Size::AtMost(DOCUMENT))
            .await?;
        Ok((bytes, media_type))
    }

    /// The bytes that a descriptor describes: as many, and with that digest.
    pub(crate) async fn blob(
        &self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, Problem> {
        let digest = descriptor.digest()?;
        let what = format!("the layer {digest}");
        if descriptor.size > limit {
            return Err(Problem::TooLarge { what, limit });
        }
        let uri = self.uri(&format!("blobs/{digest}"))?;
        let read = || async {
            let answer = self.session.ask(&Ask::get(uri.clone())).await?;
            if answer.status() != StatusCode::OK {
                return Err(self.web().refusal(answer, &what).await);
            }
            self.web()
                .read(answer, &what, Size::Exactly(descriptor.size))
                .await
        };
        let bytes = self.web().patiently(read).await?;
        let received = Digest::of(&bytes);
        if received != digest {
            return Err(wrong(what, digest, received));
        }
        Ok(bytes)
    }

    /// What refers to this digest, as the registry lists it; nothing where it keeps no such list.
    pub(crate) async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, Problem> {
        let what = format!("the list of what refers to {digest}");
        let wanted = encode(artifact_type);
        let mut next = Some(self.uri(&format!("referrers/{digest}?artifactType={wanted}"))?);
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let Some(uri) = next.take() else { break };
            let page = self.web().patiently(|| self.page(&uri, &what)).await?;
            let Some((manifest, more)) = page else {
                break;
            };
            let Manifest::Index(entries) = manifest else {
                return Err(unexpected(&uri, &format!("{what} is no index")));
            };
            found.extend(entries);
            next = more;
            if found.len() >= SIGNATURES {
                break;
            }
        }
        Ok(found)
    }

    async fn page(
        &self,
        uri: &Uri,
        what: &str,
    ) -> Result<Option<(Manifest, Option<Uri>)>, Problem> {
        let accept = HeaderValue::from_static(MANIFESTS);
        let answer = self
            .session
            .ask(&Ask::get(uri.clone()).header(ACCEPT, accept))
            .await?;
        match answer.status() {
            StatusCode::OK => {}
            // Those of the specification for who has no such list, and what others answer instead.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => {
                return Ok(None);
            }
            _ => return Err(self.web().refusal(answer, what).await),
        }
        let more = answer.headers().get(LINK).and_then(|link| {
            let link = link.to_str().ok()?.strip_prefix('<')?;
            let (link, relation) = link.split_once('>')?;
            let is_next = relation.contains("rel=\"next\"") || relation.contains("rel=next");
            let uri: Uri = resolve(&answer.uri, &HeaderValue::from_str(link).ok()?)?;
            (is_next && same_origin(&uri, &answer.uri)).then_some(uri)
        });
        let bytes = self
            .web()
            .read(answer, what, Size::AtMost(DOCUMENT))
            .await?;
        let manifest = Manifest::parse(&bytes, None).map_err(|why| unexpected(uri, &why))?;
        Ok(Some((manifest, more)))
    }

    fn web(&self) -> &Web {
        self.session.web
    }

    fn uri(&self, rest: &str) -> Result<Uri, Problem> {
        let uri = format!("{}/{rest}", self.base);
        uri.parse()
            .map_err(|_| unexpected(&self.session.origin, &format!("{uri} is no URL")))
    }
}

fn wrong(what: String, expected: Digest, received: Digest) -> Problem {
    Problem::WrongDigest {
        what,
        expected,
        received,
        advice: "the copy there is damaged or forged, push it again",
    }
}
