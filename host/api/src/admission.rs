//! What the validating webhook says of a rule that is created or changed: errors in the order of the
//! fields, and warnings. Pure, so that the same can be said of a file.
//!
//! An update is judged by what it changes. What it leaves as it was cannot be repaired by refusing
//! it, since all of that is immutable, and whoever stops a rule in an emergency must not be told that
//! its selector was never good. Both sides of an update come from the API server, which has refused by
//! then what the schema does not allow.

mod field;

use std::sync::{Arc, OnceLock};

use planner::rule::Enforcement;
use planner::rule::Matching;

use crate::NodeReadinessRule;
use crate::selector::Selector;

pub use field::{FieldError, Kind};

/// The field of a conflict with another rule.
const CONFLICT: &str = "spec.taint.key";

/// What somebody is about to do with a rule.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A new rule.
    Create {
        /// As it will be stored.
        new: &'a NodeReadinessRule,
    },
    /// Another version of a stored rule.
    Update {
        /// As it is stored.
        old: &'a NodeReadinessRule,
        /// As it will be stored.
        new: &'a NodeReadinessRule,
    },
    /// The rule goes, which nothing speaks against.
    Delete,
}

/// What is to be said about a [`Change`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Review {
    /// Why it is refused: in the order of the fields, conflicts with other rules last. Empty: it is
    /// not refused.
    pub errors: Vec<FieldError>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

impl Review {
    /// Adds what somebody else found: conflicts stay the last.
    pub fn add(&mut self, errors: Vec<FieldError>) {
        let conflicts = self.errors.iter().position(|error| error.field == CONFLICT);
        let at = conflicts.unwrap_or(self.errors.len());
        self.errors.splice(at..at, errors);
    }

    /// All errors in one line; none if there is none.
    pub fn refusal(&self) -> Option<String> {
        if self.errors.is_empty() {
            return None;
        }
        let errors: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        Some(format!("validation failed: [{}]", errors.join(" ")))
    }
}

/// A rule that exists, to be compared with many changes.
#[derive(Debug)]
pub struct Existing {
    rule: Arc<NodeReadinessRule>,
    /// Parsed when it is first compared; none if it cannot be read.
    selector: OnceLock<Option<Selector>>,
}

impl Existing {
    /// As it is stored.
    pub fn new(rule: Arc<NodeReadinessRule>) -> Self {
        let selector = OnceLock::new();
        Self { rule, selector }
    }

    /// The same rule as it is stored now.
    #[must_use]
    pub fn renewed(&self, rule: Arc<NodeReadinessRule>) -> Self {
        let same = self.rule.spec.node_selector == rule.spec.node_selector;
        let selector = if same {
            self.selector.clone()
        } else {
            OnceLock::new()
        };
        Self { rule, selector }
    }

    /// As it was given.
    pub fn rule(&self) -> &Arc<NodeReadinessRule> {
        &self.rule
    }

    fn is_named(&self, name: &str) -> bool {
        self.rule.metadata.name.as_deref() == Some(name)
    }

    fn selector(&self) -> Option<&Selector> {
        let parsed = || Selector::parse(&self.rule.spec.node_selector).ok();
        self.selector.get_or_init(parsed).as_ref()
    }
}

impl<'a> Change<'a> {
    /// Must the other rules be known for a [`Change::review`]?
    pub fn wants_others(&self) -> bool {
        self.subject().is_some_and(|subject| {
            subject.may_conflict || subject.replaces.is_some() || subject.replaces_dry.is_some()
        })
    }

    /// The rule, where it asks for another policy, budget or taint than before: whether it can have
    /// them is for those to say who know them.
    pub fn wants_terms(&self) -> Option<&'a NodeReadinessRule> {
        let terms =
            |rule: &'a NodeReadinessRule| (&rule.spec.policy, &rule.spec.budget, &rule.spec.taint);
        match *self {
            Self::Delete => None,
            Self::Create { new } => Some(new),
            Self::Update { old, new } => {
                let judged = new.metadata.deletion_timestamp.is_none() && terms(old) != terms(new);
                judged.then_some(new)
            }
        }
    }

    /// The rule, where it is new or enforced from now on.
    pub fn begins(&self) -> Option<&'a NodeReadinessRule> {
        match *self {
            Self::Create { new } => Some(new),
            Self::Update { old, new } => (is_dry_run(old) && enforces(new)).then_some(new),
            Self::Delete => None,
        }
    }

    /// Reviews the change. `others` are the rules that exist; the changed one may be among them.
    pub fn review<'o>(&self, others: impl IntoIterator<Item = &'o Existing>) -> Review {
        let mut review = Review::default();
        let Some(subject) = self.subject() else {
            return review;
        };
        if subject.is_new {
            conditions(subject.rule, &mut review.errors);
            review.warnings = warnings(subject.rule);
        }
        if subject.is_selector_judged {
            selector(subject.rule, &mut review.errors);
        }
        let others: Vec<&Existing> = others.into_iter().collect();
        if let Some(name) = subject.replaces {
            replacement(subject.rule, name, &others, &mut review);
        }
        if let Some(name) = subject.replaces_dry
            && others.iter().any(|other| other.is_named(name))
        {
            review.warnings.push(format!(
                "spec.replaces: a dry run takes nothing over from rule '{name}': if that rule is deleted before dryRun ends, its taints are released and its completed bootstraps are lost"
            ));
        }
        if subject.may_conflict {
            review.errors.extend(conflicts(subject.rule, others));
        }
        review
    }

    fn subject(&self) -> Option<Subject<'a>> {
        match *self {
            Self::Delete => None,
            Self::Create { new } => Some(Subject {
                rule: new,
                is_new: true,
                is_selector_judged: true,
                may_conflict: enforces(new),
                replaces: replaced(new),
                replaces_dry: replaced(new).filter(|_| is_dry_run(new)),
            }),
            // The finalizer must go, whatever is wrong with the rule.
            Self::Update { new, .. } if new.metadata.deletion_timestamp.is_some() => None,
            Self::Update { old, new } if old.spec == new.spec => None,
            Self::Update { old, new } => {
                let begins = is_dry_run(old) && !is_dry_run(new);
                let moves = old.spec.node_selector != new.spec.node_selector;
                let claims_more = old.spec.taint.key != new.spec.taint.key
                    || old.spec.taint.effect != new.spec.taint.effect
                    || replaced(old) != replaced(new);
                Some(Subject {
                    rule: new,
                    is_new: false,
                    is_selector_judged: begins || moves,
                    may_conflict: enforces(new) && (begins || moves || claims_more),
                    replaces: replaced(new).filter(|_| replaced(old) != replaced(new)),
                    replaces_dry: replaced(new).filter(|_| {
                        let terms = |rule| (is_dry_run(rule), replaced(rule));
                        is_dry_run(new) && terms(old) != terms(new)
                    }),
                })
            }
        }
    }
}

/// The rule as it will be, and what of it is to be judged.
struct Subject<'a> {
    rule: &'a NodeReadinessRule,
    is_new: bool,
    is_selector_judged: bool,
    may_conflict: bool,
    /// The rule that it replaces, where that is said now.
    replaces: Option<&'a str>,
    /// The rule that a dry run names, and does not replace, where it begins to do both.
    replaces_dry: Option<&'a str>,
}

fn is_dry_run(rule: &NodeReadinessRule) -> bool {
    rule.spec.dry_run.unwrap_or(false)
}

/// Does it claim its taint? A rule that only says what it would do, or that goes, does not.
fn enforces(rule: &NodeReadinessRule) -> bool {
    !is_dry_run(rule) && rule.metadata.deletion_timestamp.is_none()
}

/// The rule that this one is to replace, and may therefore stand beside.
fn replaced(rule: &NodeReadinessRule) -> Option<&str> {
    rule.spec.replaces.as_deref()
}

fn is_bootstrap(rule: &NodeReadinessRule) -> bool {
    Enforcement::parse(&rule.spec.enforcement_mode) == Some(Enforcement::BootstrapOnly)
}

fn is_any_of(rule: &NodeReadinessRule) -> bool {
    rule.spec.condition_policy.as_deref().map(Matching::parse) == Some(Some(Matching::AnyOf))
}

fn conditions(rule: &NodeReadinessRule, errors: &mut Vec<FieldError>) {
    if !is_bootstrap(rule) {
        return;
    }
    for (index, condition) in rule.spec.conditions.iter().enumerate() {
        if condition.default_status.is_some() {
            errors.push(FieldError::forbidden(
                format!("spec.conditions[{index}].defaultStatus"),
                "defaultStatus should not be used with bootstrap-only enforcementMode",
            ));
        }
    }
    if is_any_of(rule) {
        errors.push(FieldError::forbidden(
            "spec.conditionPolicy".to_owned(),
            "anyOf conditionPolicy is not supported with bootstrap-only enforcementMode",
        ));
    }
}

fn selector(rule: &NodeReadinessRule, errors: &mut Vec<FieldError>) {
    let selector = &rule.spec.node_selector;
    let field = "spec.nodeSelector".to_owned();
    if rule.selects_all() {
        errors.push(FieldError::required(
            field,
            "nodeSelector must not be empty",
        ));
    } else if let Err(error) = Selector::parse(selector) {
        let value = serde_json::to_string(selector).unwrap_or_default();
        errors.push(FieldError::invalid(
            field,
            &value,
            format!("{}: {}", error.field, error.message),
        ));
    }
}

/// What is to be said of the name of a rule that another one replaces.
fn replacement(rule: &NodeReadinessRule, name: &str, others: &[&Existing], review: &mut Review) {
    if rule.metadata.name.as_deref() == Some(name) {
        let value = serde_json::Value::from(name).to_string();
        let detail = "a rule cannot replace itself".to_owned();
        let error = FieldError::invalid("spec.replaces".to_owned(), &value, detail);
        review.errors.push(error);
    } else if !others.iter().any(|other| other.is_named(name)) {
        review.warnings.push(format!(
            "spec.replaces: there is no rule '{name}', so nothing is taken over from it"
        ));
    }
}

/// The rules that claim the same taint on a node that both select, sorted by name.
fn conflicts<'o>(
    rule: &NodeReadinessRule,
    others: impl IntoIterator<Item = &'o Existing>,
) -> Vec<FieldError> {
    let taint = &rule.spec.taint;
    let own = Selector::parse(&rule.spec.node_selector).ok();
    let collides = |existing: &Existing| {
        let other = existing.rule();
        let name = |rule: &NodeReadinessRule| rule.metadata.name.clone().unwrap_or_default();
        let is_pair = |one: &NodeReadinessRule, other: &NodeReadinessRule| {
            replaced(one).is_some_and(|replaced| replaced == name(other))
        };
        enforces(other)
            && other.spec.taint.key == taint.key
            && other.spec.taint.effect == taint.effect
            && name(other) != name(rule)
            && !is_pair(rule, other)
            && !is_pair(other, rule)
            // Nobody can say what a selector that cannot be read was meant to select.
            && (own.as_ref().zip(existing.selector())).is_none_or(|(own, other)| own.overlaps(other))
    };
    let mut names: Vec<String> = (others.into_iter())
        .filter(|other| collides(other))
        .filter_map(|other| other.rule().metadata.name.clone())
        .collect();
    names.sort_unstable();
    let value = serde_json::Value::from(taint.key.as_str()).to_string();
    let error = |name: &String| {
        let (key, effect) = (&taint.key, &taint.effect);
        let detail = format!(
            "conflicts with existing rule '{name}' - same taint key '{key}' and effect '{effect}' with overlapping node selectors"
        );
        FieldError::invalid(CONFLICT.to_owned(), &value, detail)
    };
    names.iter().map(error).collect()
}

fn warnings(rule: &NodeReadinessRule) -> Vec<String> {
    let mut warnings = Vec::new();
    if rule.spec.taint.effect == "NoExecute" {
        let text = if is_bootstrap(rule) {
            "NOTE: NoExecute will evict existing pods without tolerations. Ensure critical system pods have appropriate tolerations"
        } else {
            "CAUTION: NoExecute with continuous mode evicts pods when conditions fail, risking workload disruption. Consider NoSchedule or bootstrap-only"
        };
        warnings.push(text.to_owned());
    }
    if is_any_of(rule) {
        let satisfied = rule
            .spec
            .conditions
            .iter()
            .enumerate()
            .filter(|(_, condition)| {
                condition.default_status.as_ref() == Some(&condition.required_status)
            });
        warnings.extend(satisfied.map(|(index, condition)| {
            format!(
                "spec.conditions[{index}].defaultStatus: with anyOf it releases every node that does not have {} yet",
                condition.r#type
            )
        }));
    }
    warnings
}

#[cfg(test)]
mod tests;
