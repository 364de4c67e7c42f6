//! Puts a definition of an API object into a cluster.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;

use crate::client::{RequestError, timely};
use crate::connect::{ConnectError, connect};

/// Whose fields they are.
pub const FIELD_MANAGER: &str = "node-readiness-host";
/// How long the API server may take to serve a definition that it has stored.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// Why a definition is not in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Others own fields that it would change.
    #[error(
        "CustomResourceDefinition {name} is not applied: {why}; \
         --force-conflicts takes these fields over, as in kubectl"
    )]
    Conflict {
        /// Its name.
        name: String,
        /// Who, and which fields.
        why: String,
    },
    /// The API server is against it, or does not answer.
    #[error("CustomResourceDefinition {name} is not applied: {why}")]
    Refused {
        /// Its name.
        name: String,
        /// What it says.
        why: String,
    },
    /// It is stored, and not served.
    #[error(
        "CustomResourceDefinition {0} is stored, and the API server does not serve it within 30 s: \
         `kubectl describe crd {0}` says why"
    )]
    NotEstablished(String),
}

/// Applies a definition on the server's side and waits until it is served.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply(
    kubeconfig: Option<&Path>,
    crd: &CustomResourceDefinition,
    force_conflicts: bool,
) -> Result<String, ApplyError> {
    let client = connect(kubeconfig).await?;
    let crds = Api::<CustomResourceDefinition>::all(client);
    let name = crd.metadata.name.clone().unwrap_or_default();
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    parameters.force = force_conflicts;
    match timely(crds.patch(&name, &parameters, &Patch::Apply(crd))).await {
        Ok(_) => {}
        Err(RequestError::Conflict(why)) => return Err(ApplyError::Conflict { name, why }),
        Err(error) => {
            let why = error.to_string();
            return Err(ApplyError::Refused { name, why });
        }
    }
    let established = await_condition(crds, &name, is_crd_established());
    match tokio::time::timeout(ESTABLISHED, established).await {
        Ok(Ok(_)) => Ok(name),
        Ok(Err(error)) => {
            let why = crate::connect::chain(&error);
            Err(ApplyError::Refused { name, why })
        }
        Err(_) => Err(ApplyError::NotEstablished(name)),
    }
}
