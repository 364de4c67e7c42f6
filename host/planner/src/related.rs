//! What belongs to a node and stands in other objects. A policy asks about it by interfaces of their own,
//! which have to be granted.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::csi::Drivers;
use crate::daemon_sets::DaemonSets;
use crate::devices::Slices;
use crate::facts::Node;
use crate::lease::Lease;
use crate::pods::Pod;
use crate::question::{Answer, Question, Read};

/// The objects that belong to one node, as they are at one moment. A clone is cheap. By default nothing is
/// known of any.
#[derive(Debug, Clone, Default)]
pub struct Related {
    /// The pods on it; none: it is not known which there are.
    pub pods: Option<Arc<[Pod]>>,
    /// Its lease; none: it is not known whether it has one.
    pub lease: Option<Lease>,
    /// The CSI drivers that are registered on it; none: it is not known which.
    pub drivers: Option<Drivers>,
    /// The ResourceSlices of its devices; none: it is not known which there are.
    pub slices: Option<Slices>,
    /// The DaemonSets that should run a pod on it; none: it is not known which.
    pub daemon_sets: Option<DaemonSets>,
}

/// A kind of objects that belong to nodes, or are about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods that are bound to it.
    Pods,
    /// Its lease.
    Leases,
    /// Its CSINode.
    CsiNodes,
    /// The slices of its devices.
    ResourceSlices,
    /// The DaemonSets that should run a pod on it.
    DaemonSets,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pods,
        Self::Leases,
        Self::CsiNodes,
        Self::ResourceSlices,
        Self::DaemonSets,
    ];

    /// The interface of the contract by which a policy asks about them, without package and version.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Leases => "lease",
            Self::CsiNodes => "csi",
            Self::ResourceSlices => "devices",
            Self::DaemonSets => "daemonsets",
        }
    }

    /// The kinds that are needed to answer questions about this one.
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::Pods => &[Self::Pods],
            Self::Leases => &[Self::Leases],
            Self::CsiNodes => &[Self::CsiNodes],
            Self::ResourceSlices => &[Self::ResourceSlices],
            // Whether their pods run.
            Self::DaemonSets => &[Self::DaemonSets, Self::Pods],
        }
    }

    /// The API's word for such objects.
    pub fn objects(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Leases => "leases",
            Self::CsiNodes => "csinodes",
            Self::ResourceSlices => "resourceslices",
            Self::DaemonSets => "daemonsets",
        }
    }
}

impl Question {
    /// The kind of objects beside the node that it is about; none: the node itself, its rule, or time.
    pub fn about(&self) -> Option<Kind> {
        match self {
            Self::HasPod { .. }
            | Self::HasReadyPod { .. }
            | Self::AllPodsReady { .. }
            | Self::HasPodInPhase { .. } => Some(Kind::Pods),
            Self::HasLease | Self::RenewedWithin { .. } => Some(Kind::Leases),
            Self::HasDriver { .. } | Self::HasTopologyKey { .. } => Some(Kind::CsiNodes),
            Self::AllPoolsComplete { .. } | Self::HasDevices { .. } => Some(Kind::ResourceSlices),
            Self::HasDaemonSet { .. } | Self::AllDaemonSetPodsReady { .. } => {
                Some(Kind::DaemonSets)
            }
            _ => None,
        }
    }
}

impl Related {
    /// It is known that nothing belongs to the node.
    pub fn nothing() -> Self {
        Self {
            pods: Some(Arc::default()),
            lease: Some(Lease::Absent),
            drivers: Some(Drivers::default()),
            slices: Some(Slices::default()),
            daemon_sets: Some(DaemonSets::default()),
        }
    }

    /// The answer to a question about these objects, and when time alone changes it. None: it is about
    /// something else. Of what is not known the answer is of no type that a policy takes: a policy that asks
    /// about it fails, and does not take it for absent.
    pub fn answer(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Option<(Answer, Option<Timestamp>)> {
        let answer = match question.about()? {
            Kind::Pods => self
                .pods
                .as_deref()
                .and_then(|pods| of_pods(question, pods, now)),
            Kind::Leases => self.lease.and_then(|lease| of_lease(question, lease, now)),
            Kind::CsiNodes => self
                .drivers
                .as_ref()
                .and_then(|drivers| of_drivers(question, drivers)),
            Kind::ResourceSlices => self
                .slices
                .as_ref()
                .and_then(|slices| of_slices(question, slices)),
            Kind::DaemonSets => (self.daemon_sets.as_ref().zip(self.pods.as_deref()))
                .and_then(|(sets, pods)| of_daemon_sets(question, sets, pods, now)),
        };
        Some(answer.unwrap_or((Answer::Text(None), None)))
    }
}

fn of_pods(
    question: &Question,
    pods: &[Pod],
    now: Timestamp,
) -> Option<(Answer, Option<Timestamp>)> {
    Some(match question {
        Question::HasPod { pods: which } => which.any(pods),
        Question::HasReadyPod {
            pods: which,
            at_least,
        } => which.any_ready(pods, *at_least, now),
        Question::AllPodsReady {
            pods: which,
            at_least,
        } => which.all_ready(pods, *at_least, now),
        Question::HasPodInPhase { pods: which, phase } => which.any_in(pods, *phase),
        _ => return None,
    })
}

fn of_lease(
    question: &Question,
    lease: Lease,
    now: Timestamp,
) -> Option<(Answer, Option<Timestamp>)> {
    match question {
        Question::HasLease => Some(lease.exists()),
        Question::RenewedWithin { at_most } => Some(lease.renewed_within(*at_most, now)),
        _ => None,
    }
}

fn of_drivers(question: &Question, drivers: &Drivers) -> Option<(Answer, Option<Timestamp>)> {
    match question {
        Question::HasDriver { driver } => Some(drivers.has(driver)),
        Question::HasTopologyKey { driver, key } => Some(drivers.has_topology_key(driver, key)),
        _ => None,
    }
}

fn of_slices(question: &Question, slices: &Slices) -> Option<(Answer, Option<Timestamp>)> {
    match question {
        Question::AllPoolsComplete { driver } => Some(slices.all_complete(driver)),
        Question::HasDevices { driver, at_least } => Some(slices.has(driver, *at_least)),
        _ => None,
    }
}

fn of_daemon_sets(
    question: &Question,
    sets: &DaemonSets,
    pods: &[Pod],
    now: Timestamp,
) -> Option<(Answer, Option<Timestamp>)> {
    match question {
        Question::HasDaemonSet { daemon_sets: which } => Some(which.any(sets)),
        Question::AllDaemonSetPodsReady {
            daemon_sets: which,
            at_least,
        } => Some(which.all_pods_ready(sets, pods, *at_least, now)),
        _ => None,
    }
}

/// Somebody who knows what belongs to each node.
pub trait Lookup: Sync {
    /// What belongs to this node now.
    fn of(&self, node: &Node) -> Related;

    /// Policies have read this to decide about the node: what belongs to it was then as given here.
    fn was_read(&self, node: &Node, related: &Related, reads: &mut dyn Iterator<Item = &Read>) {
        let _ = (node, related, reads);
    }
}

/// Nothing belongs to any node.
impl Lookup for () {
    fn of(&self, _: &Node) -> Related {
        Related::nothing()
    }
}

/// By the name of the node. Nothing belongs to those that are not there.
impl Lookup for HashMap<String, Related> {
    fn of(&self, node: &Node) -> Related {
        self.get(&node.name)
            .cloned()
            .unwrap_or_else(Related::nothing)
    }
}

impl fmt::Debug for dyn Lookup + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}
