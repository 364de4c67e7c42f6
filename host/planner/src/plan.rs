//! From verdicts to one plan for one node.
//!
//! Every rule that exists is put beside the node. For each taint identity (key and effect) at
//! most one rule decides: the oldest of those that have a claim. What a rule owned and no longer
//! holds is released. Everything else on the node belongs to others and is never in a plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::bootstrap;
use crate::facts::Node;
use crate::message;
use crate::ownership::{self, Record};
use crate::question::Completion;
use crate::rule::{Enforcement, Rule, TaintId};
use crate::status::lacks_condition;
use crate::verdict::{Failure, TaintAction, Verdict};

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The node as it was read.
    pub node: &'a Node,
    /// Goes into the record of a taint that is added.
    pub now: Timestamp,
    /// The rules that matter here, in any order: every usable rule that selects the node, is being
    /// deleted, or may own a taint of the node. Others may be there too; they change nothing.
    pub rules: &'a [Candidate<'a>],
    /// UIDs of rules that exist but cannot be used: what they own stays as it is.
    pub stalled: &'a BTreeSet<String>,
}

/// A rule beside a node.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Does its selector match the node?
    pub selected: bool,
    /// What its policy said; none if it was not asked, as where the rule does not select the node.
    pub verdict: Option<&'a Verdict>,
    /// Does the rule's status say that it held this node? Counts as ownership where the node has
    /// no record: the Go controller leaves nothing else behind.
    pub seen_present: bool,
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

/// Plans for a node. Pure: the same input gives the same plan, whatever the order of the rules.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut draft = Draft::new(input);
    for index in draft.passed_on.clone() {
        draft.complete(index);
    }
    for (id, index) in draft.deciders.clone() {
        draft.decide(id, index);
    }
    draft.release_the_rest();
    draft.finish()
}

/// The rule that decides about each taint here, by index: the oldest that has a claim; where none
/// has one, the oldest that completed its bootstrap, which may still remove the taint. A rule that
/// completes its bootstrap just now passes the taint on to the next that has a claim, in the same
/// plan: the second list. Else the taint would be off the node for a moment.
fn deciders<'a>(input: &Input<'a>) -> (BTreeMap<&'a TaintId, usize>, Vec<usize>) {
    let (mut deciders, mut passed_on) = (BTreeMap::new(), Vec::new());
    for index in by_precedence(input) {
        let rule = input.rules[index].rule;
        if !input.rules[index].selected || rule.dry_run || rule.terminating {
            continue;
        }
        match deciders.get(&rule.taint) {
            None => {
                deciders.insert(&rule.taint, index);
            }
            Some(&first) if completes(input, first) && !is_completed(input.node, rule) => {
                passed_on.push(first);
                deciders.insert(&rule.taint, index);
            }
            Some(_) => {}
        }
    }
    (deciders, passed_on)
}

/// Does the rule complete its bootstrap now? Only one with `bootstrap-only` can.
fn completes(input: &Input<'_>, index: usize) -> bool {
    let candidate = &input.rules[index];
    let decision = candidate.verdict.map(|verdict| &verdict.result);
    candidate.rule.enforcement == Enforcement::BootstrapOnly
        && !is_completed(input.node, candidate.rule)
        && matches!(decision, Some(Ok(decision)) if decision.complete_bootstrap)
}

/// What has a claim before what has none, then the older first. Creation times have a resolution
/// of one second, hence the name; a rule from a file has none and comes last.
fn by_precedence(input: &Input<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..input.rules.len()).collect();
    order.sort_by_cached_key(|&index| {
        let rule = input.rules[index].rule;
        let completed = is_completed(input.node, rule);
        (
            completed,
            rule.created.is_none(),
            rule.created,
            rule.name.clone(),
            rule.uid.clone(),
        )
    });
    order
}

fn is_completed(node: &Node, rule: &Rule) -> bool {
    rule.enforcement == Enforcement::BootstrapOnly
        && bootstrap::completion(node, rule) == Completion::ThisBoot
}

/// A plan in the making.
struct Draft<'a> {
    input: &'a Input<'a>,
    /// Who decides about which taint, and who passed it on.
    deciders: BTreeMap<&'a TaintId, usize>,
    passed_on: Vec<usize>,
    /// What the node says of ownership, and what it shall say.
    recorded: Vec<Record>,
    records: Vec<Record>,
    add: BTreeMap<TaintId, NewTaint>,
    /// Taints to remove, with the rule that does it; none for one that is gone.
    remove: BTreeMap<TaintId, Option<usize>>,
    annotations: BTreeMap<String, Option<String>>,
    adopted: BTreeSet<usize>,
    completes: BTreeSet<usize>,
}

impl<'a> Draft<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let recorded = ownership::read(input.node);
        let (deciders, passed_on) = deciders(input);
        Self {
            input,
            deciders,
            passed_on,
            records: recorded.clone(),
            recorded,
            add: BTreeMap::new(),
            remove: BTreeMap::new(),
            annotations: BTreeMap::new(),
            adopted: BTreeSet::new(),
            completes: BTreeSet::new(),
        }
    }

    /// Applies the verdict of the rule that decides about a taint.
    fn decide(&mut self, id: &TaintId, index: usize) {
        let (rule, node) = (self.input.rules[index].rule, self.input.node);
        let Some(Ok(decision)) = self.input.rules[index]
            .verdict
            .map(|verdict| &verdict.result)
        else {
            return;
        };
        let (present, completed) = (node.has_taint(id), is_completed(node, rule));
        match decision.taint {
            TaintAction::Absent => {
                self.remove(id, Some(index));
                if completes(self.input, index) {
                    self.complete(index);
                }
            }
            // A completed rule never adds its taint, nor takes over one that somebody put there.
            TaintAction::Present | TaintAction::Keep if completed => {}
            TaintAction::Present if !present => {
                let taint = NewTaint {
                    id: id.clone(),
                    value: rule.taint_value.clone(),
                };
                self.add.insert(id.clone(), taint);
                self.own(id, rule, &decision.reason);
            }
            TaintAction::Present | TaintAction::Keep => {
                if present
                    && !self
                        .records
                        .iter()
                        .any(|record| record.is_of(rule) && record.is_for(id))
                {
                    self.adopted.insert(index);
                    self.own(id, rule, &decision.reason);
                }
            }
        }
    }

    fn complete(&mut self, index: usize) {
        self.completes.insert(index);
        let (key, value) = bootstrap::annotation(self.input.rules[index].rule);
        self.annotations.insert(key, Some(value));
    }

    fn own(&mut self, id: &TaintId, rule: &Rule, reason: &str) {
        self.records.retain(|record| !record.is_for(id));
        self.records
            .push(Record::new(id, rule, self.input.now, reason));
    }

    fn remove(&mut self, id: &TaintId, by: Option<usize>) {
        if self.input.node.has_taint(id) {
            self.remove.entry(id.clone()).or_insert(by);
        }
    }

    /// Releases what rules own that no longer decide: relabelled out, being deleted, or gone.
    fn release_the_rest(&mut self) {
        let input = self.input;
        for index in by_precedence(input) {
            let candidate = &input.rules[index];
            let (rule, id) = (candidate.rule, &candidate.rule.taint);
            if rule.terminating {
                let keys = bootstrap::keys(input.node, rule);
                self.annotations
                    .extend(keys.into_iter().map(|key| (key, None)));
            }
            let owns = match self.recorded.iter().find(|record| record.is_for(id)) {
                Some(record) => record.is_of(rule),
                // It names the nodes that carry the taint, whoever put it there: only a rule that
                // holds can have been the one.
                None => candidate.seen_present && !rule.dry_run && !is_completed(input.node, rule),
            };
            // A dry run freezes what was there before it began.
            if (rule.terminating && (owns || (candidate.selected && !rule.dry_run)))
                || (owns && !candidate.selected && !rule.dry_run)
            {
                self.release(id, Some(index));
            }
        }
        for record in self.recorded.clone() {
            let exists = input
                .rules
                .iter()
                .any(|candidate| record.is_of(candidate.rule));
            if !exists && !input.stalled.contains(&record.rule_uid) {
                self.release(&record.id(), None);
            }
        }
    }

    /// Takes a taint off unless another rule has a claim on it: that one takes it over, without a
    /// gap. Until it can decide, the taint and the old record stay.
    fn release(&mut self, id: &TaintId, by: Option<usize>) {
        if !self
            .deciders
            .get(id)
            .is_some_and(|&decider| self.has_claim(decider))
        {
            self.remove(id, by);
        }
    }

    /// Does the rule that decides also hold? One whose bootstrap is complete does not.
    fn has_claim(&self, decider: usize) -> bool {
        !is_completed(self.input.node, self.input.rules[decider].rule)
    }

    fn finish(mut self) -> Plan {
        // Ownership ends when the taint is gone, whoever took it off.
        self.records.retain(|record| {
            let id = record.id();
            self.add.contains_key(&id)
                || (self.input.node.has_taint(&id) && !self.remove.contains_key(&id))
        });
        self.records.sort();
        if self.records != self.recorded {
            self.annotations.insert(
                ownership::ANNOTATION.to_owned(),
                ownership::write(&self.records),
            );
        }
        let gone = |(id, by): (&TaintId, &Option<usize>)| by.is_none().then(|| id.clone());
        let orphans: Vec<TaintId> = self.remove.iter().filter_map(gone).collect();
        let orphans = self
            .recorded
            .iter()
            .filter(|record| orphans.contains(&record.id()));
        let verdicts = self
            .input
            .rules
            .iter()
            .filter_map(|candidate| candidate.verdict);
        Plan {
            outcomes: (0..self.input.rules.len())
                .map(|index| self.outcome(index))
                .collect(),
            orphans: orphans.cloned().collect(),
            ask_again_at: verdicts.filter_map(Verdict::ask_again_at).min(),
            changes: Changes {
                add: self.add.into_values().collect(),
                remove: self.remove.into_keys().collect(),
                annotations: self.annotations,
            },
        }
    }

    fn outcome(&self, index: usize) -> Outcome {
        let candidate = &self.input.rules[index];
        let id = &candidate.rule.taint;
        let before = self.input.node.has_taint(id);
        let state = self.state(index);
        let completes = self.completes.contains(&index);
        let action = if self.add.contains_key(id) && self.deciders.get(id) == Some(&index) {
            Action::AddTaint
        } else if self.remove.get(id) == Some(&Some(index)) {
            Action::RemoveTaint
        } else if completes {
            Action::CompleteBootstrap
        } else {
            Action::None
        };
        let (reason, message) = message::explain(self.input.node, candidate, &state);
        Outcome {
            action,
            before,
            after: self.add.contains_key(id) || (before && !self.remove.contains_key(id)),
            adopted: self.adopted.contains(&index),
            completes,
            state,
            reason,
            message,
        }
    }

    fn state(&self, index: usize) -> State {
        let candidate = &self.input.rules[index];
        let rule = candidate.rule;
        if rule.terminating {
            return State::Terminating;
        }
        if !candidate.selected {
            return State::NotSelected;
        }
        let decider = self.deciders.get(&rule.taint).copied().unwrap_or(index);
        let completed = is_completed(self.input.node, rule);
        if !rule.dry_run && decider != index && !completed && !self.completes.contains(&index) {
            return State::Conflict {
                winner: self.input.rules[decider].rule.name.clone(),
            };
        }
        let failure = match candidate.verdict.map(|verdict| &verdict.result) {
            Some(Ok(decision)) if rule.dry_run => {
                let present = self.input.node.has_taint(&rule.taint);
                return State::DryRun {
                    would: would(decision.taint, present, completed),
                    risky: !completed && lacks_condition(self.input.node, rule),
                };
            }
            Some(Ok(_)) => None,
            Some(Err(failure)) => Some(failure.clone()),
            None => Some(Failure {
                kind: "NotEvaluated",
                message: "the policy was not asked".to_owned(),
            }),
        };
        match failure {
            Some(failure) => State::Failed(failure),
            None if completed => State::Completed,
            None => State::Decides,
        }
    }
}

/// What an enforced rule would do. Nodes whose bootstrap is complete count as untouched.
fn would(taint: TaintAction, present: bool, completed: bool) -> Action {
    match (taint, present) {
        _ if completed => Action::None,
        (TaintAction::Present, false) => Action::AddTaint,
        (TaintAction::Absent, true) => Action::RemoveTaint,
        _ => Action::None,
    }
}
