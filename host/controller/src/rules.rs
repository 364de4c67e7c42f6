//! The rules that exist, as the deciding code wants them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::NodeReadinessRule;
use engine::Policy;
use kube::{Resource, ResourceExt};
use planner::rule::{Rule, TaintPrefixes};
use planner::verdict::Failure;

use crate::decide::{ActiveRule, Seen, field};
use crate::freeze::Frozen;
use crate::policies::{NoPolicy, Policies};

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Against {
    /// For a program: is it the rule that is to be mended, or its policy?
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl Against {
    /// The rule itself is to be mended.
    pub(crate) fn invalid(message: String) -> Self {
        Self {
            reason: "InvalidRule",
            message,
        }
    }

    /// The policy that the rule names does not decide.
    fn no_policy(missing: &NoPolicy) -> Self {
        let (reason, advice) = match missing.why {
            Some(_) => ("PolicyNotReady", ""),
            None => (
                "PolicyNotFound",
                ": apply a ReadinessPolicy of that name, or name another",
            ),
        };
        Self {
            reason,
            message: format!("spec.policy.name: {missing}{advice}"),
        }
    }

    /// The policy was asked about the rule, and has said nothing yet.
    fn no_answer(rule: &Rule) -> Self {
        Self {
            reason: "PolicyNotReady",
            message: format!(
                "spec.policy.name: policy {:?} has not answered yet whether it accepts the rule",
                rule.policy
            ),
        }
    }

    /// The policy could not say whether it accepts the rule, because of this.
    pub(crate) fn policy_failed(message: String) -> Self {
        Self {
            reason: "PolicyFailed",
            message,
        }
    }
}

/// All rules at one moment.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// Those that exist, by name; also what can be read of those that cannot be used.
    pub(crate) active: Vec<ActiveRule>,
    /// UIDs of those that exist but cannot be used: what they own stays as it is.
    pub(crate) stalled: BTreeSet<String>,
    /// The objects that those were made of that can be used, by UID.
    sources: HashMap<String, Arc<NodeReadinessRule>>,
    /// UIDs of those that only claim their taints so far: they have no finalizer yet.
    pub(crate) beginning: BTreeSet<String>,
    /// What their policies have against some of these.
    pub(crate) refused: BTreeMap<String, Against>,
    /// Why every rule is frozen; none if they are not.
    pub(crate) frozen: Option<Frozen>,
    /// What the keys of taints may begin with, beside these rules.
    pub(crate) prefixes: TaintPrefixes,
}

impl RuleSet {
    /// From the stored objects, and whether every rule is frozen. What is known of rules that were there
    /// before is kept.
    pub(crate) fn build(
        &self,
        objects: &[Arc<NodeReadinessRule>],
        policies: &Policies,
        prefixes: &TaintPrefixes,
        frozen: Option<Frozen>,
    ) -> Self {
        let known: HashMap<&str, &ActiveRule> = self
            .active
            .iter()
            .map(|active| (active.rule.uid.as_str(), active))
            .collect();
        let mut set = Self {
            frozen,
            ..Self::default()
        };
        let as_frozen = set.frozen.is_some() == self.frozen.is_some();
        for object in objects {
            let uid = object.uid().unwrap_or_default();
            let terminating = object.as_ref().meta().deletion_timestamp.is_some();
            let finalized = has_finalizer(object);
            if terminating && !finalized {
                continue; // gone
            }
            // With many rules almost every change is one of another rule, or of a status.
            if let (Some(source), Some(active), true) =
                (self.sources.get(&uid), known.get(uid.as_str()), as_frozen)
                && is_same_rule(source, object)
                && policies
                    .of(&active.rule)
                    .is_ok_and(|policy| policy.is(&active.policy))
            {
                if !finalized {
                    set.beginning.insert(uid.clone());
                }
                set.active.push(ActiveRule::clone(active));
                set.sources.insert(uid, Arc::clone(object));
                continue;
            }
            let usable = (object.to_rule(prefixes), object.selector());
            let (mut rule, mut selector, mut stalled) = match usable {
                (Ok(rule), Ok(selector)) => (rule, selector, false),
                // It decides nothing any more: enough of it is known to take back what it did.
                _ if terminating => (object.to_last_rule(), api::Selector::nothing(), false),
                (_, selector) => {
                    let selector = selector.unwrap_or_else(|_| api::Selector::nothing());
                    (object.to_last_rule(), selector, true)
                }
            };
            let policy = match policies.of(&rule) {
                Ok(policy) => policy,
                // Nobody asks it.
                Err(missing) => {
                    if terminating {
                        (rule, selector) = (object.to_last_rule(), api::Selector::nothing());
                    } else if !stalled {
                        set.refused
                            .insert(uid.clone(), Against::no_policy(&missing));
                        stalled = true;
                    }
                    policies.default_policy()
                }
            };
            // Before it has its finalizer it does nothing. Its claims count, or a younger rule would
            // hold a node for the moment that this one needs.
            rule.suspended |= set.frozen.is_some() || !finalized;
            if !finalized {
                set.beginning.insert(uid.clone());
            }
            let before = known.get(uid.as_str());
            let rule = Arc::new(rule);
            let accepted = before.is_some_and(|before| {
                before.rule == rule && !before.stalled && before.policy.is(policy)
            });
            let against = if accepted || stalled || terminating {
                None
            } else {
                match policy.accepts(&rule) {
                    Some(accepted) => accepted.err(),
                    None => Some(Against::no_answer(&rule)),
                }
            };
            if let Some(why) = against {
                set.refused.insert(uid.clone(), why);
                stalled = true;
            }
            let known = before.filter(|before| {
                before.rule == rule && before.stalled == stalled && before.policy.is(policy)
            });
            let memo = known.map_or_else(Arc::default, |known| Arc::clone(&known.memo));
            let flaps = known.map_or_else(Arc::default, |known| Arc::clone(&known.flaps));
            let rule = known.map_or(rule, |known| Arc::clone(&known.rule));
            // One that is Stalled is looked at anew each time.
            if stalled {
                set.stalled.insert(uid);
            } else {
                set.sources.insert(uid, Arc::clone(object));
            }
            set.active.push(ActiveRule {
                rule,
                selector: Arc::new(selector),
                policy: policy.clone(),
                stalled,
                memo,
                flaps,
                seen_present: match before {
                    Some(before) => Arc::clone(&before.seen_present),
                    None => Arc::new(Seen::of(object)),
                },
            });
        }
        set.active.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        set.prefixes = prefixes.beside(set.active.iter().map(|active| &*active.rule));
        set
    }

    /// Would the two decide alike? A rule's selector cannot change while its UID stays.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        // One that begins is noted on no node; where it is suspended, nothing else of it changes.
        (&self.stalled, &self.beginning) == (&other.stalled, &other.beginning)
            && is_same_freeze(self.frozen.as_ref(), other.frozen.as_ref())
            && self.active.len() == other.active.len()
            && self
                .active
                .iter()
                .zip(&other.active)
                .all(|(one, two)| one.rule == two.rule && one.policy.is(&two.policy))
    }
}

/// Do two say the same to whoever reads it?
fn is_same_freeze(one: Option<&Frozen>, other: Option<&Frozen>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.says(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// That a policy could not say whether it accepts a rule.
pub(crate) fn failed_check(rule: &Rule, failure: &Failure) -> String {
    let (name, Failure { kind, message, .. }) = (&rule.policy, failure);
    format!("policy {name:?} failed when it checked the rule ({kind}): {message}")
}

/// Has the policy nothing against this rule?
pub(crate) fn accepts(policy: &Policy, rule: &Arc<Rule>) -> Result<(), Against> {
    let failed = |failure| Against::policy_failed(failed_check(rule, &failure));
    let problems = policy.check(rule).map_err(failed)?;
    let sentences = problems
        .iter()
        .map(|problem| format!("{}: {}", field(&problem.path), problem.message));
    let sentences: Vec<_> = sentences.collect();
    if sentences.is_empty() {
        Ok(())
    } else {
        Err(Against::invalid(sentences.join("; ")))
    }
}

/// Does nothing differ between two versions of one rule from which an [`ActiveRule`] is made?
fn is_same_rule(one: &Arc<NodeReadinessRule>, other: &Arc<NodeReadinessRule>) -> bool {
    let goes = |rule: &NodeReadinessRule| rule.metadata.deletion_timestamp.is_some();
    Arc::ptr_eq(one, other)
        || one.spec == other.spec
            && goes(one) == goes(other)
            && has_finalizer(one) == has_finalizer(other)
}

/// Has the rule our finalizer?
pub(crate) fn has_finalizer(object: &NodeReadinessRule) -> bool {
    object
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == api::rule::FINALIZER)
}

#[cfg(test)]
mod tests;
