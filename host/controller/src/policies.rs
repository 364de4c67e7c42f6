//! The policies that rules can name.

use std::collections::BTreeMap;

use engine::Policy;
use planner::rule::{DEFAULT_POLICY, Rule};

/// By name. One of them is [`DEFAULT_POLICY`].
#[derive(Debug, Clone)]
pub struct Policies {
    default: Policy,
    others: BTreeMap<String, Policy>,
}

/// A rule names a policy that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy {name:?}")]
pub struct NoPolicy {
    /// What stands in `spec.policy.name`.
    pub name: String,
}

impl Policies {
    /// That of rules that name none, alone.
    pub fn new(default: Policy) -> Self {
        Self {
            default,
            others: BTreeMap::new(),
        }
    }

    /// With one more, or with another one by that name.
    #[must_use]
    pub fn with(mut self, name: String, policy: Policy) -> Self {
        if name == DEFAULT_POLICY {
            self.default = policy;
        } else {
            self.others.insert(name, policy);
        }
        self
    }

    /// That of rules that name none.
    pub fn default_policy(&self) -> &Policy {
        &self.default
    }

    /// The one that decides for a rule.
    ///
    /// # Errors
    ///
    /// The rule names one that is not there.
    pub fn of(&self, rule: &Rule) -> Result<&Policy, NoPolicy> {
        if rule.policy == DEFAULT_POLICY {
            return Ok(&self.default);
        }
        self.others.get(&rule.policy).ok_or_else(|| NoPolicy {
            name: rule.policy.clone(),
        })
    }
}
