//! Whose certificates are believed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificate authorities that are believed beside those of the system: a registry with a private one
/// may send readers on to a public address.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// A file of certificate authorities cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthorities {
    /// Something else than certificates.
    #[error(
        "the certificate authority is not PEM: it is one or several blocks between \
         -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"
    )]
    NotPem,
    /// A block that is no certificate.
    #[error(
        "certificate {number} of the certificate authority cannot be read: what is between its lines BEGIN and \
         END is no X.509 certificate: replace that block by the certificate as PEM"
    )]
    Unreadable {
        /// From 1.
        number: usize,
    },
    /// The time of one of them is over.
    #[error(
        "the certificate authority '{subject}' has expired at {expired}: replace it by its successor"
    )]
    Expired {
        /// Its subject.
        subject: String,
        /// As its certificate has it.
        expired: String,
    },
}

impl Authorities {
    /// From PEM. What has expired at `now` is refused: the verifier would not look.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one that cannot be used.
    pub fn from_pem(pem: &[u8], now: SystemTime) -> Result<Self, InvalidAuthorities> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|_| InvalidAuthorities::NotPem)?;
        if found.is_empty() {
            return Err(InvalidAuthorities::NotPem);
        }
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        for (index, der) in found.iter().enumerate() {
            let unreadable = || InvalidAuthorities::Unreadable { number: index + 1 };
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
            let expires = certificate.validity().not_after;
            if u64::try_from(expires.timestamp()).unwrap_or(0) < now {
                return Err(InvalidAuthorities::Expired {
                    subject: certificate.subject().to_string(),
                    expired: expires.to_string(),
                });
            }
            RootCertStore::empty()
                .add(der.clone())
                .map_err(|_| unreadable())?;
        }
        Ok(Self(found))
    }

    /// These and those of another file.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// What TLS needs to know.
pub(crate) fn tls(authorities: &Authorities) -> Result<ClientConfig, rustls::Error> {
    let system = rustls_native_certs::load_native_certs().certs;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(system, authorities)?)
        .with_no_client_auth();
    Ok(config)
}

/// Those of the system, or where it has none, as in an image from scratch, those that browsers know; and the given ones.
fn roots(
    system: Vec<CertificateDer<'_>>,
    authorities: &Authorities,
) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is somebody else's: others of the system may do.
    let (known, _) = roots.add_parsable_certificates(system);
    if known == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for der in &authorities.0 {
        roots.add(der.clone())?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_authorities_believes_those_that_browsers_know() {
        let public = webpki_roots::TLS_SERVER_ROOTS;
        assert!(!public.is_empty());
        let none = roots(Vec::new(), &Authorities::default()).unwrap();
        assert_eq!(none.roots, public);
        let unreadable = vec![CertificateDer::from_slice(b"no certificate")];
        let unreadable = roots(unreadable, &Authorities::default()).unwrap();
        assert_eq!(unreadable.roots, public);
    }

    #[test]
    fn a_system_with_authorities_believes_them_alone() {
        let own = rcgen::generate_simple_self_signed(["registry.example.com".to_owned()]).unwrap();
        let known = roots(vec![own.cert.der().clone()], &Authorities::default()).unwrap();
        assert_eq!(known.len(), 1);
    }
}
