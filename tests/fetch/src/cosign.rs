//! cosign with a home of its own: offline and by key, or by a private deployment of Sigstore.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use fetch::{PublicKey, Reference};
use tempfile::TempDir;

use crate::{Authority, PASSWORD, Registry, Sigstore, USER};

/// How it writes a signature into a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The bundle of version 0.3.
    Bundle,
    /// A document in an artifact whose tag ends in `.sig`.
    Older,
}

/// cosign with its keys.
pub struct Cosign {
    program: PathBuf,
    folder: TempDir,
}

impl Cosign {
    /// For a registry; with the password and the authority, where it is a private one.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn new(registry: &Registry, authority: Option<&Authority>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        if let Some(authority) = authority {
            let config = registry.docker_config(USER, PASSWORD);
            fs::write(folder.path().join("config.json"), config)?;
            fs::write(folder.path().join("ca.pem"), authority.pem())?;
        }
        Ok(Self {
            program: control_plane::cosign(&mut |_| {})?,
            folder,
        })
    }

    /// Where its keys are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes a pair of keys; the public one is in `NAME.pub`.
    ///
    /// # Errors
    /// It failed.
    pub fn key(&self, name: &str) -> Result<Vec<PublicKey>> {
        self.run(&["generate-key-pair", "--output-key-prefix", name])?;
        self.public(name)
    }

    /// Takes over a private key that somebody else made.
    ///
    /// # Errors
    /// It failed.
    pub fn import(&self, name: &str, pem: &str) -> Result<Vec<PublicKey>> {
        fs::write(self.folder.path().join(format!("{name}.pem")), pem)?;
        let file = format!("{name}.pem");
        self.run(&[
            "import-key-pair",
            "--key",
            &file,
            "--output-key-prefix",
            name,
        ])?;
        self.public(name)
    }

    fn public(&self, name: &str) -> Result<Vec<PublicKey>> {
        let pem = fs::read(self.folder.path().join(format!("{name}.pub")))?;
        Ok(PublicKey::from_pem(&pem)?)
    }

    /// Signs an artifact in the registry.
    ///
    /// # Errors
    /// It failed.
    pub fn sign(&self, key: &str, form: Form, reference: &Reference) -> Result<()> {
        let key = format!("--key={key}.key");
        let form = format!("--new-bundle-format={}", form == Form::Bundle);
        let reference = reference.to_string();
        let arguments = [
            OFFLINE,
            &["--allow-insecure-registry", &key, &form, &reference],
        ]
        .concat();
        self.run(&[&["sign"], arguments.as_slice()].concat())
    }

    /// Signs an artifact in the registry without a key, as the service account `account`.
    ///
    /// # Errors
    /// It failed.
    pub fn sign_as(&self, sigstore: &Sigstore, account: &str, reference: &Reference) -> Result<()> {
        let reference = reference.to_string();
        let services = services(sigstore, account)?;
        let services = services.each_ref().map(String::as_str);
        let insecure = ["sign", "--allow-insecure-registry", "--yes", &reference];
        self.run(&[insecure.as_slice(), &services].concat())
    }

    /// Signs a file without a key, and writes the bundle beside it.
    ///
    /// # Errors
    /// It failed.
    pub fn sign_file_as(&self, sigstore: &Sigstore, account: &str, file: &Path) -> Result<PathBuf> {
        let bundle = format!("{}.sigstore.json", file.display());
        let file = file.display().to_string();
        let services = services(sigstore, account)?;
        let services = services.each_ref().map(String::as_str);
        let blob = ["sign-blob", "--yes", "--bundle", &bundle, &file];
        self.run(&[blob.as_slice(), &services].concat())?;
        Ok(bundle.into())
    }

    /// States something else about an artifact than that it is signed.
    ///
    /// # Errors
    /// It failed.
    pub fn attest(&self, key: &str, reference: &Reference) -> Result<()> {
        fs::write(self.folder.path().join("predicate.json"), "{}")?;
        let key = format!("--key={key}.key");
        let reference = reference.to_string();
        let about = ["--type=custom", "--predicate=predicate.json"];
        let arguments = [
            OFFLINE,
            &["--allow-insecure-registry", &key],
            &about,
            &[&reference],
        ];
        self.run(&[&["attest"], arguments.concat().as_slice()].concat())
    }

    /// Signs a file, and writes the bundle beside it.
    ///
    /// # Errors
    /// It failed.
    pub fn sign_file(&self, key: &str, file: &Path) -> Result<PathBuf> {
        let key = format!("--key={key}.key");
        let bundle = format!("{}.sigstore.json", file.display());
        let file = file.display().to_string();
        let arguments = [OFFLINE, &[&key, "--bundle", &bundle, &file]].concat();
        self.run(&[&["sign-blob"], arguments.as_slice()].concat())?;
        Ok(bundle.into())
    }

    /// Runs it in its folder.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command().args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "cosign {}: {said}",
            arguments.join(" ")
        );
        Ok(())
    }

    /// A command of it, to be completed.
    pub fn command(&self) -> Command {
        let home = self.folder.path();
        let mut command = Command::new(&self.program);
        command
            .current_dir(home)
            .env("HOME", home)
            .env("DOCKER_CONFIG", home)
            .env("COSIGN_PASSWORD", "");
        if home.join("ca.pem").is_file() {
            command.env("SSL_CERT_FILE", home.join("ca.pem"));
        }
        command
    }
}

/// Who is asked for certificates and timestamps, and who asks.
fn services(sigstore: &Sigstore, account: &str) -> Result<[String; 3]> {
    Ok([
        format!("--signing-config={}", sigstore.signing_config().display()),
        format!("--trusted-root={}", sigstore.trusted_root().display()),
        format!("--identity-token={}", sigstore.token(account)?.display()),
    ])
}

/// Nobody is asked but the registry.
const OFFLINE: &[&str] = &["--use-signing-config=false", "--tlog-upload=false", "--yes"];
