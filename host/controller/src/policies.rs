//! The policies that rules can name: the one that is built in, and those of `ReadinessPolicy` objects.
//!
//! What an object wants is brought (`bring`), loaded and compared with what decides now (`admit`), and told
//! in its status (`status`, `tell`); `work` does that for all of them. Rules see the result as one
//! [`Policies`], which is exchanged as a whole.

mod admit;
mod aside;
mod bring;
mod facts;
mod guard;
mod kept;
mod known;
mod of_rule;
mod order;
mod status;
mod tell;
mod trouble;
mod trust;
mod turns;
mod watch;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use engine::{Class, Policy};
use planner::rule::{DEFAULT_POLICY, Rule};

pub(crate) use aside::Asked;
pub(crate) use guard::Guard;
pub use of_rule::{OnFailure, RulePolicy};
pub(crate) use status::MOST_VERSION;
pub(crate) use watch::{First, LOOK_AGAIN, watch};
pub(crate) use work::Keeper;

/// By name. One of them is [`DEFAULT_POLICY`].
#[derive(Debug, Clone)]
pub struct Policies {
    default: RulePolicy,
    others: BTreeMap<String, Result<RulePolicy, String>>,
}

/// A rule names a policy that is not there, or cannot decide yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPolicy {
    /// What stands in `spec.policy.name`.
    pub name: String,
    /// Why it does not decide; none: there is no such policy.
    pub why: Option<String>,
}

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "policy {:?} is not ready: {why}", self.name),
            None => write!(f, "there is no policy {:?}", self.name),
        }
    }
}

impl std::error::Error for NoPolicy {}

impl Policies {
    /// That of rules that name none, alone.
    pub fn new(default: Policy) -> Self {
        Self {
            default: default.into(),
            others: BTreeMap::new(),
        }
    }

    /// With one more, or with another one by that name.
    #[must_use]
    pub fn with(mut self, name: String, policy: impl Into<RulePolicy>) -> Self {
        let policy = policy.into();
        if name == DEFAULT_POLICY {
            self.default = policy;
        } else {
            self.others.insert(name, Ok(policy));
        }
        self
    }

    /// With one that exists and does not decide, because of this.
    #[must_use]
    pub(crate) fn with_unready(mut self, name: String, why: String) -> Self {
        self.others.insert(name, Err(why));
        self
    }

    /// Without the one of this name.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.others.remove(name);
        self
    }

    /// That of rules that name none.
    pub fn default_policy(&self) -> &RulePolicy {
        &self.default
    }

    /// Is there one of this name that may take long to answer?
    pub(crate) fn is_slow(&self, name: &str) -> bool {
        let policy = self
            .others
            .get(name)
            .and_then(|policy| policy.as_ref().ok());
        policy.is_some_and(|policy| policy.class() == Class::Large)
    }

    /// Those that decide and are not built in: is each left alone for a while?
    pub(crate) fn paused(&self) -> impl Iterator<Item = (&str, bool)> {
        let ready = self.others.iter().filter_map(|(name, policy)| {
            let policy = policy.as_ref().ok()?;
            Some((name.as_str(), policy))
        });
        ready.map(|(name, policy)| {
            let guard = policy.guard();
            (name, guard.is_some_and(|guard| guard.paused().is_some()))
        })
    }

    /// The names of those that are not built in, ready or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.others.keys()
    }

    /// The one that decides for a rule.
    ///
    /// # Errors
    ///
    /// The rule names one that is not there, or is not ready.
    pub fn of(&self, rule: &Rule) -> Result<&RulePolicy, NoPolicy> {
        if rule.policy == DEFAULT_POLICY {
            return Ok(&self.default);
        }
        let missing = |why| NoPolicy {
            name: rule.policy.clone(),
            why,
        };
        match self.others.get(&rule.policy) {
            Some(Ok(policy)) => Ok(policy),
            Some(Err(why)) => Err(missing(Some(why.clone()))),
            None => Err(missing(None)),
        }
    }
}

/// The policies now. Whoever takes them has those of one moment.
#[derive(Debug)]
pub(crate) struct Live(RwLock<Arc<Policies>>);

impl Live {
    pub(crate) fn new(policies: Policies) -> Self {
        Self(RwLock::new(Arc::new(policies)))
    }

    pub(crate) fn get(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Exchanges them.
    fn change(&self, change: impl FnOnce(Policies) -> Policies) {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(change(Policies::clone(&now)));
    }
}
