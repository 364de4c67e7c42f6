//! The certificate that a port is served with: from a pair of files, exchanged without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

/// Files are compared this often. A mounted Secret is a chain of symbolic links that are exchanged,
/// which a watch of the file system does not see on every kind of volume.
const POLL: Duration = Duration::from_secs(5);

/// Who is turned away for want of a certificate is told about once in this time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The pair that is served now; none before there is one.
#[derive(Debug, Default)]
pub(crate) struct Served(RwLock<Serving>);

#[derive(Debug, Default)]
struct Serving {
    pair: Option<Pair>,
    /// Why there is none.
    missing: Option<String>,
    /// When a client was turned away last, and that was said.
    told: Option<Instant>,
}

impl Served {
    /// Serves this one from the next handshake on.
    pub(crate) fn set(&self, pair: &Pair) {
        self.write().pair = Some(pair.clone());
    }

    /// There is none, if there was none before, and this is why. Says whether there is none.
    pub(crate) fn is_missing(&self, why: &str) -> bool {
        let mut serving = self.write();
        serving.missing = Some(why.to_owned());
        serving.pair.is_none()
    }

    /// When clients begin to refuse it; none if there is none.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        let serving = self.0.read().unwrap_or_else(PoisonError::into_inner);
        serving.pair.as_ref().map(|pair| pair.not_after)
    }

    /// Whoever connects gets no more than an alert of TLS, which names nothing.
    fn turned_away(&self) {
        let mut serving = self.write();
        if serving.told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            serving.told = Some(Instant::now());
            let problem = serving.missing.as_deref().unwrap_or("none was made yet");
            warn!(
                problem,
                "a client was turned away: there is no certificate to serve; to it that is `tls: access denied`"
            );
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Serving> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let serving = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let key = serving.pair.as_ref().map(|pair| Arc::clone(&pair.key));
        drop(serving);
        if key.is_none() {
            self.turned_away();
        }
        key
    }
}

/// A certificate, with what it was signed by, and its key.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    key: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Pair {
    /// From PEM. The error says what is wrong with which of the two.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the certificate is not PEM: {error}"))?;
        let first = chain
            .first()
            .ok_or("the certificate's file has no PEM block CERTIFICATE")?;
        let validity = x509_parser::parse_x509_certificate(first)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?
            .1
            .validity()
            .clone();
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp())
                .map_err(|error| format!("the certificate has an odd time: {error}"))
        };
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| format!("the key is not a private key in PEM: {error}"))?;
        let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key does not belong to the certificate".to_owned()
                }
                other => format!("certificate and key cannot be used: {other}"),
            })?;
        Ok(Self {
            key: Arc::new(key),
            not_before: time(validity.not_before)?,
            not_after: time(validity.not_after)?,
        })
    }

    /// What a client that looks at the clock will say of it; nothing if it is content.
    fn complaint(&self, now: Timestamp) -> Option<String> {
        if now > self.not_after {
            Some(format!("it expired at {}", self.not_after))
        } else if now < self.not_before {
            Some(format!("it is not valid before {}", self.not_before))
        } else {
            None
        }
    }
}

/// `tls.crt` and `tls.key` in a folder, as a mounted Secret of the type `kubernetes.io/tls` has them.
#[derive(Debug)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// What was last found, and served or complained about.
    settled: Found,
    /// The pair that is served, and what was said of it.
    pair: Pair,
    complaint: Option<String>,
}

/// Contents of both files, or why they cannot be read.
type Found = Result<(Vec<u8>, Vec<u8>), String>;

/// A pair of files that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError {
    certificate: PathBuf,
    key: PathBuf,
    problem: String,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            certificate,
            key,
            problem,
        } = self;
        write!(
            f,
            "certificate {} with key {}: {problem}",
            certificate.display(),
            key.display()
        )
    }
}

impl std::error::Error for CertificateError {}

impl Files {
    /// Reads the pair of a folder. One that expired is warned about, and can be served.
    pub(crate) fn load(folder: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        let settled = read(&certificate, &key);
        match usable(&settled) {
            Ok(pair) => {
                let mut files = Self {
                    certificate,
                    key,
                    settled,
                    pair,
                    complaint: None,
                };
                files.check_validity();
                Ok(files)
            }
            Err(problem) => Err(CertificateError {
                certificate,
                key,
                problem,
            }),
        }
    }

    /// Keeps `served` as the files are. Never ends.
    pub(crate) async fn watch(mut self, served: Arc<Served>) {
        served.set(&self.pair);
        // Files that are just being replaced are a pair again a moment later.
        let mut doubtful = None;
        loop {
            tokio::time::sleep(POLL).await;
            self.check_validity();
            let found = read(&self.certificate, &self.key);
            if found == self.settled {
                continue;
            }
            match usable(&found) {
                Ok(pair) => {
                    served.set(&pair);
                    info!(
                        file = %self.certificate.display(),
                        until = %pair.not_after,
                        "a new certificate is served"
                    );
                    (self.pair, self.settled, self.complaint) = (pair, found, None);
                    self.check_validity();
                }
                Err(_) if doubtful.as_ref() != Some(&found) => doubtful = Some(found),
                Err(problem) => {
                    warn!(
                        file = %self.certificate.display(),
                        problem,
                        "the new certificate cannot be used; the one before is still served"
                    );
                    self.settled = found;
                }
            }
        }
    }

    fn check_validity(&mut self) {
        let complaint = self.pair.complaint(Timestamp::now());
        if let Some(problem) = &complaint
            && complaint != self.complaint
        {
            warn!(
                file = %self.certificate.display(),
                problem,
                "clients will refuse the certificate; replace it, which needs no restart"
            );
        }
        self.complaint = complaint;
    }
}

fn read(certificate: &Path, key: &Path) -> Found {
    let read = |what: &str, path: &Path| {
        std::fs::read(path).map_err(|error| format!("the {what} cannot be read: {error}"))
    };
    Ok((read("certificate", certificate)?, read("key", key)?))
}

fn usable(found: &Found) -> Result<Pair, String> {
    let (certificate, key) = found.as_ref().map_err(Clone::clone)?;
    Pair::from_pem(certificate, key)
}
