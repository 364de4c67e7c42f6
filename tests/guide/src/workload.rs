//! What waits for a node, and what must run on it before.

use cluster_tests::wait;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

/// A Deployment of one pod, which carries the label `app` with its name.
pub fn deployment(name: &str) -> String {
    workload("Deployment", name, "[]")
}

/// A DaemonSet that tolerates a taint, whatever its value and effect: an agent that a node waits for.
pub fn daemon_set(name: &str, tolerated: &str) -> String {
    workload(
        "DaemonSet",
        name,
        &format!("[{{key: {tolerated}, operator: Exists}}]"),
    )
}

fn workload(kind: &str, name: &str, tolerations: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      tolerations: {tolerations}
      containers: [{{name: main, image: registry.example.com/{name}}}]
"
    )
}

/// The pods that a selector finds in a namespace.
pub struct Pods {
    pods: Api<Pod>,
    selector: String,
}

impl Pods {
    pub(crate) fn new(client: Client, namespace: &str, selector: &str) -> Self {
        Self {
            pods: Api::namespaced(client, namespace),
            selector: selector.to_owned(),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn list(&self) -> anyhow::Result<Vec<Pod>> {
        let selected = ListParams::default().labels(&self.selector);
        Ok(self.pods.list(&selected).await?.items)
    }

    /// Waits until the scheduler has found no node for one of them; what it says of that, and the pod.
    ///
    /// # Errors
    /// It did not within a minute.
    pub async fn until_unschedulable(&self) -> anyhow::Result<(String, Pod)> {
        let why = |pod: &Pod| Some((why_unschedulable(pod)?, pod.clone()));
        self.until("is unschedulable", why).await
    }

    /// Waits until one of them is bound to a node; the node, and the pod.
    ///
    /// # Errors
    /// It did not within a minute.
    pub async fn until_bound(&self) -> anyhow::Result<(String, Pod)> {
        self.until("is bound", |pod| Some((node_of(pod)?, pod.clone())))
            .await
    }

    /// Waits until one of them runs and is ready; the pod.
    ///
    /// # Errors
    /// It did not within a minute.
    pub async fn until_running(&self) -> anyhow::Result<Pod> {
        self.until("runs", |pod| is_ready(pod).then(|| pod.clone()))
            .await
    }

    /// Waits until one of them is as wanted.
    ///
    /// # Errors
    /// It did not within a minute.
    pub async fn until<T>(
        &self,
        what: &str,
        wanted: impl Fn(&Pod) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.until_all(&format!("one {what}"), |pods| pods.iter().find_map(&wanted))
            .await
    }

    /// Waits until all of them together are as wanted.
    ///
    /// # Errors
    /// They did not become so within a minute.
    pub async fn until_all<T>(
        &self,
        what: &str,
        wanted: impl Fn(&[Pod]) -> Option<T>,
    ) -> anyhow::Result<T> {
        wait::until(
            &format!("of the pods {}: {what}", self.selector),
            || async {
                let pods = self.list().await?;
                Ok(wanted(&pods).ok_or_else(|| {
                    let seen = pods
                        .iter()
                        .map(|pod| (pod.name_any(), node_of(pod), &pod.status));
                    format!("{:?}", seen.collect::<Vec<_>>())
                }))
            },
        )
        .await
    }
}

/// What the scheduler says of a pod for which it found no node.
pub fn why_unschedulable(pod: &Pod) -> Option<String> {
    let scheduled = condition(pod, "PodScheduled")?;
    let refused = scheduled.reason.as_deref() == Some("Unschedulable");
    refused.then(|| scheduled.message.clone()).flatten()
}

/// The node that a pod is bound to.
pub fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Does it run, and is it ready?
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == name)
}
