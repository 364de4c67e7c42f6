//! What is known about a node.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rule::{Effect, Status, TaintId};

pub use crate::texts::Texts;

/// The part of a node that questions, ownership and status need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty where a file does not give it.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Texts,
    /// `metadata.annotations`.
    pub annotations: Texts,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Has the node a deletion timestamp?
    pub terminating: bool,
    /// `spec.taints`, in the order of the API.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `status.conditions`, in the order of the API.
    pub conditions: Vec<Condition>,
    /// Of `status.allocatable` the extended resources, such as `nvidia.com/gpu`. Most nodes have none.
    pub extended: Box<[(Box<str>, u64)]>,
    /// `status.nodeInfo.bootID`; empty where the node does not say.
    pub boot_id: String,
}

impl Node {
    /// The condition of this type: the first, as the Go controller has it, where the API holds two.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.name == name)
    }

    /// Has it at least so many of this extended resource to give? Of one that is not there it has not even none.
    pub fn has_allocatable(&self, resource: &str, at_least: u64) -> bool {
        let mut extended = self.extended.iter();
        extended.any(|(name, amount)| **name == *resource && *amount >= at_least)
    }

    /// Is a taint with this key and effect on the node? Its value does not matter.
    pub fn has_taint(&self, id: &TaintId) -> bool {
        self.taints.iter().any(|taint| taint.is(id))
    }
}

/// A taint as it stands on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// `key`.
    pub key: String,
    /// `effect`; none if it is an effect that this version does not know.
    pub effect: Option<Effect>,
    /// `value`; empty if absent.
    pub value: String,
}

impl Taint {
    /// The same key and the same effect?
    pub fn is(&self, id: &TaintId) -> bool {
        self.effect == Some(id.effect) && self.key == id.key
    }
}

/// A condition as it stands on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub name: String,
    /// `status`.
    pub status: Observed,
    /// `reason`; empty if absent.
    pub reason: String,
    /// `lastTransitionTime`.
    pub changed: Option<Timestamp>,
    /// `lastHeartbeatTime`.
    pub heartbeat: Option<Timestamp>,
}

/// The status that a condition carries. The API stores any string there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observed {
    /// One of the three that the API documents.
    Known(Status),
    /// Anything else: satisfies nothing and is shown as `Unknown`.
    Other,
}

impl Observed {
    /// From the API's string.
    pub fn parse(status: &str) -> Self {
        Status::parse(status).map_or(Self::Other, Self::Known)
    }

    /// As it is shown to people and to policies.
    pub fn shown(self) -> Status {
        match self {
            Self::Known(status) => status,
            Self::Other => Status::Unknown,
        }
    }
}
