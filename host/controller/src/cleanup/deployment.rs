//! Ends the pods that would put everything back.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::CleanupError;
use crate::client::{RequestError, timely};

/// How long its pods may take to end.
const END: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_secs(1);

/// Scales a Deployment to zero and waits until it has no pod. One that is gone has none.
pub(super) async fn stop(
    client: &Client,
    namespace: &str,
    name: &str,
    dry_run: bool,
    say: &mut dyn FnMut(&str),
) -> Result<(), CleanupError> {
    let full = format!("{namespace}/{name}");
    let failed = |why: String| CleanupError::Deployment {
        name: full.clone(),
        why,
    };
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let deployment = match timely(deployments.get(name)).await {
        Ok(deployment) => deployment,
        Err(RequestError::NotFound(_)) => {
            say(&format!("deployment/{full}: not there"));
            return Ok(());
        }
        Err(error) => return Err(failed(format!("it cannot be read: {error}"))),
    };
    if dry_run {
        say(&format!("deployment/{full}: would be scaled to 0"));
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    timely(deployments.patch_scale(name, &PatchParams::default(), &patch))
        .await
        .map_err(|error| failed(format!("it cannot be scaled to 0: {error}")))?;
    say(&format!("deployment/{full}: scaled to 0"));
    // Not what its status says, which does not count pods that are still ending.
    let labels = deployment.spec.and_then(|spec| spec.selector.match_labels);
    let labels = labels.unwrap_or_default();
    let labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let which = ListParams::default().labels(&labels.join(","));
    let began = Instant::now();
    loop {
        let left = timely(pods.list_metadata(&which))
            .await
            .map_err(|error| failed(format!("its pods cannot be listed: {error}")))?;
        let Some(pod) = left.items.first() else {
            return Ok(());
        };
        if began.elapsed() > END {
            let pod = pod.metadata.name.clone().unwrap_or_default();
            return Err(failed(format!(
                "pod {pod} does not end within {} s: end it, and try again",
                END.as_secs()
            )));
        }
        sleep(POLL).await;
    }
}
