//! The sentence that says why.

use std::time::Duration;

use jiff::SignedDuration;

use crate::break_glass::ANNOTATION;
use crate::facts::{Condition, Node, Observed};
use crate::plan::{Candidate, Input, State};
use crate::question::{Answer, CLOCK_SKEW, Question, Read};
use crate::rule::{Matching, Rule, Status};
use crate::verdict::{Decision, Subject};

/// Reason and message of an outcome.
pub(crate) fn explain(
    input: &Input<'_>,
    candidate: &Candidate<'_>,
    state: &State,
) -> (String, String) {
    let (node, rule) = (input.node, candidate.rule);
    let say = |reason: &str, message: String| (reason.to_owned(), message);
    match state {
        State::NotSelected => say(
            "NotSelected",
            "the rule's nodeSelector does not match the node".to_owned(),
        ),
        State::Terminating => say("RuleDeleted", "the rule is being deleted".to_owned()),
        State::Conflict { winner } => say(
            "Conflict",
            format!(
                "rule '{winner}', which comes first by age and name, decides about taint {} here",
                rule.taint
            ),
        ),
        State::Suspended if input.frozen => say(
            "Frozen",
            "every rule is frozen: the node stays as it is".to_owned(),
        ),
        State::Suspended => say(
            "Suspended",
            "the rule is suspended: the node stays as it is".to_owned(),
        ),
        State::Stalled => say(
            "Stalled",
            "the rule cannot be used as it is written: what it did stays".to_owned(),
        ),
        State::BrokenGlass { until } => say(
            "BreakGlass",
            format!("annotation {ANNOTATION} lets the node go until {until}"),
        ),
        State::OverBudget => say(
            "BudgetExhausted",
            "the rule would hold the node, but holds as many as its budget allows".to_owned(),
        ),
        State::Failed(failure) => say(failure.kind, failure.message.clone()),
        State::Decides | State::Completed | State::DryRun { .. } => {
            let Some(verdict) = candidate.verdict else {
                return Default::default();
            };
            let Ok(decision) = &verdict.result else {
                return Default::default();
            };
            let message = if decision.message.is_empty() {
                describe(node, rule, decision, &verdict.reads)
            } else {
                decision.message.clone()
            };
            say(&decision.reason, message)
        }
    }
}

/// What a decision was made of, where the policy left that to the host.
fn describe(node: &Node, rule: &Rule, decision: &Decision, reads: &[Read]) -> String {
    let satisfied = match rule.matching {
        Matching::AllOf => decision.findings.iter().all(|finding| finding.met),
        Matching::AnyOf => decision.findings.iter().any(|finding| finding.met),
    };
    let told = decision
        .findings
        .iter()
        .filter(|finding| finding.met == satisfied);
    let told: Vec<_> = told
        .map(|finding| match &finding.subject {
            Subject::Requirement(index) => requirement(node, rule, *index, reads),
            Subject::Other(words) => {
                // The words are the policy's, singular or plural, or an expression.
                format!("{words}: {}", if finding.met { "met" } else { "not met" })
            }
        })
        .collect();
    told.join("; ")
}

fn requirement(node: &Node, rule: &Rule, index: usize, reads: &[Read]) -> String {
    let Some(requirement) = rule.requirements.get(index) else {
        return format!("requirement {index}");
    };
    let (name, required) = (&requirement.condition, requirement.required);
    match (node.condition(name), requirement.fallback) {
        (Some(condition), _) => format!(
            "{name} is {}{}, required {required}",
            condition.status.shown(),
            shortcoming(condition, required, reads)
        ),
        (None, Some(fallback)) => {
            format!("{name} is absent and counts as {fallback}, required {required}")
        }
        (None, None) => format!(
            "{name} is absent and counts as {}, required {required}",
            Status::Unknown
        ),
    }
}

/// What the policy found wanting about a condition, beyond its status.
fn shortcoming(condition: &Condition, required: Status, reads: &[Read]) -> String {
    let denied = reads
        .iter()
        .filter(|read| read.answer == Answer::Bool(false));
    let told = denied.filter_map(|read| match &read.question {
        Question::ConditionIs {
            condition: name,
            status,
            at_least,
        } if *name == condition.name
            && *status == required
            && condition.status == Observed::Known(required) =>
        {
            let until = read.until.map(|until| format!(" (until {until})"));
            let until = until.unwrap_or_default();
            Some(format!(" for less than {}{until}", span(*at_least)))
        }
        Question::HeartbeatWithin {
            condition: name,
            at_most,
        } if *name == condition.name => Some(match read.until {
            // Only time makes it count. No times here: each heartbeat would have others.
            Some(_) => format!(
                " with a heartbeat that is more than {} in the future: the clock of whoever reports it is ahead",
                span(CLOCK_SKEW.unsigned_abs())
            ),
            None => format!(" without a heartbeat in the last {}", span(*at_most)),
        }),
        Question::ReportedThisBoot { condition: name } if *name == condition.name => {
            Some(" without a heartbeat since the node's reboot".to_owned())
        }
        _ => None,
    });
    told.collect()
}

/// Such as `1h 30m`.
fn span(duration: Duration) -> String {
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |span| format!("{span:#}"))
}
