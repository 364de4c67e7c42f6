//! What a `ReadinessPolicy` asks for, with every text taken apart.

use std::fmt;
use std::time::{Duration, SystemTime};

use api::policy::{ConfigMapModule, HttpsModule, KeylessSigner, Limits, OciModule, SecretName};
use api::policy::{ModuleSource, ReadinessPolicySpec};
use engine::{Grants, Policy, PolicyLimits};
use fetch::{Authorities, Digest, Identity, PublicKey, Signer, Source};

use super::OnFailure;
use super::trouble::{Step, Trouble};

/// The module that is wanted.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) place: Place,
    pub(super) digest: Option<Digest>,
    /// Who may have signed; where these and `identities` are empty nobody has to.
    pub(super) keys: Vec<PublicKey>,
    /// Who may have signed without a key.
    pub(super) identities: Vec<Identity>,
    pub(super) limits: PolicyLimits,
    pub(super) on_failure: OnFailure,
}

/// Where it is.
#[derive(Debug)]
pub(super) enum Place {
    Fetched {
        source: Source,
        pull_secret: Option<SecretName>,
        authorities: Authorities,
        plain_http: bool,
    },
    ConfigMap(ConfigMapModule),
    BuiltIn(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched { source, .. } => source.fmt(f),
            Self::ConfigMap(ConfigMapModule {
                namespace,
                name,
                key,
            }) => write!(f, "ConfigMap {namespace}/{name}, key {key},"),
            Self::BuiltIn(name) => write!(f, "the built-in policy {name}"),
        }
    }
}

/// Who may have signed: nobody has to have where there is neither a key nor an identity.
pub(super) fn signers(keys: &[PublicKey], identities: &[Identity]) -> Vec<Option<Signer>> {
    let keys = keys.iter().map(|key| Signer::Key(key.fingerprint()));
    let identities = identities.iter().cloned().map(Signer::Identity);
    let signers: Vec<_> = keys.chain(identities).map(Some).collect();
    if signers.is_empty() {
        return vec![None];
    }
    signers
}

impl Place {
    /// The host that is asked for it, where that is one of the network.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Fetched { source, .. } => match source {
                Source::Registry(reference) => Some(reference.registry()),
                Source::Web(url) => url.authority().map(|authority| authority.as_str()),
                Source::File(_) => None,
            },
            Self::ConfigMap(_) | Self::BuiltIn(_) => None,
        }
    }
}

impl Order {
    /// May what was brought before go on, though another module is wanted? Only who signed it may have changed, and
    /// what it may ask.
    pub(super) fn allows(&self, policy: &Policy, signer: Option<&Signer>) -> bool {
        let may_sign = signers(&self.keys, &self.identities);
        may_sign.iter().any(|may| may.as_ref() == signer) && policy.is_granted(self.limits.grants)
    }

    pub(super) fn of(spec: &ReadinessPolicySpec) -> Result<Self, Trouble> {
        let limits = spec
            .limits
            .as_ref()
            .map_or(Ok(PolicyLimits::default()), limits)?;
        let limits = PolicyLimits {
            grants: spec
                .allow
                .as_deref()
                .map_or(Ok(Grants::default()), grants)?,
            ..limits
        };
        let on_failure = match spec.on_failure.as_deref() {
            None => OnFailure::default(),
            Some(word) => OnFailure::parse(word).ok_or_else(|| {
                let message =
                    format!("spec.onFailure: {word:?} is none of Hold, Taint and Release");
                Trouble::lasting(Step::Compatible, "InvalidOnFailure", message)
            })?,
        };
        let digest = spec.digest.as_deref().map(str::parse::<Digest>).transpose();
        let digest = digest.map_err(|error| {
            Trouble::lasting(
                Step::Verified,
                "InvalidDigest",
                format!("spec.digest: {error}"),
            )
        })?;
        let mut keys = Vec::new();
        for (index, pem) in spec
            .signature
            .iter()
            .flat_map(|signature| &signature.keys)
            .enumerate()
        {
            let found = PublicKey::from_pem(pem.as_bytes()).map_err(|error| {
                let message = format!("spec.signature.keys[{index}]: {error}");
                Trouble::lasting(Step::Verified, "InvalidKey", message)
            })?;
            keys.extend(found);
        }
        let mut identities = Vec::new();
        let keyless = spec
            .signature
            .iter()
            .flat_map(|signature| &signature.keyless);
        for (index, KeylessSigner { issuer, identity }) in keyless.enumerate() {
            let identity = Identity::new(issuer, identity).map_err(|error| {
                let message = format!("spec.signature.keyless[{index}]: {error}");
                Trouble::lasting(Step::Verified, "InvalidIdentity", message)
            })?;
            identities.push(identity);
        }
        if keys.is_empty() && identities.is_empty() && spec.signature.is_some() {
            // Without either it would not have to be signed.
            let message = "spec.signature: there is no key and no identity: give one, or remove spec.signature";
            return Err(Trouble::lasting(Step::Verified, "InvalidKey", message));
        }
        Ok(Self {
            place: place(&spec.module)?,
            digest,
            keys,
            identities,
            limits,
            on_failure,
        })
    }
}

fn place(module: &ModuleSource) -> Result<Place, Trouble> {
    let invalid = |field: &str, why: &dyn std::fmt::Display| {
        let message = format!("spec.module.{field}: {why}");
        Trouble::lasting(Step::Fetched, "InvalidSource", message)
    };
    let believed = |field: &str, ca: Option<&String>| match ca {
        Some(pem) => Authorities::from_pem(pem.as_bytes(), SystemTime::now())
            .map_err(|error| invalid(&format!("{field}.ca"), &error)),
        None => Ok(Authorities::default()),
    };
    let source = |field: &str, text: &str| {
        text.parse::<Source>()
            .map_err(|error| invalid(field, &error))
    };
    match module {
        ModuleSource {
            oci:
                Some(OciModule {
                    reference,
                    pull_secret,
                    ca,
                    plain_http,
                }),
            ..
        } => Ok(Place::Fetched {
            source: source("oci.reference", &format!("oci://{reference}"))?,
            pull_secret: pull_secret.clone(),
            authorities: believed("oci", ca.as_ref())?,
            plain_http: plain_http.unwrap_or_default(),
        }),
        ModuleSource {
            https:
                Some(HttpsModule {
                    url,
                    pull_secret,
                    ca,
                }),
            ..
        } => {
            if !url.starts_with("https://") {
                return Err(invalid("https.url", &"it does not begin with https://"));
            }
            Ok(Place::Fetched {
                source: source("https.url", url)?,
                pull_secret: pull_secret.clone(),
                authorities: believed("https", ca.as_ref())?,
                plain_http: false,
            })
        }
        ModuleSource {
            file: Some(file), ..
        } => Ok(Place::Fetched {
            source: Source::File(file.path.clone().into()),
            pull_secret: None,
            authorities: Authorities::default(),
            plain_http: false,
        }),
        ModuleSource {
            config_map: Some(entry),
            ..
        } => Ok(Place::ConfigMap(entry.clone())),
        ModuleSource {
            builtin: Some(builtin),
            ..
        } => Ok(Place::BuiltIn(builtin.name.clone())),
        _ => {
            let message =
                "spec.module: give exactly one of oci, https, file, configMap and builtin";
            Err(Trouble::lasting(Step::Fetched, "InvalidSource", message))
        }
    }
}

fn limits(limits: &Limits) -> Result<PolicyLimits, Trouble> {
    let invalid = |field: &str, text: &str, example: &str| {
        let message =
            format!("spec.limits.{field}: {text:?} cannot be used: give one such as {example}");
        Trouble::lasting(Step::Compatible, "InvalidLimits", message)
    };
    let memory = limits.memory.as_deref();
    let deadline = limits.deadline.as_deref();
    Ok(PolicyLimits {
        memory: memory
            .map(|text| bytes(text).ok_or_else(|| invalid("memory", text, "16Mi")))
            .transpose()?,
        deadline: deadline
            .map(|text| duration(text).ok_or_else(|| invalid("deadline", text, "100ms")))
            .transpose()?,
        ..PolicyLimits::default()
    })
}

fn grants(allow: &[String]) -> Result<Grants, Trouble> {
    Grants::of(allow).map_err(|unknown| {
        let message = format!("spec.allow: {unknown}");
        Trouble::lasting(Step::Compatible, "UnknownInterface", message)
    })
}

fn bytes(text: &str) -> Option<usize> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return None,
    };
    let number: usize = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(1 << shift)
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    Some(duration).filter(|duration| *duration <= Duration::from_secs(10))
}

#[cfg(test)]
mod tests;
