//! Certificates that the host makes and renews itself. They are in a Secret that all replicas share,
//! and the webhook's configuration is told to trust them, again whenever somebody takes that away.
//!
//! The names in the certificate are those by which the configuration calls the host: nothing has to
//! be said twice. Without the rights to all this nothing is managed, and that is said once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::Uri;
use jiff::Timestamp;
use json_patch::Patch as JsonPatch;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::material::{Held, Material};
use crate::certificates::{Pair, Served};
use crate::client::{RequestError, TIMEOUT, patch_metadata, timely};
use crate::events::{Events, Object};

/// While something is missing.
const RETRY: Duration = Duration::from_secs(10);
/// Time alone makes a certificate old.
const CHECK: Duration = Duration::from_secs(60 * 60);
/// Others write the same objects: two replicas that start together meet once or twice.
const ATTEMPTS: usize = 10;

pub(super) struct Managed {
    secrets: Api<Secret>,
    namespace: String,
    secret: String,
    configurations: Api<ValidatingWebhookConfiguration>,
    configuration: String,
    served: Arc<Served>,
    events: Events,
}

/// Why certificates are not managed at the moment.
struct Problem(String);

/// Somebody else was quicker, or it did not work.
enum Failure {
    Again,
    Problem(Problem),
}

impl Managed {
    pub(super) fn new(
        client: &Client,
        namespace: Option<String>,
        secret: String,
        configuration: String,
        served: Arc<Served>,
        events: Events,
    ) -> Self {
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        Self {
            secrets: Api::namespaced(client.clone(), &namespace),
            namespace,
            secret,
            configurations: Api::all(client.clone()),
            configuration,
            served,
            events,
        }
    }

    /// Keeps everything as it must be. Never ends.
    pub(super) async fn run(self) {
        let mut said = None;
        let mut changes = None;
        loop {
            match self.manage().await {
                Ok(()) => {
                    said = None;
                    // Begun only now: without the rights, a watch would only fill the log.
                    let changes = changes.get_or_insert_with(|| self.changes());
                    // Whichever comes first; either way everything is looked at.
                    let _ = timeout(CHECK, changes.next()).await;
                }
                Err(Problem(problem)) => {
                    let missing = self.served.is_missing(&problem);
                    if said.as_ref() != Some(&problem) {
                        warn!(problem, "the webhook's certificates are not managed");
                        self.tell(missing, &problem);
                        said = Some(problem);
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Who asks why kubectl is refused looks at the configuration first.
    fn tell(&self, missing: bool, problem: &str) {
        let means = if missing {
            "The webhook has no certificate, so it cannot be asked, and `failurePolicy` says what becomes of rules"
        } else {
            "The webhook is served, and its certificate is not renewed"
        };
        let configuration = Object::Configuration {
            name: &self.configuration,
        };
        let note = format!("{means}: {problem}");
        self.events
            .warn(configuration, "CertificateNotManaged", problem, note);
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let secret = watcher::watch_object(self.secrets.clone(), &self.secret);
        let configuration = watcher::watch_object(self.configurations.clone(), &self.configuration);
        // A watch that fails begins again by itself, and asking says why if anything is wrong.
        stream::select(
            secret.default_backoff().map_ok(drop),
            configuration.default_backoff().map_ok(drop),
        )
        .filter_map(async |change| change.ok())
        .boxed()
    }

    async fn manage(&self) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Failure::Again) => {}
                Err(Failure::Problem(problem)) => return Err(problem),
            }
        }
        Err(Problem(format!(
            "somebody else writes {} or {} all the time",
            self.secret_name(),
            self.configuration_name()
        )))
    }

    async fn attempt(&self) -> Result<(), Failure> {
        let configuration = timely(self.configurations.get(&self.configuration))
            .await
            .map_err(|error| self.failure("read", &self.configuration_name(), error))?;
        let names = self.names(&configuration)?;
        let material = self.material(&names).await?;
        let pair = Pair::from_pem(material.certificate.as_bytes(), material.key.as_bytes())
            .map_err(|problem| Problem(format!("{}: {problem}", self.secret_name())))?;
        self.served.set(&pair);
        self.trust(&configuration, &material.authorities).await
    }

    /// The names by which the API server calls the host.
    fn names(
        &self,
        configuration: &ValidatingWebhookConfiguration,
    ) -> Result<BTreeSet<String>, Problem> {
        let name = self.configuration_name();
        if let Some(injector) = (configuration.annotations().keys())
            .find(|key| key.starts_with("cert-manager.io/inject-ca-from"))
        {
            return Err(Problem(format!(
                "{name} has the annotation {injector}: cert-manager fills in whom to trust; remove one or the other"
            )));
        }
        let mut names = BTreeSet::new();
        for (_, webhook) in ours(configuration) {
            let client = &webhook.client_config;
            if let Some(service) = &client.service {
                names.insert(format!("{}.{}.svc", service.name, service.namespace));
            }
            if let Some(url) = &client.url {
                let host = url.parse::<Uri>().ok();
                let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
                // An IPv6 address stands in brackets there.
                names.insert(host.trim_matches(['[', ']']).to_owned());
            }
        }
        if names.is_empty() {
            return Err(Problem(format!(
                "{name} has no webhook {}",
                api::webhook::NAME
            )));
        }
        Ok(names)
    }

    /// What the Secret holds, renewed if it has to be.
    async fn material(&self, names: &BTreeSet<String>) -> Result<Material, Failure> {
        let name = self.secret_name();
        let stored = timely(self.secrets.get_opt(&self.secret))
            .await
            .map_err(|error| self.failure("read", &name, error))?;
        let held = match Held::read(stored.as_ref().and_then(|secret| secret.data.as_ref())) {
            Held::Ours(material) => Some(material),
            Held::Nothing => None,
            Held::Foreign => {
                let text = format!(
                    "{name} has a certificate that the host did not make: there is no ca.key; name another Secret with --webhook-secret"
                );
                return Err(Problem(text).into());
            }
        };
        let renewed = Material::renewed(held.as_ref(), names, Timestamp::now())
            .map_err(|error| Problem(format!("a certificate cannot be made: {error}")))?;
        let material = match (held, renewed) {
            (Some(held), None) => return Ok(held),
            // Without anything held there always is something new.
            (None, None) => return Err(Failure::Again),
            (_, Some(renewed)) => renewed,
        };
        let parameters = PostParams::default();
        let written = match stored {
            Some(mut secret) => {
                // Its resource version goes along: of two replicas one is refused.
                secret.data.get_or_insert_default().extend(material.data());
                timely(self.secrets.replace(&self.secret, &parameters, &secret)).await
            }
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(self.secret.clone()),
                        ..ObjectMeta::default()
                    },
                    type_: Some("kubernetes.io/tls".to_owned()),
                    data: Some(material.data()),
                    ..Secret::default()
                };
                timely(self.secrets.create(&parameters, &secret)).await
            }
        };
        written.map_err(|error| self.failure("written", &name, error))?;
        info!(
            secret = format!("{}/{}", self.namespace, self.secret),
            names = names.iter().cloned().collect::<Vec<_>>().join(", "),
            "a new certificate for the webhook was made"
        );
        Ok(material)
    }

    /// Tells the API server whom to trust.
    async fn trust(
        &self,
        configuration: &ValidatingWebhookConfiguration,
        authorities: &str,
    ) -> Result<(), Failure> {
        let bundle = ByteString(authorities.into());
        let mut patch = Vec::new();
        for (index, webhook) in ours(configuration) {
            if webhook.client_config.ca_bundle.as_ref() != Some(&bundle) {
                let place = format!("/webhooks/{index}");
                patch.push(
                    json!({"op": "test", "path": format!("{place}/name"), "value": webhook.name}),
                );
                patch.push(
                    json!({"op": "add", "path": format!("{place}/clientConfig/caBundle"), "value": bundle}),
                );
            }
        }
        if patch.is_empty() {
            return Ok(());
        }
        let name = self.configuration_name();
        let patch: JsonPatch = serde_json::from_value(json!(patch))
            .map_err(|error| Problem(format!("{name}: {error}")))?;
        patch_metadata(&self.configurations, &self.configuration, patch, TIMEOUT)
            .await
            .map_err(|error| self.failure("written", &name, error))?;
        info!(
            configuration = self.configuration,
            "the API server was told to trust the webhook's certificate"
        );
        Ok(())
    }

    fn secret_name(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.secret)
    }

    fn configuration_name(&self) -> String {
        format!("ValidatingWebhookConfiguration {}", self.configuration)
    }

    fn failure(&self, verb: &str, what: &dyn fmt::Display, error: RequestError) -> Failure {
        match error {
            RequestError::Conflict(_) => Failure::Again,
            RequestError::NotFound(_) => Problem(format!(
                "{what} cannot be {verb}, since there is none: create it, or name another with \
                 --webhook-configuration and --webhook-secret, or leave --webhook-manage-certificates out and mount a certificate"
            ))
            .into(),
            error => Problem(format!(
                "{what} cannot be {verb}: {error}; grant it, or leave --webhook-manage-certificates out and mount a certificate"
            ))
            .into(),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Our webhooks in a configuration, which may have others.
fn ours(
    configuration: &ValidatingWebhookConfiguration,
) -> impl Iterator<Item = (usize, &ValidatingWebhook)> {
    let webhooks = configuration.webhooks.iter().flatten().enumerate();
    webhooks.filter(|(_, webhook)| webhook.name == api::webhook::NAME)
}
