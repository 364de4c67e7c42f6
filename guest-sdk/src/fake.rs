//! Facts for a policy's own unit tests, which run natively with plain `cargo test`.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Completion, Effect, Enforcement, Facts, Matching, Requirement, Status};

#[path = "beyond/fake.rs"]
mod beyond;

pub use beyond::{DaemonSet, Pod};

/// A node and a rule, as a test wants them. Answers as the host does.
///
/// ```
/// use core::time::Duration;
/// use guest_sdk::{Status, fake::Fake};
///
/// let fake = Fake::new().condition_for("Ready", Status::True, Duration::from_secs(30));
/// let facts = fake.facts();
/// assert!(facts.node.condition_is("Ready", Status::True, Duration::from_secs(30)));
/// assert!(!facts.node.has_condition("DiskPressure"));
/// assert_eq!(fake.asked(), ["condition-is(Ready, True, 30s)", "has-condition(DiskPressure)"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fake {
    node: String,
    conditions: BTreeMap<String, Condition>,
    heartbeats: BTreeMap<String, Duration>,
    before_reboot: BTreeSet<String>,
    reasons: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    allocatable: BTreeMap<String, u64>,
    taints: Vec<(String, Effect)>,
    tainted: bool,
    unschedulable: bool,
    age: Duration,
    rule: String,
    requirements: Vec<Requirement>,
    any_of: bool,
    bootstrap_only: bool,
    parameters: String,
    completed: Option<Completion>,
    now: Duration,
    pods: Vec<Pod>,
    /// None: no lease. None inside: one that does not say when.
    lease: Option<Option<Duration>>,
    drivers: BTreeMap<String, Vec<String>>,
    /// How many there are, and whether each pool is complete.
    devices: BTreeMap<String, (u32, bool)>,
    daemon_sets: Vec<DaemonSet>,
    asked: Asked,
}

/// What was asked so far. A changed copy of a fake has not been asked anything yet.
#[derive(Debug, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Asked {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Debug, Clone, Copy)]
struct Condition {
    /// None: a status that is none of the three.
    status: Option<Status>,
    lasting: Duration,
}

impl Fake {
    /// A node named `node` that shows nothing, and a rule named `rule` that requires nothing:
    /// continuous, `allOf`, no parameters, not completed. It is 1970-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self {
            node: "node".into(),
            rule: "rule".into(),
            ..Self::default()
        }
    }

    /// The node shows this condition, since just now.
    #[must_use]
    pub fn condition(self, name: &str, status: Status) -> Self {
        self.condition_for(name, status, Duration::ZERO)
    }

    /// The node shows this condition, and has done so for this long.
    #[must_use]
    pub fn condition_for(mut self, name: &str, status: Status, lasting: Duration) -> Self {
        let status = Some(status);
        self.conditions
            .insert(name.into(), Condition { status, lasting });
        self
    }

    /// The node shows this condition with a status that is none of the three.
    #[must_use]
    pub fn odd_condition(mut self, name: &str) -> Self {
        let odd = Condition {
            status: None,
            lasting: Duration::ZERO,
        };
        self.conditions.insert(name.into(), odd);
        self
    }

    /// The last heartbeat of this condition is this old.
    #[must_use]
    pub fn heartbeat(mut self, name: &str, age: Duration) -> Self {
        self.heartbeats.insert(name.into(), age);
        self
    }

    /// The last heartbeat of this condition is of the boot before the one that the node reports now.
    #[must_use]
    pub fn heartbeat_before_reboot(mut self, name: &str, age: Duration) -> Self {
        self.before_reboot.insert(name.into());
        self.heartbeat(name, age)
    }

    /// The reason of this condition.
    #[must_use]
    pub fn reason(mut self, name: &str, reason: &str) -> Self {
        self.reasons.insert(name.into(), reason.into());
        self
    }

    /// So many of an extended resource the node has to give.
    #[must_use]
    pub fn allocatable(mut self, resource: &str, amount: u64) -> Self {
        self.allocatable.insert(resource.into(), amount);
        self
    }

    /// A label of the node.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// An annotation of the node.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// A taint of the node that is not the rule's own.
    #[must_use]
    pub fn taint(mut self, key: &str, effect: Effect) -> Self {
        self.taints.push((key.into(), effect));
        self
    }

    /// The rule's own taint is on the node.
    #[must_use]
    pub fn tainted(mut self) -> Self {
        self.tainted = true;
        self
    }

    /// The node is cordoned.
    #[must_use]
    pub fn unschedulable(mut self) -> Self {
        self.unschedulable = true;
        self
    }

    /// The node object has existed for this long.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The rule requires this status of this condition, without a default.
    #[must_use]
    pub fn requires(self, condition: &str, required: Status) -> Self {
        self.requirement(condition, required, None)
    }

    /// The rule requires this status of this condition, and another counts while it is absent.
    #[must_use]
    pub fn requires_or(self, condition: &str, required: Status, fallback: Status) -> Self {
        self.requirement(condition, required, Some(fallback))
    }

    fn requirement(mut self, condition: &str, required: Status, fallback: Option<Status>) -> Self {
        self.requirements.push(Requirement {
            condition: condition.into(),
            required,
            fallback,
        });
        self
    }

    /// The rule says `anyOf`.
    #[must_use]
    pub fn any_of(mut self) -> Self {
        self.any_of = true;
        self
    }

    /// The rule says `bootstrap-only`.
    #[must_use]
    pub fn bootstrap_only(mut self) -> Self {
        self.bootstrap_only = true;
        self
    }

    /// The rule gives these parameters, as JSON.
    #[must_use]
    pub fn parameters(mut self, json: &str) -> Self {
        self.parameters = json.into();
        self
    }

    /// The bootstrap of the rule on the node.
    #[must_use]
    pub fn completed(mut self, completion: Completion) -> Self {
        self.completed = Some(completion);
        self
    }

    /// The time, counted from 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now(mut self, since_epoch: Duration) -> Self {
        self.now = since_epoch;
        self
    }

    /// What [`Policy::evaluate`](crate::Policy::evaluate) takes. `facts.rule` is what
    /// [`Policy::check`](crate::Policy::check) takes.
    pub fn facts(&self) -> Facts {
        let asked = Asked(Arc::clone(&self.asked.0));
        let fake = Self {
            asked,
            ..self.clone()
        };
        Facts::new(Source(Arc::new(fake)))
    }

    /// The questions that the policy asked about the node, each once, such as
    /// `condition-is(Ready, True, 30s)`; a duration of zero is not shown. As in the host's record,
    /// questions about the rule are not in it.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

/// A [`Fake`] that is being asked.
#[derive(Debug, Clone)]
pub(crate) struct Source(Arc<Fake>);

impl Source {
    fn record(&self, question: String) {
        let mut asked = self.0.asked.lock();
        if !asked.contains(&question) {
            asked.push(question);
        }
    }

    pub(crate) fn has_condition(&self, name: &str) -> bool {
        self.record(format!("has-condition({name})"));
        self.0.conditions.contains_key(name)
    }

    pub(crate) fn condition_is(&self, name: &str, status: Status, at_least: u64) -> bool {
        let at_least = Duration::from_millis(at_least);
        self.record(if at_least.is_zero() {
            format!("condition-is({name}, {status:?})")
        } else {
            format!("condition-is({name}, {status:?}, {at_least:?})")
        });
        self.0.conditions.get(name).is_some_and(|condition| {
            condition.status == Some(status) && condition.lasting >= at_least
        })
    }

    pub(crate) fn heartbeat_within(&self, name: &str, at_most: u64) -> bool {
        let at_most = Duration::from_millis(at_most);
        self.record(format!("heartbeat-within({name}, {at_most:?})"));
        let age = self.0.heartbeats.get(name);
        self.0.conditions.contains_key(name) && age.is_some_and(|age| *age <= at_most)
    }

    pub(crate) fn condition(&self, name: &str) -> Option<Status> {
        self.record(format!("condition({name})"));
        let condition = self.0.conditions.get(name)?;
        Some(condition.status.unwrap_or(Status::Unknown))
    }

    pub(crate) fn condition_reason(&self, name: &str) -> Option<String> {
        self.record(format!("condition-reason({name})"));
        self.0.conditions.get(name)?;
        let reason = self.0.reasons.get(name)?;
        (!reason.is_empty()).then(|| reason.clone())
    }

    pub(crate) fn tainted(&self) -> bool {
        self.record("tainted".into());
        self.0.tainted
    }

    pub(crate) fn has_taint(&self, key: &str, effect: Effect) -> bool {
        self.record(format!("has-taint({key}, {effect:?})"));
        let mut taints = self.0.taints.iter();
        taints.any(|taint| taint.0 == key && taint.1 == effect)
    }

    pub(crate) fn unschedulable(&self) -> bool {
        self.record("unschedulable".into());
        self.0.unschedulable
    }

    pub(crate) fn older_than(&self, at_least: u64) -> bool {
        let at_least = Duration::from_millis(at_least);
        self.record(format!("older-than({at_least:?})"));
        self.0.age >= at_least
    }

    pub(crate) fn allocatable_at_least(&self, resource: &str, at_least: u64) -> bool {
        self.record(format!("allocatable-at-least({resource}, {at_least})"));
        let amount = self.0.allocatable.get(resource);
        amount.is_some_and(|amount| *amount >= at_least)
    }

    pub(crate) fn label(&self, key: &str) -> Option<String> {
        self.record(format!("label({key})"));
        self.0.labels.get(key).cloned()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<String> {
        self.record(format!("annotation({key})"));
        self.0.annotations.get(key).cloned()
    }

    pub(crate) fn node_name(&self) -> String {
        self.record("name".into());
        self.0.node.clone()
    }

    pub(crate) fn rule_name(&self) -> String {
        self.0.rule.clone()
    }

    pub(crate) fn requirements(&self) -> Vec<Requirement> {
        self.0.requirements.clone()
    }

    pub(crate) fn matching(&self) -> Matching {
        if self.0.any_of {
            Matching::AnyOf
        } else {
            Matching::AllOf
        }
    }

    pub(crate) fn enforcement(&self) -> Enforcement {
        if self.0.bootstrap_only {
            Enforcement::BootstrapOnly
        } else {
            Enforcement::Continuous
        }
    }

    pub(crate) fn parameters(&self) -> String {
        self.0.parameters.clone()
    }

    pub(crate) fn completed(&self) -> Completion {
        self.record("completed".into());
        self.0.completed.unwrap_or(Completion::None)
    }

    pub(crate) fn reported_this_boot(&self, condition: &str) -> bool {
        self.record(format!("reported-this-boot({condition})"));
        self.0.conditions.contains_key(condition)
            && self.0.heartbeats.contains_key(condition)
            && !self.0.before_reboot.contains(condition)
    }

    pub(crate) fn reached(&self, at: u64) -> bool {
        let at = Duration::from_millis(at);
        self.record(format!("reached({at:?})"));
        self.0.now >= at
    }
}
