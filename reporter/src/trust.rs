//! By which authorities the certificate of a server must be signed.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

/// Authorities, and what was made of them last.
#[derive(Debug)]
pub struct Trust {
    /// A file, or those that are built in: a scratch image has none.
    file: Option<PathBuf>,
    made: Option<(Vec<u8>, Arc<ClientConfig>)>,
}

impl Trust {
    /// The authorities of a file, or those that every browser knows.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, made: None }
    }

    /// What to connect with. A file is read each time, since authorities are exchanged; one that
    /// cannot be read any more is not forgotten.
    ///
    /// # Errors
    /// The file has no certificates, and never had.
    pub fn config(&mut self) -> Result<Arc<ClientConfig>, String> {
        let Some(file) = &self.file else {
            let config = match self.made.take() {
                Some((_, config)) => config,
                None => made(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())?,
            };
            self.made = Some((Vec::new(), Arc::clone(&config)));
            return Ok(config);
        };
        let read = std::fs::read(file).map_err(|error| serve::chain(&error));
        if let (Ok(read), Some((text, config))) = (&read, &self.made)
            && read == text
        {
            return Ok(Arc::clone(config));
        }
        let fresh = read.and_then(|text| {
            let config = made(roots(&text)?)?;
            Ok((text, config))
        });
        match (fresh, &self.made) {
            (Ok((text, config)), _) => {
                self.made = Some((text, Arc::clone(&config)));
                Ok(config)
            }
            (Err(_), Some((_, config))) => Ok(Arc::clone(config)),
            (Err(why), None) => Err(format!("{}: {why}", file.display())),
        }
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("this is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in PEM in it".to_owned());
    }
    Ok(roots)
}

fn made(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
