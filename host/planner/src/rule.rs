//! A rule, as far as a decision and a plan depend on it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ownership::Record;

/// The policy of rules that name none. It is built in.
pub const DEFAULT_POLICY: &str = "default";

/// What the key of a rule's taint begins with.
pub const TAINT_PREFIX: &str = "readiness.k8s.io/";

/// What the keys of rules' taints may begin with: [`TAINT_PREFIX`], and what the operator added. Nothing else on
/// a node is ever touched, but what a rule that exists put there when the operator still said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaintPrefixes {
    prefixes: Vec<String>,
    /// UID and taint of rules whose taints do not begin so.
    others: BTreeSet<(String, TaintId)>,
}

impl TaintPrefixes {
    /// With further ones, each ending in `/`.
    pub fn with(further: impl IntoIterator<Item = String>) -> Self {
        let mut all = vec![TAINT_PREFIX.to_owned()];
        all.extend(further);
        all.dedup();
        Self {
            prefixes: all,
            others: BTreeSet::new(),
        }
    }

    /// The same where these rules exist, or are being deleted. One whose taint does not begin with any of them
    /// adds it nowhere; but a node's record that such a rule put its taint there is believed.
    #[must_use]
    pub fn beside<'a>(&self, rules: impl IntoIterator<Item = &'a Rule>) -> Self {
        let rules = rules.into_iter();
        let others = rules.filter(|rule| !rule.uid.is_empty() && !self.allow(&rule.taint.key));
        Self {
            prefixes: self.prefixes.clone(),
            others: others
                .map(|rule| (rule.uid.clone(), rule.taint.clone()))
                .collect(),
        }
    }

    /// Is what a record says believed: can a rule have this taint, or has the one that it names?
    pub fn vouch_for(&self, record: &Record) -> bool {
        self.allow(&record.key) || {
            let named = (record.rule_uid.clone(), record.id());
            self.others.contains(&named)
        }
    }

    /// Does a key begin with one of them?
    pub fn allow(&self, key: &str) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()))
    }

    /// All of them, ours first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(String::as_str)
    }
}

impl Default for TaintPrefixes {
    fn default() -> Self {
        Self::with([])
    }
}

/// A `NodeReadinessRule` that passed its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty where a file does not give it.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Has the rule a deletion timestamp?
    pub terminating: bool,
    /// `spec.dryRun`.
    pub dry_run: bool,
    /// `spec.taint`: key and effect.
    pub taint: TaintId,
    /// `spec.taint.value`.
    pub taint_value: Option<String>,
    /// `spec.conditions`.
    pub requirements: Vec<Requirement>,
    /// `spec.conditionPolicy`.
    pub matching: Matching,
    /// `spec.enforcementMode`.
    pub enforcement: Enforcement,
    /// `spec.policy.name`, or [`DEFAULT_POLICY`].
    pub policy: String,
    /// Parameters of the policy as JSON; empty if there are none.
    pub parameters: String,
    /// `spec.suspend`, or every rule is frozen: what is on the nodes stays.
    pub suspended: bool,
    /// `spec.replaces`: name of the rule whose place it takes.
    pub replaces: Option<String>,
    /// `spec.budget`.
    pub budget: Option<Budget>,
}

/// How many nodes a rule may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most at once.
    pub most: Limit,
    /// Nodes that are younger do not count.
    pub exempt_younger_than: Duration,
}

/// A number of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many.
    Nodes(u32),
    /// 0 to 100 percent of the nodes that the rule selects, rounded up.
    Percent(u8),
}

impl Limit {
    /// The number, where the rule selects `matched` nodes.
    pub fn of(self, matched: usize) -> usize {
        match self {
            Self::Nodes(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Self::Percent(percent) => matched.saturating_mul(percent.into()).div_ceil(100),
        }
    }
}

/// One entry of `spec.conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// `type`.
    pub condition: String,
    /// `requiredStatus`.
    pub required: Status,
    /// `defaultStatus`.
    pub fallback: Option<Status>,
}

/// Identity of a taint: the API allows one of each key and effect on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaintId {
    /// `key`.
    pub key: String,
    /// `effect`.
    pub effect: Effect,
}

impl fmt::Display for TaintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.effect)
    }
}

/// An enum whose variants are the API's own words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// From the API's word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }

            /// The API's word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// Status of a condition.
    Status {
        /// `True`
        True = "True",
        /// `False`
        False = "False",
        /// `Unknown`
        Unknown = "Unknown",
    }
}

words! {
    /// Effect of a taint.
    Effect {
        /// New pods are not scheduled without a toleration.
        NoSchedule = "NoSchedule",
        /// New pods are scheduled elsewhere if possible.
        PreferNoSchedule = "PreferNoSchedule",
        /// As `NoSchedule`, and running pods are evicted.
        NoExecute = "NoExecute",
    }
}

words! {
    /// `spec.conditionPolicy`: how many of the requirements must be met.
    Matching {
        /// Every one.
        AllOf = "allOf",
        /// At least one.
        AnyOf = "anyOf",
    }
}

words! {
    /// `spec.enforcementMode`.
    Enforcement {
        /// Until the node was ready once.
        BootstrapOnly = "bootstrap-only",
        /// For as long as the node lives.
        Continuous = "continuous",
    }
}
