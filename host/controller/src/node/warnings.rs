//! What somebody should look at: a Warning event on the node, and a line in the log.

use kube::runtime::reflector::ObjectRef;
use planner::plan::State;
use planner::rule::{Rule, TaintId};
use planner::{Timestamp, break_glass, facts, ownership};

use crate::decide::Decided;
use crate::events::Object;
use crate::rules::RuleSet;
use crate::shared::Shared;

/// Annotations of ours that somebody else wrote.
pub(super) fn about_annotations(shared: &Shared, node: &facts::Node, now: Timestamp) {
    let warn = |reason, annotation: &str, problem: String, meaning: &str| {
        let note = format!("annotation {annotation} cannot be read: {problem}; {meaning}");
        shared
            .events
            .warn(Object::Node(node), reason, &problem, note);
    };
    if let Some(problem) = ownership::problem(node, &shared.rules().prefixes) {
        let meaning = "a taint whose record is lost is not removed when its rule goes; remove it by hand if it is not wanted";
        warn(
            "OwnershipUnreadable",
            ownership::ANNOTATION,
            problem,
            meaning,
        );
    }
    let key = break_glass::ANNOTATION;
    for entry in break_glass::entries(node) {
        let (name, until) = match entry {
            Ok(entry) => entry,
            Err(problem) => {
                let meaning = "this entry lets nothing go";
                warn("BreakGlassUnreadable", key, problem, meaning);
                continue;
            }
        };
        let rules = shared.rules();
        let named = rules.active.iter().map(|active| &active.rule);
        let named = || named.clone().filter(|rule| break_glass::is_for(name, rule));
        let problem =
            if shared.objects.get(&ObjectRef::new(name)).is_none() && named().next().is_none() {
                format!("there is no rule '{name}'")
            } else if until <= now {
                format!("for rule '{name}' its time was over at {until}")
            } else if named().next().is_some() && named().all(|rule| rule.dry_run) {
                format!("rule '{name}' is a dry run, which changes no node")
            } else {
                continue;
            };
        let note = format!("annotation {key} lets nothing go: {problem}");
        let object = Object::Node(node);
        shared
            .events
            .warn(object, "BreakGlassWithoutEffect", &problem, note);
    }
}

/// Taints on the node that look like a rule's and are nobody's: no rule that has such a taint selects the node, and
/// nothing says that one put it there.
pub(super) fn about_strangers(
    shared: &Shared,
    node: &facts::Node,
    rules: &RuleSet,
    decided: &Decided<'_>,
) {
    for rule in rules.active.iter().map(|active| &active.rule) {
        let taint = &rule.taint;
        let mut minded = decided.rules.iter();
        if !node.has_taint(taint)
            || rule.dry_run
            || minded.any(|active| active.rule.taint == *taint)
            // Of a rule that is gone, maybe: then it was taken off just now, or will be.
            || ownership::read(node, &rules.prefixes).iter().any(|record| record.is_for(taint))
        {
            continue;
        }
        let note = format!(
            "Taint '{taint}' is left on the node: rule '{}' does not select the node, and there is no record that a rule put the taint there; give the node the labels that the rule selects by, or remove the taint by hand",
            rule.name
        );
        let object = Object::Node(node);
        (shared.events).warn(object, "TaintNotManaged", &taint.to_string(), note);
    }
}

/// What a plan leaves as it is although somebody may want it otherwise. Says when a node will have been
/// held too long.
pub(super) fn about_outcomes(
    shared: &Shared,
    node: &facts::Node,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut next: Option<Timestamp> = None;
    for (active, outcome) in decided.rules.iter().zip(&decided.plan.outcomes) {
        let rule = &active.rule;
        let (name, taint) = (&rule.name, &rule.taint);
        let warn = |reason, note| {
            shared
                .events
                .warn(Object::Node(node), reason, &rule.uid, note);
        };
        match &outcome.state {
            State::Completed if outcome.after && outcome.owned_since.is_some() => warn(
                "TaintNotManaged",
                format!(
                    "Taint '{taint}' is left on the node: rule '{name}' put it there, and its bootstrap was recorded as complete since; it goes when the conditions are as required"
                ),
            ),
            // Another rule may hold the node by the same taint.
            State::Completed if outcome.after && !is_owned(decided, taint) => warn(
                "TaintNotManaged",
                format!(
                    "Taint '{taint}' is left on the node: rule '{name}' completed its bootstrap here and never adds it, so somebody else did"
                ),
            ),
            // Another time is news.
            State::BrokenGlass { until } => shared.events.warn(
                Object::Node(node),
                "BreakGlass",
                &format!("{} {until}", rule.uid),
                format!(
                    "The node is let go from rule '{name}' until {until} by annotation {}",
                    break_glass::ANNOTATION
                ),
            ),
            // Where nothing is known yet, nothing failed.
            State::Failed(failure) if !outcome.state.is_open() => warn(
                "PolicyFailed",
                format!(
                    "The policy of rule '{name}' gave no decision ({}): {}; the node stays as it is",
                    failure.kind, failure.message
                ),
            ),
            _ => {}
        }
        let limit = shared.limits.held_too_long;
        let since = outcome
            .owned_since
            .filter(|_| outcome.after && !node.terminating);
        let holds = [State::Decides, State::Suspended, State::Stalled];
        let since = since.filter(|_| holds.contains(&outcome.state));
        let until = since
            .zip(limit)
            .and_then(|(since, limit)| since.checked_add(limit).ok());
        match until {
            Some(until) if until <= now => {
                let note = format!(
                    "Taint '{taint}' of rule '{name}' is on the node for longer than {} s: {}",
                    limit.unwrap_or_default().as_secs(),
                    outcome.message
                );
                let object = Object::Node(node);
                let since = since.unwrap_or(now);
                let hold = format!("{} {since}", rule.uid);
                shared
                    .events
                    .warn_since(object, "HeldTooLong", &hold, note, since);
            }
            Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
            None => {}
        }
    }
    next
}

/// Does any rule own this taint of the node?
fn is_owned(decided: &Decided<'_>, taint: &TaintId) -> bool {
    let mut outcomes = decided.rules.iter().zip(&decided.plan.outcomes);
    outcomes.any(|(active, outcome)| active.rule.taint == *taint && outcome.owned_since.is_some())
}

/// A plan that was not carried out.
pub(super) fn about_failure(shared: &Shared, node: &facts::Node, rule: &Rule, error: &str) {
    let note = format!(
        "Rule '{}' could not be carried out, and is tried again: {error}",
        rule.name
    );
    shared
        .events
        .warn(Object::Node(node), "PatchFailed", &rule.uid, note);
}
