//! A plan in the making.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::precedence::{by_precedence, deciders};
use super::{Action, Changes, Input, NOT_EVALUATED, NewTaint, Outcome, Plan, State};
use crate::ownership::{self, Record};
use crate::rule::{Enforcement, Rule, TaintId};
use crate::status::lacks_condition;
use crate::verdict::{Failure, TaintAction, Verdict};
use crate::{bootstrap, message};

/// A plan in the making.
pub(super) struct Draft<'a> {
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
    over_budget: BTreeSet<usize>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        let recorded = ownership::read(input.node, input.prefixes);
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
            over_budget: BTreeSet::new(),
        }
    }

    pub(super) fn plan(mut self) -> Plan {
        for index in self.passed_on.clone() {
            if self.is_in_plan(&self.input.rules[index].rule.taint) {
                self.complete(index);
            }
        }
        for (id, index) in self.deciders.clone() {
            if self.is_in_plan(id) {
                self.decide(id, index);
            }
        }
        self.keep_completions();
        self.release_the_rest();
        self.finish()
    }

    /// Is this taint planned for at all?
    fn is_in_plan(&self, id: &TaintId) -> bool {
        self.input.only.is_none_or(|only| only == id)
    }

    /// Takes over the completions of rules that are replaced, which go with their rule, and lets those
    /// that are there say of boots what the policies want.
    fn keep_completions(&mut self) {
        let input = self.input;
        for (index, candidate) in input.rules.iter().enumerate() {
            let (rule, replaced) = (candidate.rule, candidate.replaces);
            if rule.enforcement != Enforcement::BootstrapOnly
                || self.completes.contains(&index)
                || !self.is_in_plan(&rule.taint)
            {
                continue;
            }
            let per_boot = if input.enforces(index) && !rule.suspended {
                input.per_boot(index)
            } else if input.inherits(index) {
                None
            } else {
                continue;
            };
            let changes = bootstrap::keep(input.node, rule, replaced, per_boot, input.now);
            self.annotations.extend(changes);
        }
    }

    /// Applies the verdict of the rule that decides about a taint.
    fn decide(&mut self, id: &TaintId, index: usize) {
        let candidate = &self.input.rules[index];
        let rule = candidate.rule;
        let Some(Ok(decision)) = candidate.verdict.map(|verdict| &verdict.result) else {
            return;
        };
        if rule.suspended {
            return;
        }
        let present = self.input.node.has_taint(id);
        let completed = self.input.is_completed(index);
        match decision.taint {
            TaintAction::Absent => {
                self.remove(id, Some(index));
                if self.input.completes(index) {
                    self.complete(index);
                }
            }
            // A completed rule never adds its taint, nor takes over one that somebody put there.
            TaintAction::Present | TaintAction::Keep if completed => {}
            TaintAction::Present if !present => {
                let free = self.is_exempt(rule);
                if !candidate.within_budget && !free {
                    self.over_budget.insert(index);
                    return;
                }
                let taint = NewTaint {
                    id: id.clone(),
                    value: rule.taint_value.clone(),
                };
                self.add.insert(id.clone(), taint);
                self.own(id, rule, &decision.reason, free);
            }
            TaintAction::Present | TaintAction::Keep => {
                if present
                    && !self
                        .records
                        .iter()
                        .any(|record| record.is_of(rule) && record.is_for(id))
                {
                    // What somebody put there takes no place in a budget; what another rule held does as
                    // it did, or a budget would grow with each rule that replaces another.
                    let mut records = self.records.iter();
                    let free = records.find(|record| record.is_for(id));
                    let free = free.is_none_or(|record| record.free);
                    self.adopted.insert(index);
                    self.own(id, rule, &decision.reason, free);
                }
            }
        }
    }

    fn complete(&mut self, index: usize) {
        self.completes.insert(index);
        let per_boot = self.input.per_boot(index) == Some(true);
        let rule = self.input.rules[index].rule;
        let (key, value) = bootstrap::complete(self.input.node, rule, per_boot);
        self.annotations.insert(key, Some(value));
    }

    fn own(&mut self, id: &TaintId, rule: &Rule, reason: &str, free: bool) {
        self.records.retain(|record| !record.is_for(id));
        let record = Record::new(id, rule, self.input.now, reason);
        self.records.push(Record { free, ..record });
    }

    /// Is the node outside the rule's budget: young, or on its way out?
    fn is_exempt(&self, rule: &Rule) -> bool {
        let node = self.input.node;
        let Some(budget) = rule.budget else {
            return false;
        };
        let age = |created| self.input.now.duration_since(created);
        let young = node.created.is_some_and(|created| {
            Duration::try_from(age(created)).unwrap_or_default() < budget.exempt_younger_than
        });
        young || node.terminating
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
            if !self.is_in_plan(id) {
                continue;
            }
            if rule.terminating {
                let keys = bootstrap::keys(input.node, rule);
                self.annotations
                    .extend(keys.into_iter().map(|key| (key, None)));
            }
            let completed = input.is_completed(index);
            let owns = match self.recorded.iter().find(|record| record.is_for(id)) {
                Some(record) => record.is_of(rule),
                // It names the nodes that carry the taint, whoever put it there: only a rule that
                // holds can have been the one.
                None => candidate.seen_present && !rule.dry_run && !completed,
            };
            // A dry run freezes what was there before it began, and so does a suspension.
            let frozen = rule.dry_run || rule.suspended;
            // Held by it, or as good as that.
            let claimed = owns || (candidate.selected && !completed);
            let goes = if rule.terminating {
                owns || (claimed && !frozen)
            } else if input.excused_until(index).is_some() && !rule.dry_run {
                // The way out in an emergency leads also out of what is suspended, frozen or Stalled.
                claimed
            } else {
                owns && !candidate.selected && !candidate.stalled && !frozen
            };
            if goes {
                self.release(id, Some(index));
            }
        }
        if input.only.is_none() && !input.gone.is_empty() {
            let of_gone = bootstrap::uids(input.node).filter(|uid| input.gone.contains(*uid));
            let keys = of_gone.map(|uid| (format!("{}{uid}", bootstrap::PREFIX), None));
            self.annotations.extend(keys);
        }
        for record in self.recorded.clone() {
            let exists = input
                .rules
                .iter()
                .any(|candidate| record.is_of(candidate.rule));
            let stalled = input.stalled.contains(&record.rule_uid);
            if !exists && !stalled && self.is_in_plan(&record.id()) {
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
        !self.input.is_completed(decider)
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
            // What others may know more about is not lost with the rest.
            let unknown = ownership::unknown(self.input.node, self.input.prefixes);
            let mut records = [self.records.clone(), unknown].concat();
            records.sort();
            self.annotations
                .insert(ownership::ANNOTATION.to_owned(), ownership::write(&records));
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
        let excuses =
            (0..self.input.rules.len()).filter_map(|index| self.input.excused_until(index));
        let ask_again_at = verdicts
            .filter_map(Verdict::ask_again_at)
            .chain(excuses)
            .min();
        Plan {
            outcomes: (0..self.input.rules.len())
                .map(|index| self.outcome(index))
                .collect(),
            orphans: orphans.cloned().collect(),
            ask_again_at,
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
        let records = self.records.iter();
        let mut record = records.filter(|record| record.is_for(id) && record.is_of(candidate.rule));
        let record = record.next_back();
        let (reason, message) = message::explain(self.input, candidate, &state);
        Outcome {
            action,
            before,
            after: self.add.contains_key(id) || (before && !self.remove.contains_key(id)),
            adopted: self.adopted.contains(&index),
            completes,
            owned_since: record.map(|record| record.since.unwrap_or(self.input.now)),
            counts: record.is_some_and(|record| !record.free) && !self.input.node.terminating,
            state,
            reason,
            message,
        }
    }

    /// Is the rule's taint on the node, after the plan, by its own doing?
    fn owns(&self, index: usize) -> bool {
        let rule = self.input.rules[index].rule;
        let mut records = self.records.iter();
        records.any(|record| record.is_of(rule) && record.is_for(&rule.taint))
    }

    /// It selects the node, or holds it from before.
    fn state_of_stalled(&self, index: usize) -> State {
        let candidate = &self.input.rules[index];
        let rule = candidate.rule;
        match self.deciders.get(&rule.taint) {
            _ if !candidate.selected && !self.owns(index) => State::NotSelected,
            _ if self.input.is_completed(index) => State::Completed,
            Some(&decider) if !rule.dry_run && self.has_claim(decider) => State::Conflict {
                winner: self.input.rules[decider].rule.name.clone(),
            },
            _ => State::Stalled,
        }
    }

    fn state(&self, index: usize) -> State {
        let candidate = &self.input.rules[index];
        let rule = candidate.rule;
        if rule.terminating {
            return State::Terminating;
        }
        let excused = self.input.excused_until(index);
        if let Some(until) = excused.filter(|_| !rule.dry_run && candidate.selected) {
            return State::BrokenGlass { until };
        }
        if candidate.stalled {
            return self.state_of_stalled(index);
        }
        if !candidate.selected {
            return match self.owns(index) {
                // What it holds stays, until it is enforced again.
                true if rule.dry_run => State::DryRun {
                    would: Action::RemoveTaint,
                    risky: false,
                },
                true if rule.suspended => State::Suspended,
                _ => State::NotSelected,
            };
        }
        let decider = self.deciders.get(&rule.taint).copied().unwrap_or(index);
        let completed = self.input.is_completed(index);
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
                kind: NOT_EVALUATED,
                message: "the policy has not answered yet".to_owned(),
            }),
        };
        match failure {
            _ if rule.suspended => State::Suspended,
            Some(failure) => State::Failed(failure),
            None if self.over_budget.contains(&index) => State::OverBudget,
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
