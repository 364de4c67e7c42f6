//! What a policy can ask: one method for each function of the contract.

use core::time::Duration;

use crate::source::Source;
use crate::{
    Completion, Csi, DaemonSets, Devices, Effect, Enforcement, Lease, Matching, Pods, Requirement,
    Status,
};

/// Everything that a policy can ask.
///
/// On wasm this has no size, and a function that a policy never calls does not become an import
/// of its component: what a policy imports is what it needs to be granted.
///
/// A clone asks the same host: for what keeps facts for itself, such as a function of an interpreter.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The node now.
    pub node: Node,
    /// The rule as written.
    pub rule: Rule,
    /// What the host remembers about the rule on this node.
    pub bootstrap: Bootstrap,
    /// For instants that stand in the parameters.
    pub time: Time,
    /// The pods on the node.
    pub pods: Pods,
    /// The node's lease.
    pub lease: Lease,
    /// The CSI drivers of the node.
    pub csi: Csi,
    /// The devices of the node that DRA drivers offer.
    pub devices: Devices,
    /// The DaemonSets that should run on the node.
    pub daemon_sets: DaemonSets,
}

impl Facts {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            node: Node(source.clone()),
            rule: Rule(source.clone()),
            bootstrap: Bootstrap(source.clone()),
            time: Time(source.clone()),
            pods: Pods(source.clone()),
            lease: Lease(source.clone()),
            csi: Csi(source.clone()),
            devices: Devices(source.clone()),
            daemon_sets: DaemonSets(source),
        }
    }
}

/// The node now. Absence is an answer, never an error.
///
/// Durations count in milliseconds (less is cut off), times on a node have a resolution of one
/// second, and are the clock of the component that wrote them.
#[derive(Debug, Clone)]
pub struct Node(Source);

/// The rule as written. Constant in a call and not part of the record.
#[derive(Debug, Clone)]
pub struct Rule(Source);

/// What the host remembers about a rule with `bootstrap-only` on a node.
#[derive(Debug, Clone)]
pub struct Bootstrap(Source);

/// For instants that stand in the parameters.
#[derive(Debug, Clone)]
pub struct Time(Source);

impl Node {
    /// Does the node show this condition?
    pub fn has_condition(&self, name: &str) -> bool {
        self.0.has_condition(name)
    }

    /// Does it have this status, and has had it for at least this long (zero: now)? Where only
    /// time is missing, `false` also means: evaluate again then. Absent: `false`. Without a
    /// transition time: `false`, unless zero.
    pub fn condition_is(&self, name: &str, status: Status, at_least: Duration) -> bool {
        self.0.condition_is(name, status, millis(at_least))
    }

    /// Is its last heartbeat at most this old? `true` also means: evaluate again when it is
    /// older. Absent, without a heartbeat, or with one that is more than a minute in the future: `false`.
    pub fn heartbeat_within(&self, name: &str, at_most: Duration) -> bool {
        self.0.heartbeat_within(name, millis(at_most))
    }

    /// Its status; none if absent. A status that is none of the three reads as `Unknown`. Four
    /// answers: prefer [`condition_is`](Self::condition_is).
    pub fn condition(&self, name: &str) -> Option<Status> {
        self.0.condition(name)
    }

    /// Its CamelCase reason; none if absent or empty.
    pub fn condition_reason(&self, name: &str) -> Option<String> {
        self.0.condition_reason(name)
    }

    /// Is this rule's own taint (key and effect) on the node? Seldom needed: a decision says what
    /// shall be, and one that depends on its own effect may flap.
    pub fn tainted(&self) -> bool {
        self.0.tainted()
    }

    /// Is a taint with this key and effect on the node?
    pub fn has_taint(&self, key: &str, effect: Effect) -> bool {
        self.0.has_taint(key, effect)
    }

    /// Is the node cordoned (`spec.unschedulable`)?
    pub fn unschedulable(&self) -> bool {
        self.0.unschedulable()
    }

    /// Has the node object existed for at least this long? `false` also means: evaluate again
    /// then.
    pub fn older_than(&self, at_least: Duration) -> bool {
        self.0.older_than(millis(at_least))
    }

    /// Has it at least this many of an extended resource to give (`status.allocatable`), such as `nvidia.com/gpu`?
    /// Zero: is the resource there at all? Where its device plugin has died it is, with none.
    pub fn allocatable_at_least(&self, resource: &str, at_least: u64) -> bool {
        self.0.allocatable_at_least(resource, at_least)
    }

    /// Value of a label; none if absent.
    pub fn label(&self, key: &str) -> Option<String> {
        self.0.label(key)
    }

    /// Value of an annotation; none if absent.
    pub fn annotation(&self, key: &str) -> Option<String> {
        self.0.annotation(key)
    }

    /// Name of the node, for messages.
    pub fn name(&self) -> String {
        self.0.node_name()
    }
}

impl Rule {
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn new(source: Source) -> Self {
        Self(source)
    }

    /// Name of the rule.
    pub fn name(&self) -> String {
        self.0.rule_name()
    }

    /// `spec.conditions` in the rule's order; may be empty.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.0.requirements()
    }

    /// `spec.conditionPolicy`.
    pub fn matching(&self) -> Matching {
        self.0.matching()
    }

    /// `spec.enforcementMode`.
    pub fn enforcement(&self) -> Enforcement {
        self.0.enforcement()
    }

    /// `spec.policy.parameters` as JSON; empty if there are none. In an evaluation, those that
    /// [`Policy::check`](crate::Policy::check) has found nothing wrong with.
    pub fn parameters(&self) -> String {
        self.0.parameters()
    }
}

impl Bootstrap {
    /// Was the bootstrap completed? Recorded on the node: gone with the node, kept over restarts.
    pub fn completed(&self) -> Completion {
        self.0.completed()
    }

    /// Has this condition had a heartbeat since the node's reboot? No reboot was seen: is there a
    /// heartbeat? Absent, or without a heartbeat: `false`.
    pub fn reported_this_boot(&self, condition: &str) -> bool {
        self.0.reported_this_boot(condition)
    }
}

impl Time {
    /// Has this instant, counted from 1970-01-01T00:00:00Z, passed? `false` also means: evaluate
    /// again then.
    pub fn reached(&self, since_epoch: Duration) -> bool {
        self.0.reached(millis(since_epoch))
    }
}

/// Not `as_millis`: its 128 bits are costly on wasm.
pub(crate) fn millis(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1000)
        .saturating_add(u64::from(duration.subsec_millis()))
}
