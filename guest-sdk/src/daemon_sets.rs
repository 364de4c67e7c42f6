//! The DaemonSets that should run on the node.

use core::time::Duration;

use crate::facts::millis;
use crate::source::Source;

/// The DaemonSets that should run a pod on the node: by the node selector, the affinity and the tolerations of
/// their template. An operator has to grant it: `allow: [node-readiness:policy/daemonsets]`.
///
/// Taints of rules are not looked at, nor those that a node has while it begins or is lost.
#[derive(Debug, Clone)]
pub struct DaemonSets(pub(crate) Source);

/// Which DaemonSets: those that are all that is given. Nothing given: every one.
///
/// ```
/// use guest_sdk::DaemonSetSelection;
///
/// let agents = DaemonSetSelection::new().namespace("kube-system").label("tier", "node");
/// # assert_ne!(agents, DaemonSetSelection::new());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonSetSelection {
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
}

impl DaemonSetSelection {
    /// Every DaemonSet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// With this label of its own, not of its pods. At most 32.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }
}

impl DaemonSets {
    /// Should such a DaemonSet run a pod on the node?
    pub fn has(&self, which: &DaemonSetSelection) -> bool {
        self.0.has_daemon_set(which)
    }

    /// Should such a DaemonSet run a pod on the node, and has each of them one there that is Ready, and has been for
    /// at least this long (zero: now)? Where only time is missing, `false` also means: evaluate again then.
    pub fn all_pods_ready(&self, which: &DaemonSetSelection, at_least: Duration) -> bool {
        self.0.all_daemon_set_pods_ready(which, millis(at_least))
    }
}
