//! A certificate authority, and certificates of servers on this machine.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A private certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No key.
    pub fn new() -> Result<Self> {
        Self::with(CertificateParams::default())
    }

    /// One whose time is over.
    ///
    /// # Errors
    /// No key.
    pub fn expired() -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2021, 1, 1);
        Self::with(parameters)
    }

    fn with(mut parameters: CertificateParams) -> Result<Self> {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters
            .distinguished_name
            .push(DnType::CommonName, "private authority");
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key of a server with this name.
    ///
    /// # Errors
    /// No key.
    pub fn server(&self, name: &str) -> Result<(String, String)> {
        self.sign(CertificateParams::new(vec![name.to_owned()])?)
    }

    /// The same, of which the time is over.
    ///
    /// # Errors
    /// No key.
    pub fn expired_server(&self, name: &str) -> Result<(String, String)> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2021, 1, 1);
        self.sign(parameters)
    }

    fn sign(&self, parameters: CertificateParams) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
