//! The webhook's own certificate authority and the certificate that it signs, as the Secret has them.
//! Made with rcgen; no clock and no client here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

const DAY: i64 = 24 * 60 * 60;
/// Days that an authority is valid, and how many of them are left when the next one is made.
const AUTHORITY: Validity = Validity {
    days: 3650,
    renewed: 365,
};
/// The same for a certificate.
const SERVING: Validity = Validity {
    days: 90,
    renewed: 30,
};

struct Validity {
    days: i64,
    renewed: i64,
}

/// All that the Secret holds, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    /// Whom to trust: the authority that signs, then the one before it while that is still valid, so
    /// that a replica that did not follow yet is trusted too.
    pub(super) authorities: String,
    authority_key: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// What a Secret holds.
pub(super) enum Held {
    /// Nothing: it was made to be filled.
    Nothing,
    /// A certificate without our authority's key: somebody else's.
    Foreign,
    /// Ours, though it may be damaged.
    Ours(Material),
}

const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

impl Held {
    pub(super) fn read(data: Option<&BTreeMap<String, ByteString>>) -> Self {
        let text = |name: &str| {
            let bytes = data.and_then(|data| data.get(name)).map(|value| &value.0);
            String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice)).into_owned()
        };
        let material = Material {
            authorities: text(AUTHORITIES),
            authority_key: text(AUTHORITY_KEY),
            certificate: text(CERTIFICATE),
            key: text(KEY),
        };
        if !material.authority_key.is_empty() {
            Self::Ours(material)
        } else if material.certificate.is_empty() && material.key.is_empty() {
            Self::Nothing
        } else {
            Self::Foreign
        }
    }
}

impl Material {
    /// As the data of a Secret.
    pub(super) fn data(&self) -> BTreeMap<String, ByteString> {
        let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.into()));
        BTreeMap::from([
            entry(AUTHORITIES, &self.authorities),
            entry(AUTHORITY_KEY, &self.authority_key),
            entry(CERTIFICATE, &self.certificate),
            entry(KEY, &self.key),
        ])
    }

    /// What shall be there instead of `held`, for a server with these names; none while that is good
    /// for longer.
    pub(super) fn renewed(
        held: Option<&Self>,
        names: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Option<Self>, rcgen::Error> {
        let authority = held.and_then(|held| Authority::read(held, now));
        if let (Some(held), Some(authority)) = (held, &authority)
            && authority.vouches_for(held, names, now)
        {
            return Ok(None);
        }
        let authority = match authority {
            Some(authority) => authority,
            None => Authority::new(held, now)?,
        };
        let mut parameters = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        named(&mut parameters, "node readiness webhook");
        valid(&mut parameters, &SERVING, now);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signing = KeyPair::from_pem(&authority.key)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificates, signing)?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Ok(Some(Self {
            authorities: authority.certificates,
            authority_key: authority.key,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }))
    }
}

/// An authority that may sign.
struct Authority {
    certificates: String,
    key: String,
}

impl Authority {
    /// None if it is damaged or will not do for much longer.
    fn read(held: &Material, now: Timestamp) -> Option<Self> {
        let pem = first(&held.authorities)?;
        let certificate = pem.parse_x509().ok()?;
        let key = KeyPair::from_pem(&held.authority_key).ok()?;
        let is_pair = certificate.public_key().subject_public_key.data == key.public_key_raw();
        (is_pair && lasts(&certificate, &AUTHORITY, now)).then(|| Self {
            certificates: held.authorities.clone(),
            key: held.authority_key.clone(),
        })
    }

    /// A new one; the last one stays trusted.
    fn new(held: Option<&Material>, now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut parameters = CertificateParams::default();
        named(&mut parameters, "node readiness webhook CA");
        valid(&mut parameters, &AUTHORITY, now);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let mut certificates = parameters.self_signed(&key)?.pem();
        if let Some(pem) = held.and_then(|held| last_trusted(&held.authorities, now)) {
            certificates.push_str(&pem);
        }
        Ok(Self {
            certificates,
            key: key.serialize_pem(),
        })
    }

    /// Is the certificate signed by it, for these names, and good for longer?
    fn vouches_for(&self, held: &Material, names: &BTreeSet<String>, now: Timestamp) -> bool {
        let (Some(authority), Some(pem)) = (first(&self.certificates), first(&held.certificate))
        else {
            return false;
        };
        let (Ok(authority), Ok(certificate)) = (authority.parse_x509(), pem.parse_x509()) else {
            return false;
        };
        let is_signed = certificate
            .verify_signature(Some(authority.public_key()))
            .is_ok();
        is_signed
            && lasts(&certificate, &SERVING, now)
            && *names == alternative_names(&certificate)
            && KeyPair::from_pem(&held.key).is_ok_and(|key| {
                certificate.public_key().subject_public_key.data == key.public_key_raw()
            })
    }
}

fn named(parameters: &mut CertificateParams, name: &str) {
    parameters.distinguished_name.push(DnType::CommonName, name);
}

/// From the day before, since clocks differ.
fn valid(parameters: &mut CertificateParams, validity: &Validity, now: Timestamp) {
    let day = |days: i64| {
        let date = now.to_zoned(TimeZone::UTC).date();
        let date = date.saturating_add(Span::new().days(days));
        let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
        date_time_ymd(date.year().into(), month, day)
    };
    parameters.not_before = day(-1);
    parameters.not_after = day(validity.days);
}

fn lasts(certificate: &X509Certificate<'_>, validity: &Validity, now: Timestamp) -> bool {
    let now = now.as_second();
    let (from, until) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    from <= now && until - now > validity.renewed * DAY
}

fn first(pem: &str) -> Option<Pem> {
    Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()
}

/// The authority that signed so far, if somebody may still show what it signed.
fn last_trusted(authorities: &str, now: Timestamp) -> Option<String> {
    let pem = first(authorities)?;
    let is_valid = pem.parse_x509().ok()?.validity().not_after.timestamp() > now.as_second();
    let end = "-----END CERTIFICATE-----\n";
    let length = authorities.find(end)? + end.len();
    is_valid.then(|| authorities[..length].to_owned())
}

fn alternative_names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let names = extension.value.general_names.iter();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.filter_map(text).collect()
}

#[cfg(test)]
mod tests;
