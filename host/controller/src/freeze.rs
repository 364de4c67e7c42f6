//! The switch that freezes every rule: an annotation on any one of them.
//!
//! What is frozen is the cluster and not the rule that carries the annotation. Whoever takes it off a
//! rule releases; whoever deletes that rule has something else in mind, and another rule carries it on.
//! The finalizer of the one that goes waits for that, so nothing is lost while no host is there.

use std::sync::Arc;

use api::NodeReadinessRule;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::rules::has_finalizer;

/// While any rule carries this annotation, every rule is frozen as if it were suspended. Its value
/// says why, for people; one that says no freezes nothing.
pub(crate) const FREEZE: &str = "readiness.node.x-k8s.io/freeze-all";

/// Every rule is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// Name and UID of the rule that carries the annotation, or is about to.
    pub(crate) rule: String,
    uid: String,
    /// The value of the annotation.
    pub(crate) why: String,
    /// Does it stand in the cluster?
    pub(crate) written: bool,
    /// The rule whose place this one takes, where that one goes or is gone.
    pub(crate) heir_of: Option<Predecessor>,
}

/// A rule that cannot carry the annotation any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pub(crate) rule: String,
    uid: String,
    /// Did it ever, in the cluster?
    carried: bool,
}

impl Predecessor {
    fn by(rule: &NodeReadinessRule, carried: bool) -> Self {
        Self {
            rule: rule.name_any(),
            uid: rule.uid().unwrap_or_default(),
            carried,
        }
    }
}

/// Would a host with these rules be frozen?
pub fn is_frozen<'a>(rules: impl Iterator<Item = &'a NodeReadinessRule> + Clone) -> bool {
    rules.clone().any(|rule| value(rule).is_some()) && rules.clone().any(lives)
}

/// Values by which somebody says that nothing is to be frozen, in any case of letters. An empty one is none of
/// them: in an emergency nobody has to give a reason.
const NO: [&str; 6] = ["false", "f", "no", "n", "off", "0"];

/// Why a rule freezes every rule; none if it does not.
fn value(rule: &NodeReadinessRule) -> Option<&str> {
    let value = rule.annotations().get(FREEZE)?;
    let says_no = |no: &&str| value.trim().eq_ignore_ascii_case(no);
    (!NO.iter().any(says_no)).then_some(value)
}

/// Does a rule carry the annotation?
pub(crate) fn carries(rule: &NodeReadinessRule) -> bool {
    value(rule).is_some()
}

fn lives(rule: &NodeReadinessRule) -> bool {
    rule.meta().deletion_timestamp.is_none()
}

impl Frozen {
    /// By the alarm: a rule is to say so.
    pub(crate) fn alarm(rule: &planner::rule::Rule, why: String) -> Self {
        Self {
            rule: rule.name.clone(),
            uid: rule.uid.clone(),
            why,
            written: false,
            heir_of: None,
        }
    }

    /// From the rules as they are, and from what was so before.
    pub(crate) fn find(rules: &[Arc<NodeReadinessRule>], before: Option<&Self>) -> Option<Self> {
        let living = || rules.iter().filter(|rule| lives(rule));
        let carrier = living().filter(|rule| carries(rule));
        if let Some(rule) = carrier.min_by_key(|rule| rule.name_any()) {
            return Some(Self {
                written: true,
                heir_of: None,
                ..Self::by(rule, value(rule)?)
            });
        }
        let with_uid = |uid: &str| rules.iter().find(|rule| rule.uid().as_deref() == Some(uid));
        // One that goes, as the cluster shows it; or one that went at once, as we remember it.
        let mut going = rules.iter().filter(|rule| !lives(rule) && carries(rule));
        let shown = match going.next() {
            Some(rule) => Some((Predecessor::by(rule, true), value(rule)?.to_owned())),
            None => None,
        };
        let (heir_of, why) = match before {
            None => shown?,
            Some(before) => match with_uid(&before.uid) {
                // Not written yet. Whoever takes it off the rule that goes releases all the same.
                Some(rule) if lives(rule) && !before.written => {
                    let gone = before.heir_of.as_ref().filter(|gone| gone.carried);
                    let gone = gone.and_then(|gone| with_uid(&gone.uid));
                    let released = gone.is_some_and(|rule| !carries(rule));
                    return (!released).then(|| before.clone());
                }
                // It was there, and somebody took it off.
                Some(rule) if before.written && !carries(rule) => return None,
                _ => shown.unwrap_or_else(|| {
                    let itself = || Predecessor {
                        rule: before.rule.clone(),
                        uid: before.uid.clone(),
                        carried: before.written,
                    };
                    let heir_of = before.heir_of.clone().unwrap_or_else(itself);
                    (heir_of, before.why.clone())
                }),
            },
        };
        // One that does nothing before it has its finalizer may wait for that for long.
        let heir = living().min_by_key(|rule| {
            let created = rule.meta().creation_timestamp.as_ref().map(|time| time.0);
            (!has_finalizer(rule), created, rule.name_any())
        })?;
        Some(Self {
            written: false,
            heir_of: Some(heir_of),
            ..Self::by(heir, &why)
        })
    }

    fn by(rule: &NodeReadinessRule, why: &str) -> Self {
        Self {
            rule: rule.name_any(),
            uid: rule.uid().unwrap_or_default(),
            why: why.to_owned(),
            written: false,
            heir_of: None,
        }
    }

    /// Is it this rule that carries it, or is to?
    pub(crate) fn is_of(&self, rule: &NodeReadinessRule) -> bool {
        rule.uid().as_deref() == Some(&self.uid)
    }

    /// Is it the rule with this UID that carries it, or is to?
    pub(crate) fn is_by(&self, uid: &str) -> bool {
        self.uid == uid
    }

    /// Does it say the same to whoever reads it?
    pub(crate) fn says(&self, other: &Self) -> bool {
        (&self.rule, &self.why) == (&other.rule, &other.why)
    }
}

/// A line in the log for each freeze and each thaw, and for who carries it on.
pub(crate) fn log(before: Option<&Frozen>, now: Option<&Frozen>, rules: usize) {
    const TAKE_IT_OFF: &str = "every rule is frozen: no taint is added or removed until the annotation is taken off the rule by hand";
    match (before, now) {
        (None, Some(frozen)) if !frozen.written && frozen.heir_of.is_none() => error!(
            rule = frozen.rule,
            why = frozen.why,
            annotation = FREEZE,
            "{TAKE_IT_OFF}"
        ),
        (None, Some(Frozen { rule, why, .. })) => {
            warn!(rule, why, annotation = FREEZE, "{TAKE_IT_OFF}")
        }
        (Some(before), Some(Frozen { rule, why, .. })) if before.rule != *rule => warn!(
            rule,
            why,
            before = before.rule,
            "every rule stays frozen, by annotation {FREEZE} of another rule"
        ),
        (Some(before), None) if rules == 0 => warn!(
            rule = before.rule,
            why = before.why,
            "no rule is left to carry annotation {FREEZE}: rules that are created from now on are not frozen"
        ),
        (Some(before), None) => info!(
            rule = before.rule,
            why = before.why,
            "no rule is frozen any more: annotation {FREEZE} was taken off the rule by hand"
        ),
        _ => {}
    }
}

/// The changes that put the annotation on a rule, and nothing else.
pub(crate) fn put(rule: &NodeReadinessRule, why: &str) -> Value {
    let uid = json!({ "op": "test", "path": "/metadata/uid", "value": rule.uid() });
    match &rule.meta().annotations {
        Some(annotations) if !annotations.is_empty() => {
            json!([uid, { "op": "add", "path": pointer(), "value": why }])
        }
        none => json!([
            uid,
            { "op": "test", "path": "/metadata/annotations", "value": none },
            { "op": "add", "path": "/metadata/annotations", "value": { FREEZE: why } },
        ]),
    }
}

/// The changes that take it off.
pub(crate) fn take_off(rule: &NodeReadinessRule) -> Value {
    json!([
        { "op": "test", "path": "/metadata/uid", "value": rule.uid() },
        { "op": "test", "path": pointer(), "value": value(rule) },
        { "op": "remove", "path": pointer() },
    ])
}

fn pointer() -> String {
    format!("/metadata/annotations/{}", FREEZE.replace('/', "~1"))
}

#[cfg(test)]
mod tests;
