//! The rules that exist, as the deciding code wants them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::NodeReadinessRule;
use engine::Policy;
use kube::{Resource, ResourceExt};
use planner::rule::{Rule, TaintPrefixes};
use planner::verdict::Failure;

use crate::decide::{ActiveRule, Seen, field};
use crate::policies::Policies;

/// While any rule carries this annotation, every rule is frozen as if it were suspended. Its value
/// says why, for people.
pub(crate) const FREEZE: &str = "readiness.node.x-k8s.io/freeze-all";

/// All rules at one moment.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// Those that can be used.
    pub(crate) active: Vec<ActiveRule>,
    /// UIDs of those that exist but cannot be used: what they own stays as it is.
    pub(crate) stalled: BTreeSet<String>,
    /// The objects that the active ones were made of, by UID.
    sources: HashMap<String, Arc<NodeReadinessRule>>,
    /// UIDs of those that only claim their taints so far: they have no finalizer yet.
    pub(crate) beginning: BTreeSet<String>,
    /// What the policies of some of these said against them.
    pub(crate) refused: BTreeMap<String, String>,
    /// Why every rule is frozen; none if they are not.
    pub(crate) frozen: Option<Frozen>,
}

/// The switch that freezes every rule: an annotation on any one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// Name of the rule that carries it.
    pub(crate) rule: String,
    /// Its value.
    pub(crate) why: String,
}

/// Why a rule freezes every rule; none if it does not.
pub fn freeze(object: &NodeReadinessRule) -> Option<&str> {
    // One that is being deleted must not hold up its own release.
    let exists = object.meta().deletion_timestamp.is_none();
    let why = object.annotations().get(FREEZE).filter(|_| exists)?;
    Some(why)
}

impl Frozen {
    fn find(objects: &[Arc<NodeReadinessRule>]) -> Option<Self> {
        let frozen = objects.iter().filter_map(|object| {
            Some(Self {
                rule: object.name_any(),
                why: freeze(object)?.to_owned(),
            })
        });
        frozen.min_by(|one, two| one.rule.cmp(&two.rule))
    }
}

impl RuleSet {
    /// From the stored objects. What is known of rules that were there before is kept.
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
            frozen: Frozen::find(objects).or(frozen),
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
            // It decides nothing any more: enough of it is known to take back what it did.
            let last = || {
                let policy = policies.default_policy();
                (object.to_last_rule(), api::Selector::nothing(), policy)
            };
            let (mut rule, selector, policy) = match (object.to_rule(prefixes), object.selector()) {
                (Ok(rule), Ok(selector)) => match policies.of(&rule) {
                    Ok(policy) => (rule, selector, policy),
                    Err(_) if terminating => last(),
                    Err(missing) => {
                        let why = format!(
                            "spec.policy.name: {missing}; this version has only \"default\""
                        );
                        set.stalled.insert(uid.clone());
                        set.refused.insert(uid, why);
                        continue;
                    }
                },
                _ if terminating => last(),
                _ => {
                    set.stalled.insert(uid);
                    continue;
                }
            };
            // Before it has its finalizer it does nothing. Its claims count, or a younger rule would
            // hold a node for the moment that this one needs.
            rule.suspended |= set.frozen.is_some() || !finalized;
            if !finalized {
                set.beginning.insert(uid.clone());
            }
            let before = known.get(uid.as_str());
            let known = before.filter(|before| *before.rule == rule && before.policy.is(policy));
            let memo = known.map_or_else(Arc::default, |known| Arc::clone(&known.memo));
            let rule = known.map_or_else(|| Arc::new(rule), |known| Arc::clone(&known.rule));
            if known.is_none()
                && !terminating
                && let Err(why) = accepts(policy, &rule)
            {
                set.stalled.insert(uid.clone());
                set.refused.insert(uid, why);
                continue;
            }
            set.sources.insert(uid, Arc::clone(object));
            set.active.push(ActiveRule {
                rule,
                selector: Arc::new(selector),
                policy: policy.clone(),
                memo,
                seen_present: match before {
                    Some(before) => Arc::clone(&before.seen_present),
                    None => Arc::new(Seen::of(object)),
                },
            });
        }
        set.active.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        set
    }

    /// Would the two decide alike? A rule's selector cannot change while its UID stays.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.stalled == other.stalled
            && self.frozen == other.frozen
            && self.active.len() == other.active.len()
            && self
                .active
                .iter()
                .zip(&other.active)
                .all(|(one, two)| one.rule == two.rule && one.policy.is(&two.policy))
    }
}

/// That a policy could not say whether it accepts a rule.
pub(crate) fn failed_check(policy: &Policy, failure: &Failure) -> String {
    let (name, Failure { kind, message, .. }) = (policy.name(), failure);
    format!("policy {name} failed when it checked the rule ({kind}): {message}")
}

/// Has the policy nothing against this rule?
fn accepts(policy: &Policy, rule: &Arc<Rule>) -> Result<(), String> {
    let problems = (policy.check(rule)).map_err(|failure| failed_check(policy, &failure))?;
    let sentences = problems
        .iter()
        .map(|problem| format!("{}: {}", field(&problem.path), problem.message));
    let sentences: Vec<_> = sentences.collect();
    if sentences.is_empty() {
        Ok(())
    } else {
        Err(sentences.join("; "))
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
