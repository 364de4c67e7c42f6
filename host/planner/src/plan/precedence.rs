//! Which rule decides about which taint of a node.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Input;
use crate::question::Completion;
use crate::rule::{Enforcement, Rule, TaintId};
use crate::{bootstrap, break_glass};

/// The rule that decides about each taint here, by index: the oldest that has a claim; where none
/// has one, the oldest that completed its bootstrap, which may still remove the taint. A rule that
/// completes its bootstrap just now passes the taint on to the next that has a claim, in the same
/// plan: the second list. Else the taint would be off the node for a moment.
pub(super) fn deciders<'a>(input: &Input<'a>) -> (BTreeMap<&'a TaintId, usize>, Vec<usize>) {
    let (mut deciders, mut passed_on) = (BTreeMap::new(), Vec::new());
    for index in by_precedence(input) {
        if !input.enforces(index) {
            continue;
        }
        let taint = &input.rules[index].rule.taint;
        match deciders.get(taint) {
            None => {
                deciders.insert(taint, index);
            }
            Some(&first) if input.completes(first) && !input.is_completed(index) => {
                passed_on.push(first);
                deciders.insert(taint, index);
            }
            Some(_) => {}
        }
    }
    (deciders, passed_on)
}

/// What has a claim before what has none, a rule before the one that it replaces, then the older
/// first. Creation times have a resolution of one second, hence the name; a rule from a file has
/// none and comes last.
pub(super) fn by_precedence(input: &Input<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..input.rules.len()).collect();
    order.sort_by_cached_key(|&index| {
        let rule = input.rules[index].rule;
        (
            input.is_completed(index),
            input.is_replaced(index),
            rule.created.is_none(),
            rule.created,
            rule.name.clone(),
            rule.uid.clone(),
        )
    });
    order
}

impl Input<'_> {
    /// May the rule change the node, or hold on to it while it is suspended?
    pub(super) fn enforces(&self, index: usize) -> bool {
        let candidate = &self.rules[index];
        let rule = candidate.rule;
        candidate.selected
            && !candidate.stalled
            && !rule.dry_run
            && !rule.terminating
            && self.excused_until(index).is_none()
    }

    /// Is it the last moment to take over the completion of the rule that this one replaces, whatever keeps
    /// this one from acting? Else the node would be held again as soon as it may.
    pub(super) fn inherits(&self, index: usize) -> bool {
        let candidate = &self.rules[index];
        let rule = candidate.rule;
        let goes = |replaced: &Rule| replaced.terminating;
        candidate.selected
            && !rule.dry_run
            && !rule.terminating
            && candidate.replaces.is_some_and(goes)
    }

    /// Was the rule's bootstrap, or that of the one that it replaces, completed here before? Boots are
    /// told apart only for a policy that does so itself; one that gave no decision may.
    pub(super) fn is_completed(&self, index: usize) -> bool {
        let candidate = &self.rules[index];
        let completion = bootstrap::completion_with(self.node, candidate.rule, candidate.replaces);
        candidate.rule.enforcement == Enforcement::BootstrapOnly
            && match completion {
                Completion::None => false,
                Completion::ThisBoot => true,
                Completion::EarlierBoot => self.per_boot(index) == Some(false),
            }
    }

    /// Is the rule's bootstrap to be completed once in each boot? None: its policy gave no decision.
    pub(super) fn per_boot(&self, index: usize) -> Option<bool> {
        let decision = self.rules[index].verdict?.result.as_ref().ok()?;
        Some(decision.per_boot)
    }

    /// Does the rule complete its bootstrap now? Only one with `bootstrap-only` can.
    pub(super) fn completes(&self, index: usize) -> bool {
        let candidate = &self.rules[index];
        let decision = candidate.verdict.map(|verdict| &verdict.result);
        candidate.rule.enforcement == Enforcement::BootstrapOnly
            && !candidate.rule.suspended
            && !self.is_completed(index)
            && matches!(decision, Some(Ok(decision)) if decision.complete_bootstrap)
    }

    /// Until when the node is let go from the rule by hand.
    pub(super) fn excused_until(&self, index: usize) -> Option<Timestamp> {
        break_glass::until(self.node, self.rules[index].rule, self.now)
    }

    /// Does another rule take this one's place here? Two that replace each other do not.
    fn is_replaced(&self, index: usize) -> bool {
        let rule = self.rules[index].rule;
        let takes_over = |other: usize| {
            let by = self.rules[other].rule;
            other != index
                && by.replaces.as_ref() == Some(&rule.name)
                && rule.replaces.as_ref() != Some(&by.name)
                && self.enforces(other)
        };
        (0..self.rules.len()).any(takes_over)
    }
}
