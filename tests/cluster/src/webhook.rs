//! A host that serves the webhook, and an API server that asks it.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use control_plane::Lifetime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use tempfile::TempDir;

use crate::{Cluster, Host, wait};

/// Name of the configuration, which is also the default of the host's flag.
pub const CONFIGURATION: &str = "node-readiness-webhook";

/// Whom an API server is told to trust.
pub struct Authority {
    /// Its own certificate.
    pub pem: String,
    key: KeyPair,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    /// `tls.crt`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// A defect.
    pub fn new() -> anyhow::Result<Self> {
        Self::until(3650)
    }

    /// One that is valid for so many days.
    ///
    /// # Errors
    /// A defect.
    pub fn until(days: i64) -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "CA of a test");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid_until(&mut parameters, days)?;
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { pem, key })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// This is no key.
    pub fn of(pem: &str, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            pem: pem.to_owned(),
            key: KeyPair::from_pem(key)?,
        })
    }

    /// Its key, in PEM.
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// A pair for 127.0.0.1 that is valid for so many days; or was, if that is negative.
    ///
    /// # Errors
    /// A defect.
    pub fn sign(&self, days: i64) -> anyhow::Result<Pair> {
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        valid_until(&mut parameters, days)?;
        let issuer = Issuer::from_ca_cert_pem(&self.pem, &self.key)?;
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: parameters.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn valid_until(parameters: &mut CertificateParams, days: i64) -> anyhow::Result<()> {
    let date = |days: i64| {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let date = today.checked_add(Span::new().days(days))?;
        anyhow::Ok(rcgen::date_time_ymd(
            date.year().into(),
            u8::try_from(date.month())?,
            u8::try_from(date.day())?,
        ))
    };
    parameters.not_before = date(-30)?;
    parameters.not_after = date(days)?;
    Ok(())
}

/// A `$TMPDIR` with the certificate where the host looks for it, mounted as a kubelet mounts a Secret.
pub struct Folder {
    folder: TempDir,
    mounted: AtomicUsize,
}

impl Folder {
    /// One without certificates.
    ///
    /// # Errors
    /// The disk.
    pub fn new() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        std::fs::create_dir_all(folder.path().join("k8s-webhook-server/serving-certs"))?;
        Ok(Self {
            folder,
            mounted: AtomicUsize::new(0),
        })
    }

    /// One with a pair.
    ///
    /// # Errors
    /// The disk.
    pub fn with(pair: &Pair) -> anyhow::Result<Self> {
        let folder = Self::new()?;
        folder.mount(pair)?;
        Ok(folder)
    }

    /// The value of `$TMPDIR`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Exchanges the pair in one step.
    ///
    /// # Errors
    /// The disk.
    pub fn mount(&self, pair: &Pair) -> anyhow::Result<()> {
        let folder = self.path().join("k8s-webhook-server/serving-certs");
        let number = self.mounted.fetch_add(1, Ordering::Relaxed);
        let version = format!("..version_{number}");
        std::fs::create_dir(folder.join(&version))?;
        std::fs::write(folder.join(&version).join("tls.crt"), &pair.certificate)?;
        std::fs::write(folder.join(&version).join("tls.key"), &pair.key)?;
        symlink(&version, folder.join("..data_tmp"))?;
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
        if number == 0 {
            symlink("..data/tls.crt", folder.join("tls.crt"))?;
            symlink("..data/tls.key", folder.join("tls.key"))?;
        }
        Ok(())
    }
}

impl Cluster {
    /// Starts a host that serves the webhook on a free port, with further arguments.
    ///
    /// # Errors
    /// It does not serve.
    pub async fn start_webhook(
        &self,
        kubeconfig: &Path,
        folder: &Folder,
        arguments: &[&str],
    ) -> anyhow::Result<(Host, SocketAddr)> {
        let mut host = self.spawn_webhook(kubeconfig, folder, arguments)?;
        let served = "the webhook is served";
        host.until_logged(served).await?;
        let log = host.log()?;
        let line = log
            .lines()
            .find(|line| line.contains(served))
            .context("it is there")?;
        let line: serde_json::Value = serde_json::from_str(line)?;
        let address = line["address"].as_str().context("a line with an address")?;
        Ok((host, address.parse()?))
    }

    /// As [`Cluster::start_webhook`], and waits for nothing.
    ///
    /// # Errors
    /// There is no such program.
    pub fn spawn_webhook(
        &self,
        kubeconfig: &Path,
        folder: &Folder,
        arguments: &[&str],
    ) -> anyhow::Result<Host> {
        let address = ["--enable-webhook", "--webhook-bind-address=127.0.0.1:0"];
        Host::spawn_with(
            kubeconfig,
            &self.new_log(),
            Lifetime::OfThisProcess,
            &[&address, arguments].concat(),
            &[("TMPDIR", folder.path())],
        )
    }

    /// The configurations of webhooks.
    pub fn webhooks(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    /// Tells the API server to ask there, and whom to trust.
    ///
    /// # Errors
    /// What it says.
    pub async fn configure_webhook(
        &self,
        address: SocketAddr,
        authority: Option<&str>,
    ) -> anyhow::Result<()> {
        let client = WebhookClientConfig {
            url: Some(format!("https://{address}{}", api::webhook::PATH)),
            ca_bundle: authority.map(|pem| ByteString(pem.into())),
            service: None,
        };
        let configuration = api::webhook::configuration(CONFIGURATION, client);
        self.webhooks()
            .create(&PostParams::default(), &configuration)
            .await?;
        Ok(())
    }

    /// Changes the first webhook of the configuration.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch_webhook(&self, patch: serde_json::Value) -> anyhow::Result<()> {
        let patch: json_patch::Patch = serde_json::from_value(patch)?;
        let patch = Patch::Json::<()>(patch);
        self.webhooks()
            .patch(CONFIGURATION, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// What the API server says of a rule that selects nothing, which it does not store.
    ///
    /// # Errors
    /// It would store it.
    pub async fn refusal_of_nothing(&self) -> anyhow::Result<String> {
        let rule = serde_json::from_value(json!({
            "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
            "metadata": {"name": "selects-nothing"},
            "spec": {
                "conditions": [{"type": "A", "requiredStatus": "True"}],
                "enforcementMode": "continuous",
                "taint": {"key": "readiness.k8s.io/selects-nothing", "effect": "NoSchedule"},
                "nodeSelector": {}}}))?;
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.rules().create(&parameters, &rule).await {
            Ok(_) => Ok(String::new()),
            Err(kube::Error::Api(status)) => Ok(status.message.clone()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the API server asks the host: it learns of a configuration a moment later.
    ///
    /// # Errors
    /// It does not.
    pub async fn until_asked(&self) -> anyhow::Result<()> {
        self.until_refused("denied the request: validation failed: [")
            .await
    }

    /// Waits until a rule that selects nothing is refused for a reason that contains `text`.
    ///
    /// # Errors
    /// It is not.
    pub async fn until_refused(&self, text: &str) -> anyhow::Result<()> {
        wait::until(&format!("the webhook's answer is {text:?}"), || async {
            let answer = self.refusal_of_nothing().await?;
            Ok(if answer.contains(text) {
                Ok(())
            } else {
                Err(answer)
            })
        })
        .await
    }
}
