//! What the commands that fetch and push modules have in common.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use engine::{Engine, Policy};
use fetch::{
    Access, Authorities, Client, Credentials, FetchError, Identity, InvalidReference, Keyless,
    Limits, PublicKey, Reference, Signers, TrustedRoot,
};

use crate::exit::Exit;
use crate::input::BadInput;
use crate::output;

/// How places are reached.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Certificate authority to believe beside those of the system: PEM; can be given several times
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,

    /// Credentials as docker keeps them; without it $DOCKER_CONFIG/config.json, ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,

    /// Ask registries over plain http, and allow it for URLs
    #[arg(long)]
    plain_http: bool,
}

impl Options {
    /// A client that reaches places so.
    pub fn client(self) -> anyhow::Result<Client> {
        let Self {
            ca,
            docker_config,
            plain_http,
        } = self;
        let mut authorities = Authorities::default();
        for file in &ca {
            let found = Authorities::from_pem(&read(file)?, SystemTime::now());
            authorities = authorities.and(found.map_err(|error| about(file, &error))?);
        }
        let credentials = match docker_config.or_else(users_docker_config) {
            Some(file) => Credentials::from_docker_config(&read(&file)?)
                .map_err(|error| about(&file, &error))?,
            None => Credentials::default(),
        };
        let access = Access {
            credentials,
            authorities,
            plain_http,
        };
        Ok(Client::new(access, Limits::default())?)
    }
}

/// The file that docker itself reads, where there is one.
fn users_docker_config() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let folder = match set("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&set("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json")).filter(|file| file.is_file())
}

/// Who must have signed.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Signed {
    /// Public key of who must have signed it: PEM; can be given several times, and one of them suffices
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// E-mail address or URI that the certificate of who signed it must be for, exactly
    #[arg(long, value_name = "TEXT", requires_all = ["certificate_oidc_issuer", "trusted_root"])]
    certificate_identity: Option<String>,

    /// Issuer of tokens (OIDC) that must know this identity, exactly
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,

    /// Whose certificates, logs and timestamps are believed: what `cosign trusted-root create` writes
    #[arg(long, value_name = "FILE", requires = "certificate_identity")]
    trusted_root: Option<PathBuf>,
}

/// The same, read.
pub struct Trusted {
    keys: Vec<PublicKey>,
    keyless: Option<Keyless>,
}

impl Signed {
    /// Must somebody have signed it?
    pub fn is_given(&self) -> bool {
        !self.keys.is_empty() || self.certificate_identity.is_some()
    }

    /// Reads the files.
    pub fn read(self) -> Result<Trusted, BadInput> {
        let mut keys = Vec::new();
        for file in &self.keys {
            let found = PublicKey::from_pem(&read(file)?);
            keys.extend(found.map_err(|error| about(file, &error))?);
        }
        let given = (
            self.certificate_oidc_issuer,
            self.certificate_identity,
            self.trusted_root,
        );
        let keyless = match given {
            (Some(issuer), Some(identity), Some(file)) => {
                let identity = Identity::new(&issuer, &identity);
                let root = TrustedRoot::from_json(&read(&file)?);
                Some(Keyless {
                    identities: vec![identity.map_err(|error| BadInput::one(error.to_string()))?],
                    root: root.map_err(|error| about(&file, &error))?,
                })
            }
            // The parser of arguments wants all three or none.
            _ => None,
        };
        Ok(Trusted { keys, keyless })
    }
}

impl Trusted {
    /// For the client.
    pub fn signers(&self) -> Signers<'_> {
        Signers {
            keys: &self.keys,
            keyless: self.keyless.as_ref(),
        }
    }
}

/// A reference, with or without `oci://`.
pub fn reference(text: &str) -> Result<Reference, InvalidReference> {
    text.strip_prefix("oci://").unwrap_or(text).parse()
}

/// All of a file.
pub fn read(file: &Path) -> Result<Vec<u8>, BadInput> {
    fs::read(file)
        .map_err(|error| BadInput::one(format!("{} cannot be read: {error}", file.display())))
}

/// Compiles it, and asks it who it is.
pub fn load(bytes: &[u8], place: &str) -> anyhow::Result<Policy> {
    let engine = Engine::new(&engine::Options::one_at_a_time())?;
    let unusable = |error| BadInput::one(format!("{place} cannot be used as a policy: {error}"));
    Ok(engine.load(bytes).map_err(unusable)?)
}

/// What could not be fetched is bad input; what could be, and is not what it should be, is unexpected.
pub fn failed(error: FetchError) -> anyhow::Result<Exit> {
    if error.problem.is_of_proof() {
        output::error(error);
        return Ok(Exit::Unexpected);
    }
    Err(error.into())
}

fn about(file: &Path, error: &dyn std::error::Error) -> BadInput {
    BadInput::one(format!("{}: {error}", file.display()))
}
