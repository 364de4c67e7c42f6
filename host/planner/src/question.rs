//! What a policy may ask, and what the node answers: the host side of `wit/`.
//!
//! The engine passes each question to an [`Answers`], and records it with its answer. For a real
//! node that is [`NodeAnswers`]; an explorer answers each question in each way instead.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::daemon_sets::DaemonSetSelection;
use crate::facts::{Node, Observed};
use crate::pods::{Phase, PodSelection};
use crate::related::Related;
use crate::rule::{Effect, Status, TaintId};

/// Clocks of nodes and of this host may differ by so much. A heartbeat that lies further in the future
/// was written by a clock that is wrong: nobody knows when, so it is no sign of life.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// A question of a policy. Named as in the contract; durations are those of the contract
/// (milliseconds).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    tag = "question",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[expect(
    missing_docs,
    reason = "each variant is the function of the same name in wit/"
)]
pub enum Question {
    HasCondition {
        condition: String,
    },
    ConditionIs {
        condition: String,
        status: Status,
        #[serde(rename = "atLeastMs", with = "millis")]
        at_least: Duration,
    },
    HeartbeatWithin {
        condition: String,
        #[serde(rename = "atMostMs", with = "millis")]
        at_most: Duration,
    },
    Condition {
        condition: String,
    },
    ConditionReason {
        condition: String,
    },
    Tainted,
    HasTaint {
        key: String,
        effect: Effect,
    },
    Unschedulable,
    OlderThan {
        #[serde(rename = "atLeastMs", with = "millis")]
        at_least: Duration,
    },
    AllocatableAtLeast {
        resource: String,
        at_least: u64,
    },
    Label {
        key: String,
    },
    Annotation {
        key: String,
    },
    Name,
    Completed,
    ReportedThisBoot {
        condition: String,
    },
    Reached {
        at: Timestamp,
    },
    HasPod {
        pods: Box<PodSelection>,
    },
    HasReadyPod {
        pods: Box<PodSelection>,
        #[serde(rename = "atLeastMs", with = "millis")]
        at_least: Duration,
    },
    AllPodsReady {
        pods: Box<PodSelection>,
        #[serde(rename = "atLeastMs", with = "millis")]
        at_least: Duration,
    },
    HasPodInPhase {
        pods: Box<PodSelection>,
        phase: Phase,
    },
    HasLease,
    RenewedWithin {
        #[serde(rename = "atMostMs", with = "millis")]
        at_most: Duration,
    },
    HasDriver {
        driver: String,
    },
    HasTopologyKey {
        driver: String,
        key: String,
    },
    AllPoolsComplete {
        driver: String,
    },
    HasDevices {
        driver: String,
        at_least: u32,
    },
    HasDaemonSet {
        daemon_sets: Box<DaemonSetSelection>,
    },
    AllDaemonSetPodsReady {
        daemon_sets: Box<DaemonSetSelection>,
        #[serde(rename = "atLeastMs", with = "millis")]
        at_least: Duration,
    },
}

/// An answer. Which variant belongs to which question is fixed by the contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Yes or no.
    Bool(bool),
    /// [`Question::Completed`]
    Completion(Completion),
    /// [`Question::Condition`]; none if absent.
    Status(Option<Status>),
    /// A string of the node; none if absent.
    Text(Option<String>),
}

/// Was the rule's bootstrap completed on the node?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Completion {
    /// No.
    None,
    /// In the boot that the node reports now, or in one that was not recorded.
    ThisBoot,
    /// In a boot before the one that the node reports now.
    EarlierBoot,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// What was answered.
    pub answer: Answer,
    /// When time alone changes the answer; none if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Somebody who answers the questions of a policy.
pub trait Answers: Send + 'static {
    /// The answer, of the variant that belongs to the question, and when time alone changes it.
    fn answer(&mut self, question: &Question) -> (Answer, Option<Timestamp>);
}

/// Answers from a node as it is at one moment, for one rule.
#[derive(Debug, Clone)]
pub struct NodeAnswers {
    /// The node.
    pub node: Arc<Node>,
    /// What belongs to it.
    pub related: Related,
    /// The rule's own taint.
    pub taint: TaintId,
    /// What the node says about the rule's bootstrap.
    pub completion: Completion,
    /// Heartbeats up to then are of the boot before; none: no reboot was seen.
    pub rebooted: Option<Timestamp>,
    /// The time that counts as now.
    pub now: Timestamp,
}

impl Answers for NodeAnswers {
    fn answer(&mut self, question: &Question) -> (Answer, Option<Timestamp>) {
        let node = &*self.node;
        let yes = |answer: bool| (Answer::Bool(answer), None);
        match question {
            Question::HasCondition { condition } => yes(node.condition(condition).is_some()),
            Question::ConditionIs {
                condition,
                status,
                at_least,
            } => match node.condition(condition) {
                Some(found) if found.status == Observed::Known(*status) => {
                    lasted(found.changed, *at_least, self.now)
                }
                _ => yes(false),
            },
            Question::HeartbeatWithin { condition, at_most } => self.within(condition, *at_most),
            Question::Condition { condition } => (
                Answer::Status(node.condition(condition).map(|found| found.status.shown())),
                None,
            ),
            Question::ConditionReason { condition } => {
                let reason = node.condition(condition).map(|found| found.reason.clone());
                (
                    Answer::Text(reason.filter(|reason| !reason.is_empty())),
                    None,
                )
            }
            Question::Tainted => yes(node.has_taint(&self.taint)),
            Question::HasTaint { key, effect } => yes(node
                .taints
                .iter()
                .any(|taint| taint.effect == Some(*effect) && taint.key == *key)),
            Question::Unschedulable => yes(node.unschedulable),
            Question::OlderThan { at_least } => lasted(node.created, *at_least, self.now),
            Question::AllocatableAtLeast { resource, at_least } => {
                yes(node.has_allocatable(resource, *at_least))
            }
            Question::Label { key } => {
                (Answer::Text(node.labels.get(key).map(str::to_owned)), None)
            }
            Question::Annotation { key } => (
                Answer::Text(node.annotations.get(key).map(str::to_owned)),
                None,
            ),
            Question::Name => (Answer::Text(Some(node.name.clone())), None),
            Question::Completed => (Answer::Completion(self.completion), None),
            Question::ReportedThisBoot { condition } => {
                let heartbeat = node.condition(condition).and_then(|found| found.heartbeat);
                // No heartbeat is before any.
                yes(heartbeat > self.rebooted)
            }
            Question::Reached { at } => {
                let reached = *at <= self.now;
                (Answer::Bool(reached), (!reached).then_some(*at))
            }
            Question::HasPod { .. }
            | Question::HasReadyPod { .. }
            | Question::AllPodsReady { .. }
            | Question::HasPodInPhase { .. }
            | Question::HasLease
            | Question::RenewedWithin { .. }
            | Question::HasDriver { .. }
            | Question::HasTopologyKey { .. }
            | Question::AllPoolsComplete { .. }
            | Question::HasDevices { .. }
            | Question::HasDaemonSet { .. }
            | Question::AllDaemonSetPodsReady { .. } => {
                let answer = self.related.answer(question, self.now);
                answer.unwrap_or((Answer::Text(None), None))
            }
        }
    }
}

impl NodeAnswers {
    fn within(&self, condition: &str, at_most: Duration) -> (Answer, Option<Timestamp>) {
        let Some(heartbeat) = self
            .node
            .condition(condition)
            .and_then(|found| found.heartbeat)
        else {
            return (Answer::Bool(false), None);
        };
        within(heartbeat, at_most, self.now)
    }
}

/// Was a sign of life given at most this long ago? One that lies further in the future than clocks differ says
/// nothing until it does not.
pub(crate) fn within(
    sign: Timestamp,
    at_most: Duration,
    now: Timestamp,
) -> (Answer, Option<Timestamp>) {
    let counts_from = sign.checked_sub(CLOCK_SKEW).ok();
    if let Some(from) = counts_from.filter(|from| *from > now) {
        return (Answer::Bool(false), Some(from));
    }
    // None is too old for a span that reaches beyond the end of time.
    let Ok(last) = sign.checked_add(at_most) else {
        return (Answer::Bool(true), None);
    };
    let fresh = now <= last;
    let until = last.checked_add(SignedDuration::from_millis(1)).ok();
    (Answer::Bool(fresh), until.filter(|_| fresh))
}

/// Has something that began then lasted this long? A beginning in the future is a clock that runs
/// ahead: it has lasted no time at all.
pub(crate) fn lasted(
    since: Option<Timestamp>,
    at_least: Duration,
    now: Timestamp,
) -> (Answer, Option<Timestamp>) {
    if at_least.is_zero() {
        return (Answer::Bool(true), None);
    }
    // Beyond the end of time: never.
    let from = since.and_then(|since| since.checked_add(at_least).ok());
    let lasted = from.is_some_and(|from| from <= now);
    (Answer::Bool(lasted), from.filter(|_| !lasted))
}

/// A duration as a number of milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Condition;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Is a heartbeat at this second within a minute at second 0, and until when is that the answer?
    fn within(heartbeat: i64) -> (Answer, Option<Timestamp>) {
        let condition = Condition {
            name: "A".to_owned(),
            status: Observed::Known(Status::True),
            reason: String::new(),
            changed: None,
            heartbeat: Some(second(heartbeat)),
        };
        let node = Node {
            conditions: vec![condition],
            ..Node::default()
        };
        let taint = TaintId {
            key: String::new(),
            effect: Effect::NoSchedule,
        };
        let mut answers = NodeAnswers {
            node: Arc::new(node),
            related: Related::default(),
            taint,
            completion: Completion::None,
            rebooted: None,
            now: second(0),
        };
        answers.answer(&Question::HeartbeatWithin {
            condition: "A".to_owned(),
            at_most: Duration::from_secs(60),
        })
    }

    #[test]
    fn a_heartbeat_from_the_future_counts_as_far_as_clocks_differ() {
        let millisecond = SignedDuration::from_millis(1);
        let no = Answer::Bool(false);
        let yes = |heartbeat: i64| {
            (
                Answer::Bool(true),
                Some(second(heartbeat + 60) + millisecond),
            )
        };
        assert_eq!(within(-61), (no.clone(), None));
        assert_eq!(within(-60), yes(-60));
        assert_eq!(within(30), yes(30));
        assert_eq!(within(60), yes(60));
        // Beyond that nobody knows when it was; when it can have been it is asked again.
        assert_eq!(within(61), (no.clone(), Some(second(1))));
        assert_eq!(within(5000), (no, Some(second(4940))));
    }
}
