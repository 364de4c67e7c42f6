//! Questions about what stands beside the node. Each interface has to be granted.

use std::time::Duration;

use planner::daemon_sets::DaemonSetSelection;
use planner::pods::PodSelection;
use planner::question::Question;
use wasmtime::Result;

use super::Sandbox;
use crate::contract::{csi, daemonsets, devices, lease, pods};
use crate::failure::Stop;

/// The most labels in one selection.
const LABELS: usize = 32;

impl pods::Host for Sandbox {
    fn has_pod(&mut self, which: pods::Selection) -> Result<bool> {
        let pods = selection(which)?;
        self.yes(Question::HasPod { pods })
    }

    fn has_ready_pod(&mut self, which: pods::Selection, at_least: u64) -> Result<bool> {
        let pods = selection(which)?;
        let at_least = Duration::from_millis(at_least);
        self.yes(Question::HasReadyPod { pods, at_least })
    }

    fn all_pods_ready(&mut self, which: pods::Selection, at_least: u64) -> Result<bool> {
        let pods = selection(which)?;
        let at_least = Duration::from_millis(at_least);
        self.yes(Question::AllPodsReady { pods, at_least })
    }

    fn has_pod_in_phase(&mut self, which: pods::Selection, phase: pods::Phase) -> Result<bool> {
        let pods = selection(which)?;
        let phase = phase.into();
        self.yes(Question::HasPodInPhase { pods, phase })
    }
}

impl lease::Host for Sandbox {
    fn has_lease(&mut self) -> Result<bool> {
        self.yes(Question::HasLease)
    }

    fn renewed_within(&mut self, at_most: u64) -> Result<bool> {
        let at_most = Duration::from_millis(at_most);
        self.yes(Question::RenewedWithin { at_most })
    }
}

impl csi::Host for Sandbox {
    fn has_driver(&mut self, driver: String) -> Result<bool> {
        self.yes(Question::HasDriver { driver })
    }

    fn has_topology_key(&mut self, driver: String, key: String) -> Result<bool> {
        self.yes(Question::HasTopologyKey { driver, key })
    }
}

impl devices::Host for Sandbox {
    fn all_pools_complete(&mut self, driver: String) -> Result<bool> {
        self.yes(Question::AllPoolsComplete { driver })
    }

    fn has_devices(&mut self, driver: String, at_least: u32) -> Result<bool> {
        self.yes(Question::HasDevices { driver, at_least })
    }
}

impl daemonsets::Host for Sandbox {
    fn has_daemon_set(&mut self, which: daemonsets::Selection) -> Result<bool> {
        let daemon_sets = daemon_sets(which)?;
        self.yes(Question::HasDaemonSet { daemon_sets })
    }

    fn all_daemon_set_pods_ready(
        &mut self,
        which: daemonsets::Selection,
        at_least: u64,
    ) -> Result<bool> {
        let daemon_sets = daemon_sets(which)?;
        let at_least = Duration::from_millis(at_least);
        self.yes(Question::AllDaemonSetPodsReady {
            daemon_sets,
            at_least,
        })
    }
}

fn daemon_sets(which: daemonsets::Selection) -> Result<Box<DaemonSetSelection>, Stop> {
    if which.labels.len() > LABELS {
        return Err(Stop::Questions("32 labels of a DaemonSet"));
    }
    Ok(Box::new(which.into()))
}

fn selection(which: pods::Selection) -> Result<Box<PodSelection>, Stop> {
    if which.labels.len() > LABELS {
        return Err(Stop::Questions("32 labels of a pod"));
    }
    Ok(Box::new(which.into()))
}
