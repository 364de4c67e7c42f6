//! The rules that exist, as the deciding code wants them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::NodeReadinessRule;
use engine::Policy;
use kube::{Resource, ResourceExt};

use crate::decide::{ActiveRule, Seen};

/// All rules at one moment.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// Those that can be used.
    pub(crate) active: Vec<ActiveRule>,
    /// UIDs of those that exist but cannot be used (yet): what they own stays as it is.
    pub(crate) stalled: BTreeSet<String>,
}

impl RuleSet {
    /// From the stored objects. What is known of rules that were there before is kept.
    pub(crate) fn build(&self, objects: &[Arc<NodeReadinessRule>], policy: &Policy) -> Self {
        let known: HashMap<&str, &ActiveRule> = self
            .active
            .iter()
            .map(|active| (active.rule.uid.as_str(), active))
            .collect();
        let mut set = Self::default();
        for object in objects {
            let uid = object.uid().unwrap_or_default();
            let terminating = object.as_ref().meta().deletion_timestamp.is_some();
            if !has_finalizer(object) {
                // Without it nothing is done; a rule that lost it while it goes is gone.
                if !terminating {
                    set.stalled.insert(uid);
                }
                continue;
            }
            let (Ok(rule), Ok(selector)) = (object.to_rule(), object.selector()) else {
                set.stalled.insert(uid);
                continue;
            };
            let before = known.get(uid.as_str());
            set.active.push(ActiveRule {
                rule: match before {
                    Some(before) if *before.rule == rule => Arc::clone(&before.rule),
                    _ => Arc::new(rule),
                },
                selector,
                policy: policy.clone(),
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
            && self.active.len() == other.active.len()
            && self
                .active
                .iter()
                .zip(&other.active)
                .all(|(one, two)| one.rule == two.rule)
    }
}

/// Has the rule our finalizer?
pub(crate) fn has_finalizer(object: &NodeReadinessRule) -> bool {
    object
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == api::rule::FINALIZER)
}
