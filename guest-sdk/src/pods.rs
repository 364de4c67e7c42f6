//! The pods on the node.

use core::time::Duration;

use crate::facts::millis;
use crate::source::Source;

/// The pods on the node: those that are bound to it. An operator has to grant it:
/// `allow: [node-readiness:policy/pods]`.
///
/// A pod that is being deleted is not there any more. One that has ended (`Succeeded`, `Failed`) is not
/// there either, but for [`has_in_phase`](Self::has_in_phase).
#[derive(Debug, Clone)]
pub struct Pods(pub(crate) Source);

/// Which pods: those that are all that is given. Nothing given: every pod on the node.
///
/// ```
/// use guest_sdk::PodSelection;
///
/// let agent = PodSelection::new().namespace("kube-system").daemon_set("cilium");
/// let proxies = PodSelection::new().label("k8s-app", "kube-proxy");
/// # assert_ne!(agent, proxies);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSelection {
    pub(crate) namespace: Option<String>,
    pub(crate) controller: Option<(String, String)>,
    pub(crate) labels: Vec<(String, String)>,
}

/// `status.phase`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// Not every container runs, or ran, yet.
    Pending,
    /// Bound, and all containers were made.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Anything else.
    Unknown,
}

impl PodSelection {
    /// Every pod on the node.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Of the DaemonSet of this name.
    #[must_use]
    pub fn daemon_set(self, name: &str) -> Self {
        self.controller("DaemonSet", name)
    }

    /// Made and kept by this object. A Deployment keeps its pods by a `ReplicaSet`.
    #[must_use]
    pub fn controller(mut self, kind: &str, name: &str) -> Self {
        self.controller = Some((kind.into(), name.into()));
        self
    }

    /// With this label. At most 32.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }
}

impl Pods {
    /// Is there such a pod?
    pub fn has(&self, which: &PodSelection) -> bool {
        self.0.has_pod(which)
    }

    /// Is there such a pod that is Ready, and has been for at least this long (zero: now)? Where only time
    /// is missing, `false` also means: evaluate again then.
    pub fn has_ready(&self, which: &PodSelection, at_least: Duration) -> bool {
        self.0.has_ready_pod(which, millis(at_least))
    }

    /// Is there such a pod, and is each of them Ready, and has been for at least this long (zero: now)?
    /// `false` as in [`has_ready`](Self::has_ready).
    pub fn all_ready(&self, which: &PodSelection, at_least: Duration) -> bool {
        self.0.all_pods_ready(which, millis(at_least))
    }

    /// Is there such a pod in this phase?
    pub fn has_in_phase(&self, which: &PodSelection, phase: PodPhase) -> bool {
        self.0.has_pod_in_phase(which, phase)
    }
}
