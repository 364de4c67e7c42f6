//! A private deployment of Sigstore: Fulcio and its timestamp authority, and an issuer of tokens that Fulcio believes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Lifetime, Process, command};
use http::{HeaderMap, Method};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::jwt::{SigningKey, now};
use crate::stand_in::{Reply, StandIn, exchange};

/// Longer than they take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);
/// Somebody may take a free port before Fulcio does.
const ATTEMPTS: usize = 5;

/// Running; ends when it is dropped.
pub struct Sigstore {
    _fulcio: Process,
    _timestamps: Process,
    issuer: StandIn,
    key: SigningKey,
    folder: TempDir,
    fulcio_url: String,
    timestamps_url: String,
    _background: Background,
}

/// What answers cosign and Fulcio while they are waited for. It may be dropped where nothing may block.
struct Background(Option<Runtime>);

impl Sigstore {
    /// Starts all of it, and has cosign write the trust root and the configuration of who signs.
    ///
    /// # Errors
    /// Something cannot be built, or does not start.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let background = Background::start()?;
        let key = SigningKey::new()?;
        let keys = key.public().to_string();
        let issuer = background.within(StandIn::start(move |seen| openid(&keys, seen)))??;

        let (timestamps, timestamps_url) = timestamps(folder.path())?;
        let timestamps_url = format!("{timestamps_url}/api/v1/timestamp");
        let (fulcio, fulcio_url) = fulcio(&background, folder.path(), &issuer.url())?;
        for (name, url) in [
            ("timestamps.pem", format!("{timestamps_url}/certchain")),
            ("fulcio.pem", format!("{fulcio_url}/api/v1/rootCert")),
        ] {
            let got = background.within(get(url.clone()))?;
            fs::write(folder.path().join(name), got.with_context(|| url)?)?;
        }
        let deployment = Self {
            _fulcio: fulcio,
            _timestamps: timestamps,
            issuer,
            key,
            folder,
            fulcio_url,
            timestamps_url,
            _background: background,
        };
        deployment.write()?;
        Ok(deployment)
    }

    /// What cosign itself makes for such a deployment.
    fn write(&self) -> Result<()> {
        let (fulcio, timestamps) = (&self.fulcio_url, &self.timestamps_url);
        let program = control_plane::cosign(&mut |_| {})?;
        let run = |arguments: &[String]| {
            let mut cosign = Command::new(&program);
            cosign.args(arguments).current_dir(self.folder.path());
            let output = cosign.env("HOME", self.folder.path()).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {said}", arguments.join(" "));
            Ok(())
        };
        run(&[
            "trusted-root".to_owned(),
            "create".to_owned(),
            format!("--fulcio=url={fulcio},certificate-chain=fulcio.pem"),
            format!("--tsa=url={timestamps},certificate-chain=timestamps.pem"),
            "--out=trusted_root.json".to_owned(),
        ])?;
        let service = "api-version=1,start-time=2020-01-01T00:00:00Z,operator=tests";
        run(&[
            "signing-config".to_owned(),
            "create".to_owned(),
            format!("--fulcio=url={fulcio},{service}"),
            format!("--tsa=url={timestamps},{service}"),
            "--tsa-config=ANY".to_owned(),
            "--out=signing_config.json".to_owned(),
        ])
    }

    /// Whom a verifier believes.
    pub fn trusted_root(&self) -> PathBuf {
        self.folder.path().join("trusted_root.json")
    }

    /// Where cosign gets certificates and timestamps.
    pub fn signing_config(&self) -> PathBuf {
        self.folder.path().join("signing_config.json")
    }

    /// Where Fulcio is.
    pub fn fulcio(&self) -> &str {
        &self.fulcio_url
    }

    /// Where timestamps are.
    pub fn timestamps(&self) -> &str {
        &self.timestamps_url
    }

    /// Issuer of the tokens.
    pub fn issuer(&self) -> String {
        self.issuer.url()
    }

    /// Who somebody is that has the token of this service account.
    pub fn identity(account: &str) -> String {
        format!("https://kubernetes.io/namespaces/ci/serviceaccounts/{account}")
    }

    /// A file with a token of a service account in namespace `ci`, such as a pod has it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn token(&self, account: &str) -> Result<PathBuf> {
        let now = now().context("it is before 1970")?;
        let claims = json!({
            "iss": self.issuer(), "sub": format!("system:serviceaccount:ci:{account}"), "aud": "sigstore",
            "iat": now, "nbf": now - 60, "exp": now + 3600,
            "kubernetes.io": {
                "namespace": "ci",
                "pod": {"name": "job", "uid": "1"},
                "serviceaccount": {"name": account, "uid": "2"},
            },
        });
        let file = self.folder.path().join(format!("{account}.token"));
        fs::write(&file, self.key.sign(&claims).context("no signature")?)?;
        Ok(file)
    }
}

impl Background {
    fn start() -> Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Waits for it, also where the caller is itself in a runtime.
    fn within<T: Send + 'static>(
        &self,
        done: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = mpsc::channel();
        let runtime = self.0.as_ref().context("it is there until it is dropped")?;
        runtime.spawn(async move { send.send(done.await).ok() });
        Ok(receive.recv()?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What Fulcio asks an issuer, OpenID Connect Discovery.
fn openid(keys: &str, seen: &crate::Seen) -> Reply {
    let url = format!("http://{}", seen.header("host"));
    match seen.path.as_str() {
        "/.well-known/openid-configuration" => Reply::status(
            200,
            &json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": url,
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })
            .to_string(),
        ),
        "/keys" => Reply::status(200, keys),
        _ => Reply::status(404, ""),
    }
}

fn timestamps(folder: &Path) -> Result<(Process, String)> {
    let program = control_plane::timestamp_authority(&mut |_| {})?;
    let end = Instant::now() + DEADLINE;
    // Its metrics have this port and no other, and it says that it serves before it ends for want of it: one that runs
    // elsewhere on this machine is waited for.
    while TcpListener::bind((Ipv4Addr::UNSPECIFIED, 2112)).is_err() {
        if Instant::now() >= end {
            bail!("somebody has port 2112, where the timestamp authority has its metrics");
        }
        std::thread::sleep(INTERVAL);
    }
    let mut command = command(&program, Lifetime::OfThisProcess);
    command.args([
        "serve",
        "--host=127.0.0.1",
        "--port=0",
        "--timestamp-signer=memory",
        // It would ask servers of the internet.
        "--disable-ntp-monitoring",
    ]);
    let log = folder.join("timestamps.log");
    let mut process = Process::spawn("the timestamp authority", command, &log)?;
    loop {
        let said = fs::read_to_string(&log)?;
        let after = said.split_once("Serving timestamp server at ");
        if let Some((url, _)) = after.and_then(|(_, after)| after.split_once('\n')) {
            return Ok((process, url.trim().to_owned()));
        }
        if process.exit_status()?.is_some() || Instant::now() >= end {
            bail!("no timestamps: {}", process.log_tail());
        }
        std::thread::sleep(INTERVAL);
    }
}

fn fulcio(background: &Background, folder: &Path, issuer: &str) -> Result<(Process, String)> {
    let program = control_plane::fulcio(&mut |_| {})?;
    let config = json!({"OIDCIssuers": {
        issuer: {"IssuerURL": issuer, "ClientID": "sigstore", "Type": "kubernetes"},
    }});
    fs::write(folder.join("fulcio.json"), config.to_string())?;
    let end = Instant::now() + DEADLINE;
    for attempt in 0..ATTEMPTS {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = command(&program, Lifetime::OfThisProcess);
        command
            .args(["serve", "--host=127.0.0.1", "--grpc-host=127.0.0.1"])
            // Without a log of certificates.
            .args(["--ca=ephemeralca", "--ct-log-url="])
            .args(["--grpc-port=0", "--metrics-port=0"])
            .arg(format!("--port={port}"))
            .arg(format!(
                "--legacy-unix-domain-socket=@fulcio-of-tests-{port}"
            ))
            .arg(format!(
                "--config-path={}",
                folder.join("fulcio.json").display()
            ));
        let log = folder.join(format!("fulcio-{attempt}.log"));
        let mut process = Process::spawn("Fulcio", command, &log)?;
        let url = format!("http://127.0.0.1:{port}");
        loop {
            if background
                .within(get(format!("{url}/api/v1/rootCert")))?
                .is_ok()
            {
                return Ok((process, url));
            }
            if process.exit_status()?.is_some() {
                break;
            }
            if Instant::now() >= end {
                bail!("Fulcio does not answer: {}", process.log_tail());
            }
            std::thread::sleep(INTERVAL);
        }
        if !process.log_tail().contains("address already in use") {
            bail!("Fulcio ended: {}", process.log_tail());
        }
    }
    bail!("no free port for Fulcio")
}

async fn get(url: String) -> Result<Vec<u8>> {
    let (status, _, body) = exchange(Method::GET, &url, HeaderMap::new(), Vec::new()).await?;
    ensure!(status == 200, "{status}");
    Ok(body)
}
