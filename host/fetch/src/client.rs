//! From a source to a module.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::{StatusCode, Uri};
use tokio::time::timeout;

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::error::{FetchError, Problem};
use crate::limits::{Limits, SIGNATURE};
use crate::reference::{Reference, Version};
use crate::registry::manifest::{Manifest, entry};
use crate::registry::{Component, Repository};
use crate::session::Session;
use crate::signature::{self, Findings, Signer, Signers};
use crate::source::Source;
use crate::trust::Authorities;
use crate::web::{Ask, Size, Web, host, unexpected};

/// How places are reached. The default: nobody in particular, and by https.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who we are.
    pub credentials: Credentials,
    /// Whom we believe beside the authorities of the system.
    pub authorities: Authorities,
    /// May it be plain http? Registries are then asked by it.
    pub plain_http: bool,
}

/// Fetches modules, and pushes them. One for each [`Access`]: connections, and what opens a door, are
/// never shared between two.
#[derive(Debug)]
pub struct Client {
    web: Web,
    credentials: Credentials,
}

/// This program cannot speak TLS at all.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be used: {0}")]
pub struct TlsUnusable(#[source] rustls::Error);

/// What shall be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where it is.
    pub source: &'a Source,
    /// What it must be: the digest of the artifact's manifest, or index, in a registry, and of the module
    /// elsewhere. In a registry a tag then counts no more.
    pub digest: Option<Digest>,
    /// Who may have signed it.
    pub signers: Signers<'a>,
}

/// A module that is what was wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct Module {
    /// It begins as a component does; nothing more is known of it.
    pub bytes: Vec<u8>,
    /// Of the bytes.
    pub digest: Digest,
    /// In a registry: the artifact by the digest that was compared, and verified where it had to be signed.
    pub reference: Option<Reference>,
    /// Who signed, where somebody had to.
    pub signer: Option<Signer>,
}

impl Client {
    /// A client without connections yet.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up, which is no matter of `access`.
    pub fn new(access: Access, limits: Limits) -> Result<Self, TlsUnusable> {
        let Access {
            credentials,
            authorities,
            plain_http,
        } = access;
        let web = Web::new(&authorities, plain_http, limits).map_err(TlsUnusable)?;
        Ok(Self { web, credentials })
    }

    /// Brings a module, and proves that it is the one that is wanted.
    ///
    /// # Errors
    ///
    /// It cannot be had, is something else, or is not signed by who should have.
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Module, FetchError> {
        let from = async {
            match wanted.source {
                Source::Registry(reference) => self.take_from_registry(reference, wanted).await,
                Source::Web(uri) => self.take_from_web(uri, wanted).await,
                Source::File(path) => self.take_from_file(path, wanted).await,
            }
        };
        self.within(wanted.source, from).await
    }

    /// What a tag names now.
    ///
    /// # Errors
    ///
    /// It names nothing, or the registry cannot be asked.
    pub async fn resolve(&self, reference: &Reference) -> Result<Reference, FetchError> {
        let resolve = async {
            let repository = Repository::new(&self.web, &self.credentials, reference)?;
            let found = repository.manifest(reference.version()).await?;
            Ok(reference.at(found.digest))
        };
        self.within(&Source::Registry(reference.clone()), resolve)
            .await
    }

    /// Writes a component into a registry, and gives its artifact by digest.
    ///
    /// # Errors
    ///
    /// The registry cannot be asked, or refuses.
    pub async fn push(
        &self,
        reference: &Reference,
        component: &Component<'_>,
    ) -> Result<Reference, FetchError> {
        let push = async {
            let repository = Repository::new(&self.web, &self.credentials, reference)?;
            let digest = repository.push(reference.version(), component).await?;
            Ok(reference.at(digest))
        };
        self.within(&Source::Registry(reference.clone()), push)
            .await
    }

    /// All of it in the time that there is.
    async fn within<T>(
        &self,
        source: &Source,
        done: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, FetchError> {
        let waited = self.web.limits().total;
        let too_late = || Problem::Timeout {
            host: match source {
                Source::Registry(reference) => reference.registry().to_owned(),
                Source::Web(uri) => host(uri),
                Source::File(_) => "the disk".to_owned(),
            },
            waited,
        };
        let done = timeout(waited, done).await;
        done.unwrap_or_else(|_| Err(too_late()))
            .map_err(|problem| FetchError {
                place: source.to_string(),
                problem,
            })
    }

    async fn take_from_registry(
        &self,
        reference: &Reference,
        wanted: Wanted<'_>,
    ) -> Result<Module, Problem> {
        let version = match (reference.version(), wanted.digest) {
            (Version::Digest(received), Some(expected)) if *received != expected => {
                return Err(Problem::WrongDigest {
                    what: "the reference".to_owned(),
                    expected,
                    received: *received,
                    advice: "give one digest, not two",
                });
            }
            (_, Some(digest)) => Version::Digest(digest),
            (version, None) => version.clone(),
        };
        let repository = Repository::new(&self.web, &self.credentials, reference)?;
        let first = repository.manifest(&version).await;
        let first = match (first, reference.version(), wanted.digest) {
            (Err(Problem::NotFound { host, .. }), Version::Tag(tag), Some(digest)) => {
                let found = repository.manifest(reference.version()).await;
                return Err(Problem::NoDigest {
                    host,
                    what: format!("{digest} in {}", reference.repository()),
                    tag: match found {
                        Ok(found) => format!("{tag} names (now {})", found.digest),
                        Err(_) => format!("{tag} names"),
                    },
                });
            }
            (first, _, _) => first?,
        };
        let mut digests = vec![first.digest];
        let image = match first.manifest {
            Manifest::Image(image) => image,
            Manifest::Index(entries) => {
                let digest = entry(&entries)?.digest()?;
                digests.push(digest);
                match repository
                    .manifest(&Version::Digest(digest))
                    .await?
                    .manifest
                {
                    Manifest::Image(image) => image,
                    Manifest::Index(_) => {
                        let why = "its index leads to another index".to_owned();
                        return Err(Problem::OtherArtifact { why });
                    }
                }
            }
        };
        let layer = image.module()?;
        // Before the module is read: who did not sign has nothing to send.
        let signer = if wanted.signers.are_wanted() {
            Some(repository.signer(&digests, wanted.signers).await?)
        } else {
            None
        };
        let bytes = repository.blob(layer, self.web.limits().module).await?;
        Ok(Module {
            reference: Some(reference.at(first.digest)),
            signer,
            ..Module::from_bytes(bytes, None)?
        })
    }

    async fn take_from_web(&self, uri: &Uri, wanted: Wanted<'_>) -> Result<Module, Problem> {
        let (web, host) = (&self.web, host(uri));
        let session = Session::new(web, &self.credentials, uri.clone(), &host, uri.path());
        let what = format!("file {}", uri.path());
        let limit = web.limits().module;
        let bytes = download(&session, uri, &what, limit).await?;
        let module = Module::from_bytes(bytes, wanted.digest)?;
        if !wanted.signers.are_wanted() {
            return Ok(module);
        }
        let bundle = download(&session, &beside(uri)?, "signature", SIGNATURE).await;
        module.signed(none_where_missing(bundle)?.as_deref(), wanted.signers)
    }

    async fn take_from_file(&self, path: &Path, wanted: Wanted<'_>) -> Result<Module, Problem> {
        let bytes = read_file(path.to_owned(), self.web.limits().module).await?;
        let module = Module::from_bytes(bytes, wanted.digest)?;
        if !wanted.signers.are_wanted() {
            return Ok(module);
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(signature::ENDING);
        let bundle = read_file(beside.into(), SIGNATURE).await;
        module.signed(none_where_missing(bundle)?.as_deref(), wanted.signers)
    }
}

impl Module {
    /// Of bytes that came by another way, such as a ConfigMap.
    ///
    /// # Errors
    ///
    /// They are no component, or not the one with this digest.
    pub fn from_bytes(bytes: Vec<u8>, expected: Option<Digest>) -> Result<Self, Problem> {
        let digest = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(Problem::WrongDigest {
                what: "the module".to_owned(),
                expected,
                received: digest,
                advice: "it has been replaced; give its digest if it is what you want",
            });
        }
        is_component(&bytes).map_err(|why| Problem::NotComponent { why })?;
        Ok(Self {
            bytes,
            digest,
            reference: None,
            signer: None,
        })
    }

    /// The same, if it need not be signed, or one of these signed it: by the bundle that `cosign sign-blob` writes.
    ///
    /// # Errors
    ///
    /// There is no bundle, or none of these signed these bytes.
    pub fn signed(self, bundle: Option<&[u8]>, signers: Signers<'_>) -> Result<Self, Problem> {
        if !signers.are_wanted() {
            return Ok(self);
        }
        let mut findings = Findings::default();
        let worth = bundle.map(|bundle| signature::bundle_of_blob(bundle, &self.bytes, signers));
        match worth.and_then(|worth| findings.add(worth)) {
            Some(signer) => Ok(Self {
                signer: Some(signer),
                ..self
            }),
            None => Err(findings.problem(self.digest)),
        }
    }
}

/// Without the bytes, of which there may be 64 million.
impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("digest", &self.digest)
            .field("reference", &self.reference)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// A component begins like this: the version of its format, and that it is not a module.
fn is_component(bytes: &[u8]) -> Result<(), &'static str> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => Err(
            "it is a core module: `wasm-tools component new MODULE.wasm -o POLICY.wasm` makes a component of it",
        ),
        [0x1f, 0x8b, ..] => Err("it is compressed: decompress it before it is stored"),
        [] => Err("it is empty"),
        _ => Err("it does not begin as WebAssembly does"),
    }
}

async fn download(
    session: &Session<'_>,
    uri: &Uri,
    what: &str,
    limit: u64,
) -> Result<Vec<u8>, Problem> {
    let read = || async {
        let answer = session.ask(&Ask::get(uri.clone())).await?;
        if answer.status() != StatusCode::OK {
            return Err(session.web.refusal(answer, what).await);
        }
        session
            .web
            .read(answer, &format!("the {what}"), Size::AtMost(limit))
            .await
    };
    session.web.patiently(read).await
}

/// The bundle of a file on a web server: the ending comes before a query.
fn beside(uri: &Uri) -> Result<Uri, Problem> {
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let (scheme, host) = (uri.scheme_str().unwrap_or_default(), host(uri));
    let text = format!(
        "{scheme}://{host}{}{}{query}",
        uri.path(),
        signature::ENDING
    );
    text.parse()
        .map_err(|_| unexpected(uri, "its signature has no URL"))
}

fn none_where_missing(found: Result<Vec<u8>, Problem>) -> Result<Option<Vec<u8>>, Problem> {
    match found {
        Err(Problem::NotFound { .. } | Problem::NoFile) => Ok(None),
        found => found.map(Some),
    }
}

/// Off the threads of the runtime: a disk may be far away.
async fn read_file(path: PathBuf, limit: u64) -> Result<Vec<u8>, Problem> {
    let read = tokio::task::spawn_blocking(move || read_now(&path, limit)).await;
    read.unwrap_or_else(|error| {
        Err(Problem::File {
            why: format!("it cannot be read: {error}"),
        })
    })
}

fn read_now(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::NoFile,
        _ => Problem::File {
            why: format!("the file cannot be read: {error}"),
        },
    };
    // What is no file, such as a pipe, may never end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Problem::File {
            why: "it is no file: name the module itself".to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        let what = "the file".to_owned();
        return Err(Problem::TooLarge { what, limit });
    }
    Ok(bytes)
}
