//! From an order to the bytes of a module that are the ones that were ordered.

use std::time::Duration;

use api::policy::{ConfigMapModule, SecretName};
use fetch::{
    Access, Authorities, Client as Fetcher, Credentials, Digest, Keyless, Limits, Module, Problem,
    Signer, Signers, Source, Version, Wanted,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use planner::rule::DEFAULT_POLICY;

use super::order::{Order, Place};
use super::trouble::{Step, Trouble};
use crate::client::{RequestError, within};

/// The signature of an entry is beside it, with this at the end of the key.
const SIGNATURE: &str = ".sigstore.json";
/// Key of a Secret that holds credentials of registries.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// A module.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) bytes: Vec<u8>,
    /// Of the artifact in a registry, else of the bytes.
    pub(super) digest: String,
    /// Who signed, where somebody had to.
    pub(super) signer: Option<Signer>,
    /// Is it the host's own, which is compiled already?
    pub(super) is_precompiled: bool,
}

/// Brings it. `pin`: what a tag, or a place, was found to be before. `keyless`: who of the order may sign without a key.
pub(super) async fn bring(
    client: &Client,
    timeout: Duration,
    order: &Order,
    pin: Option<Digest>,
    keyless: Option<&Keyless>,
) -> Result<Brought, Trouble> {
    let digest = order.digest.or(pin);
    let signers = Signers {
        keys: &order.keys,
        keyless,
    };
    let module = match &order.place {
        Place::BuiltIn(name) => {
            let bytes = engine::built_in(name).map_err(|why| {
                let message = format!("spec.module.builtin.name: {why}");
                Trouble::lasting(Step::Fetched, "NotFound", message)
            })?;
            return Ok(Brought {
                digest: Digest::of(bytes).to_string(),
                bytes: bytes.to_vec(),
                signer: None,
                is_precompiled: name == DEFAULT_POLICY,
            });
        }
        Place::ConfigMap(entry) => {
            let (bytes, bundle) = entry_of(client, timeout, entry).await?;
            let about = |problem: Problem| {
                trouble(
                    &problem,
                    format!(
                        "ConfigMap {}/{}, key {}: {problem}",
                        entry.namespace, entry.name, entry.key
                    ),
                )
            };
            let module = Module::from_bytes(bytes, digest).map_err(about)?;
            module.signed(bundle.as_deref(), signers).map_err(about)?
        }
        Place::Fetched {
            source,
            pull_secret,
            authorities,
            plain_http,
        } => {
            let credentials = match pull_secret {
                Some(name) => {
                    let field = match source {
                        Source::Registry(_) => "spec.module.oci.pullSecret",
                        Source::Web(_) | Source::File(_) => "spec.module.https.pullSecret",
                    };
                    credentials(client, timeout, field, name).await?
                }
                None => Credentials::default(),
            };
            let fetcher = fetcher(credentials, authorities, *plain_http)?;
            let wanted = Wanted {
                source,
                digest,
                signers,
            };
            let fetched = fetcher.fetch(wanted).await;
            fetched.map_err(|error| {
                let advice = match (&error.problem, order.digest) {
                    (Problem::NoDigest { .. }, Some(_)) => ": correct spec.digest, or push that artifact",
                    (Problem::NoDigest { .. }, None) => {
                        ": it was taken for this spec and is gone; annotate the policy with \
                         readiness.node.x-k8s.io/fetch-again=NEW-VALUE to take what the tag names now"
                    }
                    _ => "",
                };
                trouble(&error.problem, format!("{error}{advice}"))
            })?
        }
    };
    let artifact = module
        .reference
        .as_ref()
        .and_then(|reference| match reference.version() {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(_) => None,
        });
    Ok(Brought {
        digest: artifact.unwrap_or(module.digest).to_string(),
        signer: module.signer,
        bytes: module.bytes,
        is_precompiled: false,
    })
}

fn fetcher(
    credentials: Credentials,
    authorities: &Authorities,
    plain_http: bool,
) -> Result<Fetcher, Trouble> {
    let access = Access {
        credentials,
        authorities: authorities.clone(),
        plain_http,
    };
    Fetcher::new(access, Limits::default())
        .map_err(|error| Trouble::lasting(Step::Fetched, "TLSFailed", error.to_string()))
}

/// Of a module, and of its signature where there is one.
async fn entry_of(
    client: &Client,
    timeout: Duration,
    entry: &ConfigMapModule,
) -> Result<(Vec<u8>, Option<Vec<u8>>), Trouble> {
    let ConfigMapModule {
        namespace,
        name,
        key,
    } = entry;
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = within(timeout, api.get(name)).await;
    let what = format!("ConfigMap {namespace}/{name}");
    let create = format!("kubectl create configmap -n {namespace} {name} --from-file={key}");
    let mut map = map.map_err(|error| unread(&what, &create, &error))?;
    let mut take = |key: &str| {
        let binary = map.binary_data.as_mut().and_then(|data| data.remove(key));
        let mut text = || map.data.as_mut().and_then(|data| data.remove(key));
        binary
            .map(|bytes| bytes.0)
            .or_else(|| text().map(String::into_bytes))
    };
    let bundle = take(&format!("{key}{SIGNATURE}"));
    match take(key) {
        Some(bytes) => Ok((bytes, bundle)),
        None => {
            let message = format!(
                "{what} has no key {key:?}: `kubectl create configmap --from-file={key}` makes one"
            );
            Err(Trouble::passing(Step::Fetched, "NotFound", message))
        }
    }
}

async fn credentials(
    client: &Client,
    timeout: Duration,
    field: &str,
    SecretName { namespace, name }: &SecretName,
) -> Result<Credentials, Trouble> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = within(timeout, api.get(name)).await;
    let what = format!("{field}: Secret {namespace}/{name}");
    let create = format!("kubectl create secret docker-registry -n {namespace} {name}");
    let mut secret = secret.map_err(|error| unread(&what, &create, &error))?;
    let config = secret
        .data
        .as_mut()
        .and_then(|data| data.remove(DOCKER_CONFIG));
    let config = config.ok_or_else(|| {
        let message = format!(
            "{what} has no key {DOCKER_CONFIG}: `kubectl create secret docker-registry` makes such a Secret"
        );
        Trouble::passing(Step::Fetched, "InvalidPullSecret", message)
    })?;
    Credentials::from_docker_config(&config.0).map_err(|error| {
        Trouble::passing(
            Step::Fetched,
            "InvalidPullSecret",
            format!("{what}: {error}"),
        )
    })
}

/// An object of the cluster could not be read.
fn unread(what: &str, create: &str, error: &RequestError) -> Trouble {
    let reason = match error {
        RequestError::NotFound(_) => "NotFound",
        RequestError::Refused(_) => "Forbidden",
        _ => "APIServerFailed",
    };
    let advice = match error {
        RequestError::Refused(_) => {
            "; the host may read those of its own namespace, unless it is given more".to_owned()
        }
        RequestError::NotFound(_) => format!(": create it (`{create}`), or name another"),
        _ => String::new(),
    };
    Trouble::passing(
        Step::Fetched,
        reason,
        format!("{what} cannot be read: {error}{advice}"),
    )
}

/// What a server sends can become another, and a signature can come later: all of it is tried again.
fn trouble(problem: &Problem, message: String) -> Trouble {
    let step = if problem.is_of_proof() {
        Step::Verified
    } else {
        Step::Fetched
    };
    Trouble::passing(step, problem.reason(), message)
}
