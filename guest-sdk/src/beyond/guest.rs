//! On wasm: what stands beside the node comes from the host too.

use crate::__guest::Source;
use crate::__guest::bindings::node_readiness::policy::{csi, daemonsets, devices, lease, pods};
use crate::{DaemonSetSelection, PodPhase, PodSelection};

impl Source {
    pub(crate) fn has_pod(&self, which: &PodSelection) -> bool {
        pods::has_pod(&selection(which))
    }

    pub(crate) fn has_ready_pod(&self, which: &PodSelection, at_least: u64) -> bool {
        pods::has_ready_pod(&selection(which), at_least)
    }

    pub(crate) fn all_pods_ready(&self, which: &PodSelection, at_least: u64) -> bool {
        pods::all_pods_ready(&selection(which), at_least)
    }

    pub(crate) fn has_pod_in_phase(&self, which: &PodSelection, phase: PodPhase) -> bool {
        let phase = match phase {
            PodPhase::Pending => pods::Phase::Pending,
            PodPhase::Running => pods::Phase::Running,
            PodPhase::Succeeded => pods::Phase::Succeeded,
            PodPhase::Failed => pods::Phase::Failed,
            PodPhase::Unknown => pods::Phase::Unknown,
        };
        pods::has_pod_in_phase(&selection(which), phase)
    }

    pub(crate) fn has_lease(&self) -> bool {
        lease::has_lease()
    }

    pub(crate) fn renewed_within(&self, at_most: u64) -> bool {
        lease::renewed_within(at_most)
    }

    pub(crate) fn has_driver(&self, name: &str) -> bool {
        csi::has_driver(name)
    }

    pub(crate) fn has_topology_key(&self, driver: &str, key: &str) -> bool {
        csi::has_topology_key(driver, key)
    }

    pub(crate) fn all_pools_complete(&self, driver: &str) -> bool {
        devices::all_pools_complete(driver)
    }

    pub(crate) fn has_devices(&self, driver: &str, at_least: u32) -> bool {
        devices::has_devices(driver, at_least)
    }

    pub(crate) fn has_daemon_set(&self, which: &DaemonSetSelection) -> bool {
        daemonsets::has_daemon_set(&daemon_sets(which))
    }

    pub(crate) fn all_daemon_set_pods_ready(
        &self,
        which: &DaemonSetSelection,
        at_least: u64,
    ) -> bool {
        daemonsets::all_daemon_set_pods_ready(&daemon_sets(which), at_least)
    }
}

fn daemon_sets(which: &DaemonSetSelection) -> daemonsets::Selection {
    let label = |(key, value): &(String, String)| daemonsets::Label {
        key: key.clone(),
        value: value.clone(),
    };
    daemonsets::Selection {
        namespace: which.namespace.clone(),
        labels: which.labels.iter().map(label).collect(),
    }
}

fn selection(which: &PodSelection) -> pods::Selection {
    let controller = which.controller.as_ref();
    let label = |(key, value): &(String, String)| pods::Label {
        key: key.clone(),
        value: value.clone(),
    };
    pods::Selection {
        namespace: which.namespace.clone(),
        controller: controller.map(|(kind, name)| pods::Controller {
            kind: kind.clone(),
            name: name.clone(),
        }),
        labels: which.labels.iter().map(label).collect(),
    }
}
