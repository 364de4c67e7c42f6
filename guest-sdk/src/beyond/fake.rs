//! Fakes of what stands beside the node.

use core::fmt::Write as _;
use core::time::Duration;

use crate::fake::{Fake, Source};
use crate::{DaemonSetSelection, PodPhase, PodSelection};

/// A pod on the node, as a test wants it: running, not Ready, of the namespace `default`, of nobody.
///
/// ```
/// use core::time::Duration;
/// use guest_sdk::fake::{Fake, Pod};
/// use guest_sdk::PodSelection;
///
/// let fake = Fake::new().pod(Pod::new().daemon_set("cni").ready_for(Duration::from_secs(30)));
/// let cni = PodSelection::new().daemon_set("cni");
/// assert!(fake.facts().pods.all_ready(&cni, Duration::from_secs(30)));
/// assert_eq!(fake.asked(), ["all-pods-ready(DaemonSet/cni, 30s)"]);
/// ```
#[derive(Debug, Clone)]
pub struct Pod {
    namespace: String,
    controller: Option<(String, String)>,
    labels: Vec<(String, String)>,
    phase: PodPhase,
    ready: Option<Duration>,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            controller: None,
            labels: Vec::new(),
            phase: PodPhase::Running,
            ready: None,
        }
    }
}

impl Pod {
    /// A pod.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = name.into();
        self
    }

    /// It is of the DaemonSet of this name.
    #[must_use]
    pub fn daemon_set(self, name: &str) -> Self {
        self.controller("DaemonSet", name)
    }

    /// Who made and keeps it.
    #[must_use]
    pub fn controller(mut self, kind: &str, name: &str) -> Self {
        self.controller = Some((kind.into(), name.into()));
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Its phase.
    #[must_use]
    pub fn phase(mut self, phase: PodPhase) -> Self {
        self.phase = phase;
        self
    }

    /// It is Ready, and has been for this long.
    #[must_use]
    pub fn ready_for(mut self, lasting: Duration) -> Self {
        self.ready = Some(lasting);
        self
    }

    fn is(&self, which: &PodSelection) -> bool {
        which
            .namespace
            .as_ref()
            .is_none_or(|name| *name == self.namespace)
            && (which.controller.is_none() || which.controller == self.controller)
            && which.labels.iter().all(|label| self.labels.contains(label))
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }
}

/// A DaemonSet that should run on the node, as a test wants it: of the namespace `default`, with no pod there that
/// is Ready.
///
/// ```
/// use core::time::Duration;
/// use guest_sdk::DaemonSetSelection;
/// use guest_sdk::fake::{DaemonSet, Fake};
///
/// let cni = DaemonSet::new().label("tier", "node").ready_for(Duration::from_secs(30));
/// let sets = Fake::new().daemon_set(cni.clone()).facts().daemon_sets;
/// let node = DaemonSetSelection::new().label("tier", "node");
/// assert!(sets.has(&node) && sets.all_pods_ready(&node, Duration::from_secs(30)));
/// let two = Fake::new().daemon_set(cni).daemon_set(DaemonSet::new().label("tier", "node"));
/// assert!(!two.facts().daemon_sets.all_pods_ready(&node, Duration::ZERO));
/// let none = Fake::new().facts().daemon_sets;
/// assert!(!none.all_pods_ready(&node, Duration::ZERO));
/// ```
#[derive(Debug, Clone)]
pub struct DaemonSet {
    namespace: String,
    labels: Vec<(String, String)>,
    ready: Option<Duration>,
}

impl Default for DaemonSet {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            labels: Vec::new(),
            ready: None,
        }
    }
}

impl DaemonSet {
    /// A DaemonSet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = name.into();
        self
    }

    /// A label of its own.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// It has a pod on the node that has been Ready for this long.
    #[must_use]
    pub fn ready_for(mut self, lasting: Duration) -> Self {
        self.ready = Some(lasting);
        self
    }

    fn is(&self, which: &DaemonSetSelection) -> bool {
        let namespace = which.namespace.as_ref();
        namespace.is_none_or(|name| *name == self.namespace)
            && which.labels.iter().all(|label| self.labels.contains(label))
    }
}

impl Fake {
    /// A DaemonSet that should run on the node.
    #[must_use]
    pub fn daemon_set(mut self, daemon_set: DaemonSet) -> Self {
        self.daemon_sets.push(daemon_set);
        self
    }

    /// A pod on the node.
    #[must_use]
    pub fn pod(mut self, pod: Pod) -> Self {
        self.pods.push(pod);
        self
    }

    /// The node has a lease, which was renewed this long ago; none: one that does not say when.
    ///
    /// ```
    /// use core::time::Duration;
    /// use guest_sdk::fake::Fake;
    ///
    /// let fake = Fake::new().lease(Some(Duration::from_secs(40)));
    /// assert!(fake.facts().lease.renewed_within(Duration::from_secs(40)));
    /// assert_eq!(fake.asked(), ["renewed-within(40s)"]);
    /// assert!(!Fake::new().facts().lease.exists());
    /// ```
    #[must_use]
    pub fn lease(mut self, renewed_ago: Option<Duration>) -> Self {
        self.lease = Some(renewed_ago);
        self
    }

    /// A CSI driver is registered on the node, with these keys of its topology.
    ///
    /// ```
    /// use guest_sdk::fake::Fake;
    ///
    /// let fake = Fake::new().driver("ebs.csi.aws.com", &["topology.kubernetes.io/zone"]);
    /// let csi = fake.facts().csi;
    /// assert!(csi.has_topology_key("ebs.csi.aws.com", "topology.kubernetes.io/zone"));
    /// assert!(!csi.has_driver("efs.csi.aws.com"));
    /// ```
    #[must_use]
    pub fn driver(mut self, name: &str, topology_keys: &[&str]) -> Self {
        let keys = topology_keys.iter().map(ToString::to_string);
        self.drivers.insert(name.into(), keys.collect());
        self
    }

    /// A DRA driver has so many devices in complete pools on the node; and is each of its pools complete?
    ///
    /// ```
    /// use guest_sdk::fake::Fake;
    ///
    /// let devices = Fake::new().devices("gpu.nvidia.com", 8, true).facts().devices;
    /// assert!(devices.all_pools_complete("gpu.nvidia.com") && devices.has("gpu.nvidia.com", 8));
    /// assert!(!devices.has("gpu.nvidia.com", 9) && !devices.all_pools_complete("nic.example.com"));
    /// ```
    #[must_use]
    pub fn devices(mut self, driver: &str, devices: u32, all_complete: bool) -> Self {
        self.devices.insert(driver.into(), (devices, all_complete));
        self
    }
}

impl Source {
    fn running(&self, which: &PodSelection) -> impl Iterator<Item = &Pod> {
        let pods = self.0.pods.iter();
        pods.filter(move |pod| pod.is(which) && !pod.has_ended())
    }

    pub(crate) fn has_pod(&self, which: &PodSelection) -> bool {
        self.record(format!("has-pod({})", shown(which)));
        self.running(which).next().is_some()
    }

    pub(crate) fn has_ready_pod(&self, which: &PodSelection, at_least: u64) -> bool {
        let at_least = Duration::from_millis(at_least);
        self.record(format!("has-ready-pod({}, {at_least:?})", shown(which)));
        let mut pods = self.running(which);
        pods.any(|pod| pod.ready.is_some_and(|lasting| lasting >= at_least))
    }

    pub(crate) fn all_pods_ready(&self, which: &PodSelection, at_least: u64) -> bool {
        let at_least = Duration::from_millis(at_least);
        self.record(format!("all-pods-ready({}, {at_least:?})", shown(which)));
        let mut pods = self.running(which);
        let mut rest = self.running(which);
        rest.next().is_some()
            && pods.all(|pod| pod.ready.is_some_and(|lasting| lasting >= at_least))
    }

    pub(crate) fn has_pod_in_phase(&self, which: &PodSelection, phase: PodPhase) -> bool {
        self.record(format!("has-pod-in-phase({}, {phase:?})", shown(which)));
        let mut pods = self.0.pods.iter();
        pods.any(|pod| pod.phase == phase && pod.is(which))
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.record("has-lease".into());
        self.0.lease.is_some()
    }

    pub(crate) fn renewed_within(&self, at_most: u64) -> bool {
        let at_most = Duration::from_millis(at_most);
        self.record(format!("renewed-within({at_most:?})"));
        self.0.lease.flatten().is_some_and(|ago| ago <= at_most)
    }

    pub(crate) fn has_driver(&self, name: &str) -> bool {
        self.record(format!("has-driver({name})"));
        self.0.drivers.contains_key(name)
    }

    pub(crate) fn has_topology_key(&self, driver: &str, key: &str) -> bool {
        self.record(format!("has-topology-key({driver}, {key})"));
        let keys = self.0.drivers.get(driver);
        keys.is_some_and(|keys| keys.iter().any(|known| known == key))
    }

    pub(crate) fn all_pools_complete(&self, driver: &str) -> bool {
        self.record(format!("all-pools-complete({driver})"));
        self.0.devices.get(driver).is_some_and(|known| known.1)
    }

    pub(crate) fn has_devices(&self, driver: &str, at_least: u32) -> bool {
        self.record(format!("has-devices({driver}, {at_least})"));
        let known = self.0.devices.get(driver);
        known.map_or(0, |known| known.0) >= at_least
    }

    pub(crate) fn has_daemon_set(&self, which: &DaemonSetSelection) -> bool {
        self.record(format!("has-daemon-set({})", sets_shown(which)));
        self.0.daemon_sets.iter().any(|set| set.is(which))
    }

    pub(crate) fn all_daemon_set_pods_ready(
        &self,
        which: &DaemonSetSelection,
        at_least: u64,
    ) -> bool {
        let (at_least, shown) = (Duration::from_millis(at_least), sets_shown(which));
        self.record(format!("all-daemon-set-pods-ready({shown}, {at_least:?})"));
        let meant = || self.0.daemon_sets.iter().filter(|set| set.is(which));
        let ready = |set: &DaemonSet| set.ready.is_some_and(|lasting| lasting >= at_least);
        meant().next().is_some() && meant().all(ready)
    }
}

/// Such as `kube-system tier=node`; `*` for all.
fn sets_shown(which: &DaemonSetSelection) -> String {
    shown(&PodSelection {
        namespace: which.namespace.clone(),
        labels: which.labels.clone(),
        ..PodSelection::default()
    })
}

/// Such as `kube-system DaemonSet/cni app=cni`; `*` for all.
fn shown(which: &PodSelection) -> String {
    let mut text = which.namespace.clone().unwrap_or_default();
    if let Some((kind, name)) = &which.controller {
        let _ = write!(text, " {kind}/{name}");
    }
    for (key, value) in &which.labels {
        let _ = write!(text, " {key}={value}");
    }
    match text.trim_start() {
        "" => "*".into(),
        shown => shown.into(),
    }
}
