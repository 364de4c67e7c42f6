//! The registry of the CNCF's distribution, on a free port of this machine.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use control_plane::{Lifetime, Process, command};
use fetch::{Access, Authorities, Client, Credentials, Digest, Limits, Reference, Source};
use tempfile::TempDir;

use crate::{Authority, Tokens};

/// Who may do everything.
pub const USER: &str = "platform";
/// Their password.
pub const PASSWORD: &str = "open sesame";
/// As htpasswd writes it.
const HTPASSWD: &str = "platform:$2a$04$Ra9lWQcPoDzDOAZJlJQPSO8uBAz2djSXtWsJA3XaozF.lUeMU6Rce\n";

/// Longer than it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);

/// How it wants to be asked.
#[derive(Default)]
pub struct Options<'a> {
    /// Certificate and key; without them plain http.
    pub tls: Option<(String, String)>,
    /// Who is let in.
    pub login: Login<'a>,
    /// Where it sends who wants a blob.
    pub redirect: Option<String>,
}

/// Who is let in.
#[derive(Default)]
pub enum Login<'a> {
    /// Everybody.
    #[default]
    Nobody,
    /// Who knows the password.
    Password,
    /// Who has a token of this server.
    Tokens(&'a Tokens),
}

/// A running registry; ends when it is dropped.
pub struct Registry {
    _process: Process,
    folder: TempDir,
    host: String,
    tls: bool,
}

impl Registry {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// It cannot be built, or does not start.
    pub fn start(options: Options<'_>) -> Result<Self> {
        let Options {
            tls,
            login,
            redirect,
        } = options;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\n\
             log: {{level: info}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: none\n",
            path("data")
        );
        if let Some((certificate, key)) = &tls {
            fs::write(path("server.pem"), certificate)?;
            fs::write(path("server.key"), key)?;
            let (certificate, key) = (path("server.pem"), path("server.key"));
            config += &format!("  tls: {{certificate: {certificate}, key: {key}}}\n");
        }
        match login {
            Login::Nobody => {}
            Login::Password => {
                fs::write(path("htpasswd"), HTPASSWD)?;
                let file = path("htpasswd");
                config += &format!("auth: {{htpasswd: {{realm: policies, path: {file}}}}}\n");
            }
            Login::Tokens(tokens) => {
                fs::write(path("keys.json"), tokens.keys())?;
                let (realm, file) = (tokens.realm(), path("keys.json"));
                config += &format!(
                    "auth: {{token: {{realm: {realm}, service: registry, issuer: tokens, jwks: {file}}}}}\n"
                );
            }
        }
        if let Some(url) = redirect {
            config += &format!(
                "middleware: {{storage: [{{name: redirect, options: {{baseurl: '{url}'}}}}]}}\n"
            );
        }
        fs::write(path("config.yml"), config)?;
        let program = control_plane::registry(&mut |_| {})?;
        let mut command = command(&program, Lifetime::OfThisProcess);
        command
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none");
        let log = folder.path().join("log");
        let mut process = Process::spawn("the registry", command, &log)?;
        let end = Instant::now() + DEADLINE;
        let port = loop {
            let said = fs::read_to_string(&log)?;
            if let Some(port) = port(&said) {
                break port.to_owned();
            }
            if process.exit_status()?.is_some() || Instant::now() >= end {
                bail!("the registry does not listen: {}", process.log_tail());
            }
            std::thread::sleep(INTERVAL);
        };
        Ok(Self {
            _process: process,
            folder,
            host: format!("127.0.0.1:{port}"),
            tls: tls.is_some(),
        })
    }

    /// With a certificate of this authority, and a password.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn private(authority: &Authority) -> Result<Self> {
        Self::start(Options {
            tls: Some(authority.server("127.0.0.1")?),
            login: Login::Password,
            redirect: None,
        })
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `https://HOST:PORT` or `http://HOST:PORT`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }

    /// `policies/steady:1.0` there.
    ///
    /// # Errors
    /// It is no reference.
    pub fn reference(&self, rest: &str) -> Result<Reference> {
        Ok(format!("{}/{rest}", self.host).parse()?)
    }

    /// The same as a source.
    ///
    /// # Errors
    /// It is no reference.
    pub fn source(&self, rest: &str) -> Result<Source> {
        Ok(Source::Registry(self.reference(rest)?))
    }

    /// The file in which it keeps what has this digest.
    pub fn file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self
            .folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// A client that knows all that it takes: plain http, or the authority and the password.
    ///
    /// # Errors
    /// What cannot be.
    pub fn client(&self, authority: Option<&Authority>) -> Result<Client> {
        let mut access = Access {
            plain_http: !self.tls,
            ..Access::default()
        };
        if let Some(authority) = authority {
            access.authorities = trust(authority)?;
            access.credentials = self.login(USER, PASSWORD)?;
        }
        Ok(Client::new(access, Limits::default())?)
    }

    /// Credentials for it.
    ///
    /// # Errors
    /// What cannot be.
    pub fn login(&self, user: &str, password: &str) -> Result<Credentials> {
        Ok(Credentials::from_docker_config(
            self.docker_config(user, password).as_bytes(),
        )?)
    }

    /// The same as docker writes them.
    pub fn docker_config(&self, user: &str, password: &str) -> String {
        let login = serde_json::json!({"username": user, "password": password});
        serde_json::json!({"auths": {&self.host: login}}).to_string()
    }
}

/// Whom a client believes then.
///
/// # Errors
/// It has expired.
pub fn trust(authority: &Authority) -> Result<Authorities> {
    let now = std::time::SystemTime::now();
    Authorities::from_pem(authority.pem().as_bytes(), now).context("the test's own authority")
}

/// It says so once it listens.
fn port(log: &str) -> Option<&str> {
    let (_, after) = log.split_once("msg=\"listening on 127.0.0.1:")?;
    after.split(|letter: char| !letter.is_ascii_digit()).next()
}
