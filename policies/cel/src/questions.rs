//! What an expression can ask: each function is a question of the contract.

use core::time::Duration;

use guest_sdk::{Completion, Effect, Facts, Matching, Requirement, Status};

use crate::instant;

/// A function.
pub(crate) struct Question {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it takes. All of these are strings in CEL.
    pub(crate) arguments: &'static [Argument],
    /// What it gives, as CEL calls it.
    pub(crate) gives: &'static str,
}

/// What a string has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Any.
    Text,
    /// A status of a condition.
    Status,
    /// An effect of a taint.
    Effect,
    /// A duration.
    Duration,
    /// An instant.
    Instant,
    /// A whole number.
    Whole,
}

/// What a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given<'a> {
    /// Any.
    Text(&'a str),
    /// A status of a condition.
    Status(Status),
    /// An effect of a taint.
    Effect(Effect),
    /// A duration, or an instant as the time since 1970.
    Time(Duration),
    /// A whole number.
    Whole(u64),
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Almost always.
    Bool(bool),
    /// Empty where there is none.
    Text(String),
}

use Argument::{
    Duration as Span, Effect as TaintEffect, Instant, Status as ConditionStatus, Text, Whole,
};

const BOOL: &str = "bool";
const STRING: &str = "string";

/// All of them.
pub(crate) const QUESTIONS: &[Question] = &[
    question("hasCondition", &[Text], BOOL),
    question("conditionIs", &[Text, ConditionStatus], BOOL),
    question("conditionIs", &[Text, ConditionStatus, Span], BOOL),
    question("heartbeatWithin", &[Text, Span], BOOL),
    question("condition", &[Text], STRING),
    question("conditionReason", &[Text], STRING),
    question("hasLabel", &[Text], BOOL),
    question("label", &[Text], STRING),
    question("hasAnnotation", &[Text], BOOL),
    question("annotation", &[Text], STRING),
    question("hasTaint", &[Text, TaintEffect], BOOL),
    question("tainted", &[], BOOL),
    question("unschedulable", &[], BOOL),
    question("olderThan", &[Span], BOOL),
    question("allocatableAtLeast", &[Text, Whole], BOOL),
    question("name", &[], STRING),
    question("requirementsMet", &[], BOOL),
    question("completed", &[], BOOL),
    question("reportedThisBoot", &[Text], BOOL),
    question("reached", &[Instant], BOOL),
];

const fn question(
    name: &'static str,
    arguments: &'static [Argument],
    gives: &'static str,
) -> Question {
    Question {
        name,
        arguments,
        gives,
    }
}

impl Argument {
    /// Reads a string as this, or says what it should have been.
    pub(crate) fn read(self, text: &str) -> Result<Given<'_>, &'static str> {
        let given = match self {
            Self::Text => Some(Given::Text(text)),
            Self::Status => match text {
                "True" => Some(Given::Status(Status::True)),
                "False" => Some(Given::Status(Status::False)),
                "Unknown" => Some(Given::Status(Status::Unknown)),
                _ => None,
            },
            Self::Effect => match text {
                "NoSchedule" => Some(Given::Effect(Effect::NoSchedule)),
                "PreferNoSchedule" => Some(Given::Effect(Effect::PreferNoSchedule)),
                "NoExecute" => Some(Given::Effect(Effect::NoExecute)),
                _ => None,
            },
            Self::Duration => guest_sdk::milliseconds(text).map(time),
            Self::Instant => instant::milliseconds(text).map(time),
            // Rust takes a sign as well.
            Self::Whole if text.starts_with('+') => None,
            Self::Whole => text.parse().ok().map(Given::Whole),
        };
        given.ok_or(match self {
            Self::Text => "a string",
            Self::Status => "a status: 'True', 'False' or 'Unknown'",
            Self::Effect => "an effect: 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'",
            Self::Duration => "a duration, such as '30s', '5m' or '1h30m'",
            Self::Instant => "an instant in UTC, such as '2026-07-01T12:00:00Z'",
            Self::Whole => "a whole number, such as '8'",
        })
    }
}

fn time(milliseconds: u64) -> Given<'static> {
    Given::Time(Duration::from_millis(milliseconds))
}

/// Asks one, with what it was given in the expression.
pub(crate) fn ask(facts: &Facts, name: &str, texts: &[Option<&str>]) -> Result<Answer, String> {
    let question = QUESTIONS
        .iter()
        .find(|question| question.name == name && question.arguments.len() == texts.len());
    let Some(question) = question else {
        return Err(format!("it does not take {} arguments", texts.len()));
    };
    let mut given = Vec::with_capacity(texts.len());
    for (argument, text) in question.arguments.iter().zip(texts) {
        let text = text.ok_or("its arguments are strings")?;
        let read = argument.read(text);
        given.push(read.map_err(|wanted| format!("'{text}' is not {wanted}"))?);
    }
    answer(facts, name, &given).ok_or_else(|| "it cannot be asked".into())
}

fn answer(facts: &Facts, name: &str, given: &[Given<'_>]) -> Option<Answer> {
    use Given::{Effect, Status, Text, Time, Whole};
    let node = &facts.node;
    let yes = match (name, given) {
        ("hasCondition", [Text(condition)]) => node.has_condition(condition),
        ("conditionIs", [Text(condition), Status(status)]) => {
            node.condition_is(condition, *status, Duration::ZERO)
        }
        ("conditionIs", [Text(condition), Status(status), Time(at_least)]) => {
            node.condition_is(condition, *status, *at_least)
        }
        ("heartbeatWithin", [Text(condition), Time(at_most)]) => {
            node.heartbeat_within(condition, *at_most)
        }
        ("condition", [Text(condition)]) => {
            return Some(text(node.condition(condition).map(status_name)));
        }
        ("conditionReason", [Text(condition)]) => {
            return Some(text(node.condition_reason(condition)));
        }
        ("hasLabel", [Text(key)]) => node.label(key).is_some(),
        ("label", [Text(key)]) => return Some(text(node.label(key))),
        ("hasAnnotation", [Text(key)]) => node.annotation(key).is_some(),
        ("annotation", [Text(key)]) => return Some(text(node.annotation(key))),
        ("hasTaint", [Text(key), Effect(effect)]) => node.has_taint(key, *effect),
        ("tainted", []) => node.tainted(),
        ("unschedulable", []) => node.unschedulable(),
        ("olderThan", [Time(at_least)]) => node.older_than(*at_least),
        ("allocatableAtLeast", [Text(resource), Whole(at_least)]) => {
            node.allocatable_at_least(resource, *at_least)
        }
        ("name", []) => return Some(Answer::Text(node.name())),
        ("requirementsMet", []) => requirements_met(facts),
        ("completed", []) => facts.bootstrap.completed() != Completion::None,
        ("reportedThisBoot", [Text(condition)]) => facts.bootstrap.reported_this_boot(condition),
        ("reached", [Time(since_epoch)]) => facts.time.reached(*since_epoch),
        _ => return None,
    };
    Some(Answer::Bool(yes))
}

fn text(text: Option<impl Into<String>>) -> Answer {
    Answer::Text(text.map(Into::into).unwrap_or_default())
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::True => "True",
        Status::False => "False",
        Status::Unknown => "Unknown",
    }
}

/// Are the rule's conditions as the default policy wants them?
fn requirements_met(facts: &Facts) -> bool {
    let requirements = facts.rule.requirements();
    let mut requirements = requirements.iter();
    match facts.rule.matching() {
        // An empty list must not open a gate.
        Matching::AllOf => {
            requirements.len() > 0 && requirements.all(|requirement| is_met(facts, requirement))
        }
        Matching::AnyOf => requirements.any(|requirement| is_met(facts, requirement)),
    }
}

fn is_met(facts: &Facts, requirement: &Requirement) -> bool {
    let Requirement {
        condition,
        required,
        fallback,
    } = requirement;
    if facts
        .node
        .condition_is(condition, *required, Duration::ZERO)
    {
        return true;
    }
    // Whether the node shows it at all matters only where its absence would do.
    fallback.unwrap_or(Status::Unknown) == *required && !facts.node.has_condition(condition)
}
