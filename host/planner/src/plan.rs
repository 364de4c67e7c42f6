//! From verdicts to one plan for one node.
//!
//! Every rule that exists is put beside the node. For each taint identity (key and effect) at
//! most one rule decides: the oldest of those that have a claim. What a rule owned and no longer
//! holds is released. Everything else on the node belongs to others and is never in a plan.

mod draft;
mod precedence;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::facts::Node;
use crate::ownership::Record;
use crate::rule::{Rule, TaintId, TaintPrefixes};
use crate::verdict::{Failure, Verdict};
use draft::Draft;

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The node as it was read.
    pub node: &'a Node,
    /// Goes into the record of a taint that is added.
    pub now: Timestamp,
    /// The rules that matter here, in any order: every rule that selects the node, is being
    /// deleted, or may own a taint of the node. Others may be there too; they change nothing.
    pub rules: &'a [Candidate<'a>],
    /// UIDs of further rules that exist, or may: what they own stays as it is.
    pub stalled: &'a BTreeSet<String>,
    /// UIDs of rules that are known to be gone: what they recorded as completed goes.
    pub gone: &'a BTreeSet<String>,
    /// What the keys of rules' taints may begin with.
    pub prefixes: &'a TaintPrefixes,
    /// Is every rule frozen? For people: rules are suspended then.
    pub frozen: bool,
    /// Plan for this taint alone, where the whole plan was refused; none: for all.
    pub only: Option<&'a TaintId>,
}

/// A rule beside a node.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Does its selector match the node?
    pub selected: bool,
    /// Is it one that cannot be used as it is written? Then it has no claim, and what it did stays.
    pub stalled: bool,
    /// What its policy said; none if it was not asked, as where the rule does not select the node.
    pub verdict: Option<&'a Verdict>,
    /// Does the rule's status say that it held this node? Counts as ownership where the node has
    /// no record: the Go controller leaves nothing else behind.
    pub seen_present: bool,
    /// The rule of the name in `spec.replaces`, if there is one.
    pub replaces: Option<&'a Rule>,
    /// Is there room in the rule's budget for one more node? True where it has none.
    pub within_budget: bool,
}

/// What shall change on a node. Sorted, and empty where nothing shall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Taints to append.
    pub add: Vec<NewTaint>,
    /// Taints to remove, whatever their value.
    pub remove: Vec<TaintId>,
    /// Annotations to set, or (none) to remove.
    pub annotations: BTreeMap<String, Option<String>>,
}

impl Changes {
    /// Does nothing change?
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && self.annotations.is_empty()
    }
}

/// A taint to add.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewTaint {
    /// Key and effect.
    pub id: TaintId,
    /// Value; none if the rule gives none.
    pub value: Option<String>,
}

/// What shall change on a node, and what that means for each rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// For the node.
    pub changes: Changes,
    /// One for each rule of the input, in its order.
    pub outcomes: Vec<Outcome>,
    /// Records of rules that are gone, whose taints the plan removes.
    pub orphans: Vec<Record>,
    /// When time alone may change a verdict.
    pub ask_again_at: Option<Timestamp>,
}

/// What a plan means for one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where the rule stands with the node.
    pub state: State,
    /// What the plan does to the rule's taint.
    pub action: Action,
    /// Is the rule's taint (key and effect) on the node now?
    pub before: bool,
    /// … and after the plan?
    pub after: bool,
    /// Does the rule become the owner of a taint that was there already?
    pub adopted: bool,
    /// Does the plan record the rule's bootstrap as complete?
    pub completes: bool,
    /// Since when the rule owns its taint here, after the plan; none if it does not.
    pub owned_since: Option<Timestamp>,
    /// … and does it count against the rule's budget?
    pub counts: bool,
    /// CamelCase word.
    pub reason: String,
    /// Sentence.
    pub message: String,
}

/// What a plan does for a rule on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Action {
    /// Puts the taint on the node.
    AddTaint,
    /// Takes it off, and completes the bootstrap where [`Outcome::completes`] says so.
    RemoveTaint,
    /// Only records that the bootstrap is complete.
    CompleteBootstrap,
    /// Nothing.
    None,
}

/// Where a rule stands with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its selector does not match the node.
    NotSelected,
    /// It decides about its taint here.
    Decides,
    /// Its bootstrap was completed here before: it never adds its taint again.
    Completed,
    /// It would decide, but it is suspended, or every rule is frozen.
    Suspended,
    /// It cannot be used as it is written: what it owns stays.
    Stalled,
    /// It would hold the node, but it holds as many as its budget allows.
    OverBudget,
    /// An annotation lets the node go from it.
    BrokenGlass {
        /// Until then.
        until: Timestamp,
    },
    /// Another rule decides about the same taint here.
    Conflict {
        /// Name of the rule that decides.
        winner: String,
    },
    /// It changes nothing.
    DryRun {
        /// What it would do if it were enforced.
        would: Action,
        /// Does the node lack one of its conditions? Not asked where its bootstrap is complete.
        risky: bool,
    },
    /// It is being deleted.
    Terminating,
    /// Its policy gave no decision: the node stays as it is.
    Failed(Failure),
}

/// [`Failure::kind`] where there is no verdict, and the rule selects the node.
const NOT_EVALUATED: &str = "NotEvaluated";

impl State {
    /// Is it not known yet what the policy says? Then nothing is either, beyond that the node stays as it is.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.kind == NOT_EVALUATED)
    }
}

/// Plans for a node. Pure: the same input gives the same plan, whatever the order of the rules.
pub fn plan(input: &Input<'_>) -> Plan {
    Draft::new(input).plan()
}
