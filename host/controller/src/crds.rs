//! Puts a definition of an API object into a cluster.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition;
use tokio::time::{Instant, sleep};

use crate::client::{RequestError, timely};
use crate::connect::{ConnectError, connect};

/// Whose fields they are.
pub const FIELD_MANAGER: &str = "node-readiness-host";
/// How long the API server may take to serve a definition that it has stored.
const ESTABLISHED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

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
    /// It is stored, and cannot be read.
    #[error(
        "CustomResourceDefinition {name} is stored, and whether it is served cannot be read: {why}"
    )]
    Unknown {
        /// Its name.
        name: String,
        /// What the API server says.
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
    // Asked for and not watched: it is there at once, and takes no right but to get it.
    let began = Instant::now();
    loop {
        match timely(crds.get(&name)).await {
            Ok(crd) if is_crd_established().matches_object(Some(&crd)) => return Ok(name),
            Ok(_) => {}
            Err(error) => {
                return Err(ApplyError::Unknown {
                    name,
                    why: error.to_string(),
                });
            }
        }
        if began.elapsed() > ESTABLISHED {
            return Err(ApplyError::NotEstablished(name));
        }
        sleep(POLL).await;
    }
}
