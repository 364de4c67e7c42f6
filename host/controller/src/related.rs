//! What belongs to nodes, or is about them, and stands in other objects: watched while some policy asks about
//! it, and at no other time.
//!
//! Kept of it is what a policy can ask about ([`pods`]), and of each node the questions that were read
//! ([`reads`]): a change that answers them as before brings no node back.

mod daemon_sets;
mod objects;
mod pods;
mod reads;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Policy;
use planner::Timestamp;
use planner::csi::Drivers;
use planner::devices::Slices;
use planner::facts::Node;
use planner::lease::Lease;
use planner::question::Read;
use planner::related::{Kind, Lookup, Related};
use planner::rule::TaintPrefixes;

use daemon_sets::DaemonSets;
use pods::Pods;
use reads::Reads;

use crate::shared::Shared;

pub(crate) use watch::watch;

/// What is known of the objects that belong to nodes.
#[derive(Debug)]
pub(crate) struct Known {
    wanted: tokio::sync::watch::Sender<BTreeSet<Kind>>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What the keys of rules' taints may begin with: they keep no DaemonSet from being waited for.
    prefixes: TaintPrefixes,
    states: BTreeMap<Kind, State>,
    pods: Pods,
    /// By the name of the node.
    leases: HashMap<Box<str>, Lease>,
    drivers: HashMap<Box<str>, Drivers>,
    slices: HashMap<Box<str>, Slices>,
    daemon_sets: DaemonSets,
    reads: Reads,
}

/// How it is with the objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// They are all there.
    Synced,
    /// They are being listed.
    Waits,
    /// They may not be listed or watched: what the API server said.
    Refused(String),
    /// There is no such kind of objects: what the API server said.
    NotServed(String),
}

impl State {
    /// What the API server said.
    fn why(&self) -> &str {
        match self {
            Self::Refused(why) | Self::NotServed(why) => why,
            Self::Synced | Self::Waits => "",
        }
    }
}

impl Known {
    /// Nothing yet.
    pub(crate) fn new(prefixes: TaintPrefixes) -> Self {
        let inner = Inner {
            prefixes,
            states: BTreeMap::new(),
            pods: Pods::default(),
            leases: HashMap::new(),
            drivers: HashMap::new(),
            slices: HashMap::new(),
            daemon_sets: DaemonSets::default(),
            reads: Reads::default(),
        };
        Self {
            wanted: tokio::sync::watch::Sender::new(BTreeSet::new()),
            inner: Mutex::new(inner),
        }
    }

    /// These kinds are watched from now on, and no others.
    pub(crate) fn want(&self, kinds: BTreeSet<Kind>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != kinds;
            *wanted = kinds;
            changed
        });
    }

    /// Of the kinds that a policy asks about the first that is not there, and why.
    pub(crate) fn lacks(&self, policy: &Policy) -> Option<(Kind, State)> {
        let inner = self.lock();
        let state = |kind: &Kind| inner.states.get(kind).cloned().unwrap_or(State::Waits);
        let mut states = policy.asks().into_iter().map(|kind| (kind, state(&kind)));
        states.find(|(_, state)| *state != State::Synced)
    }

    /// The node is gone.
    pub(crate) fn forget_node(&self, name: &str) {
        self.lock().reads.forget(name);
    }

    fn set(&self, kind: Kind, state: State) -> bool {
        let before = self.lock().states.insert(kind, state.clone());
        before != Some(state)
    }

    /// Nobody asks about them any more: nothing of them stays.
    fn drop_all(&self, kind: Kind) {
        let mut inner = self.lock();
        inner.states.remove(&kind);
        match kind {
            Kind::Pods => inner.pods = Pods::default(),
            Kind::Leases => inner.leases = HashMap::new(),
            Kind::CsiNodes => inner.drivers = HashMap::new(),
            Kind::ResourceSlices => inner.slices = HashMap::new(),
            Kind::DaemonSets => inner.daemon_sets = DaemonSets::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that can panic runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn of(&self, facts: &Node) -> Related {
        let node = facts.name.as_str();
        let is_known = |kind| self.states.get(&kind) == Some(&State::Synced);
        Related {
            pods: is_known(Kind::Pods).then(|| self.pods.of(node)),
            drivers: is_known(Kind::CsiNodes)
                .then(|| self.drivers.get(node).cloned().unwrap_or_default()),
            slices: is_known(Kind::ResourceSlices)
                .then(|| self.slices.get(node).cloned().unwrap_or_default()),
            daemon_sets: is_known(Kind::DaemonSets)
                .then(|| self.daemon_sets.of(facts, &self.prefixes)),
            lease: is_known(Kind::Leases)
                .then(|| self.leases.get(node).copied().unwrap_or_default()),
        }
    }
}

impl Lookup for Shared {
    fn of(&self, node: &Node) -> Related {
        self.related.lock().of(node)
    }

    /// What changed since it was looked up may answer otherwise: nobody else would notice.
    fn was_read(&self, node: &Node, related: &Related, reads: &mut dyn Iterator<Item = &Read>) {
        let mut inner = self.related.lock();
        let now = inner.of(node);
        let Some(questions) = inner.reads.remember(&node.name, reads) else {
            return;
        };
        let is_due = reads::differs(&questions, related, &now, Timestamp::now());
        drop(inner);
        if is_due {
            self.nodes_due.add(node.name.clone());
        }
    }
}
