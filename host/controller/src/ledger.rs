//! What is known about each rule on each node: the memory from which a rule's status is written.

mod regressions;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use planner::Timestamp;
use planner::facts::Node;
use planner::plan::{Action, Outcome, State};
use planner::rule::{Rule, Status};
use planner::status::condition_results;

use regressions::Regressions;

/// By UID of the rule.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rules: HashMap<String, RuleEntry>,
}

/// A rule.
#[derive(Debug, Default)]
pub(crate) struct RuleEntry {
    /// The nodes that it selects and that were evaluated, by name. Of a Stalled rule also others that it owns.
    pub(crate) nodes: BTreeMap<String, NodeEntry>,
    /// While the rule is being deleted: the nodes that are free of it.
    pub(crate) cleaned: HashSet<String>,
    /// Those that it does not select, or not any more, and that could not be released.
    pub(crate) stuck: BTreeMap<String, Stuck>,
    /// The nodes that it would hold if its budget had room.
    pub(crate) over_budget: BTreeSet<String>,
    /// Which nodes that it had released were held again.
    regressions: Regressions,
    /// Why the last node was held: it is the same for most of many.
    why: Option<Arc<str>>,
}

/// A node that could not be released from a rule that is being deleted, or does not select it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// What the API server said.
    pub(crate) why: String,
    /// Since when it says so.
    pub(crate) since: Timestamp,
}

/// A rule on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeEntry {
    /// The rule as it was then.
    pub(crate) rule: Arc<Rule>,
    /// When the node was created: another one may have its name.
    pub(crate) created: Option<Timestamp>,
    /// Where the rule stands.
    pub(crate) standing: Standing,
    /// Is the taint on the node, as far as we know?
    pub(crate) present: bool,
    /// Since when the rule owns it; none if it does not.
    pub(crate) owned_since: Option<Timestamp>,
    /// What the node shows of the rule's conditions, in the rule's order.
    pub(crate) current: Vec<Status>,
    /// Why the taint is on the node, where it is, or which annotation lets the node go.
    pub(crate) why: Option<Arc<str>>,
    /// What went wrong the last time.
    pub(crate) failure: Option<String>,
    /// When any of that changed last.
    pub(crate) since: Timestamp,
}

/// When every rule is frozen by itself: so many nodes of one rule are held again within so short a time
/// that the rule, or what reports its conditions, is rather broken than the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// More than this share of the rule's nodes, 0 to 99.
    pub percent: u8,
    /// … within this time.
    pub window: Duration,
}

impl Alarm {
    /// Fewer nodes are no alarm, whatever their share.
    pub const LEAST: usize = 10;
}

/// Where a rule stands with a node that it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It decides, or could not because its policy failed.
    Enforced,
    /// Its bootstrap is complete.
    Completed,
    /// An older rule decides.
    Conflicting,
    /// It is suspended, or every rule is frozen.
    Suspended,
    /// It cannot be used as it is written.
    Stalled,
    /// It would hold the node, but its budget is used up.
    OverBudget,
    /// An annotation lets the node go.
    Excused,
    /// It only says what it would do, and whether the node lacks one of its conditions.
    DryRun { would: Action, risky: bool },
}

/// Numbers of nodes of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// With the rule's taint.
    pub(crate) held: usize,
    /// Without it.
    pub(crate) released: usize,
    /// That would be held if the budget had room.
    pub(crate) over_budget: usize,
    /// That the rule holds for longer than it should.
    pub(crate) held_too_long: usize,
}

impl Ledger {
    /// The entry of a rule.
    pub(crate) fn rule(&mut self, uid: &str) -> &mut RuleEntry {
        self.rules.entry(uid.to_owned()).or_default()
    }

    /// Forgets rules that are gone.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.rules.retain(|uid, _| exists(uid));
    }

    /// Forgets a node that is gone. Returns the UIDs of the rules that knew it.
    pub(crate) fn forget_node(&mut self, name: &str) -> Vec<String> {
        let knew = |(uid, entry): (&String, &mut RuleEntry)| {
            let waited = entry.cleaned.remove(name);
            (entry.forget(name) | waited).then(|| uid.clone())
        };
        self.rules.iter_mut().filter_map(knew).collect()
    }

    /// How many nodes of a rule are in which state. Those that the rule owns since before `long_ago`
    /// are held too long.
    pub(crate) fn tally(&self, uid: &str, long_ago: Option<Timestamp>) -> Tally {
        let Some(entry) = self.rules.get(uid) else {
            return Tally::default();
        };
        let mut tally = Tally {
            over_budget: entry.over_budget.len(),
            ..Tally::default()
        };
        for node in entry.nodes.values() {
            if !node.present {
                tally.released += 1;
                continue;
            }
            tally.held += 1;
            let too_long = node.owned_since.zip(long_ago);
            let holds = [Standing::Enforced, Standing::Suspended, Standing::Stalled];
            if holds.contains(&node.standing) && too_long.is_some_and(|(at, ago)| at <= ago) {
                tally.held_too_long += 1;
            }
        }
        tally
    }

    /// Names of all nodes in it.
    pub(crate) fn node_names(&self) -> HashSet<String> {
        self.rules
            .values()
            .flat_map(|entry| {
                let nodes = entry.nodes.keys().chain(&entry.cleaned);
                nodes.chain(entry.stuck.keys())
            })
            .cloned()
            .collect()
    }

    /// How many nodes could not be released from a rule, this one among them; none if it could from all.
    pub(crate) fn stuck_with(&self, node: &str) -> Option<usize> {
        let entries = self.rules.values().map(|entry| &entry.stuck);
        let waits = entries.filter(|stuck| stuck.contains_key(node));
        waits.map(BTreeMap::len).max()
    }
}

impl RuleEntry {
    /// Takes note of an outcome; `failure` says why it could not be carried out. Says whether
    /// anything changed.
    pub(crate) fn note(
        &mut self,
        node: &Node,
        rule: &Arc<Rule>,
        outcome: &Outcome,
        failure: Option<String>,
        now: Timestamp,
    ) -> bool {
        let (standing, policy_failure) = match &outcome.state {
            State::NotSelected => {
                let Some(why) = failure else {
                    return self.forget(&node.name);
                };
                let was_selected = self.forget_selected(&node.name);
                return self.note_stuck(&node.name, why, now) || was_selected;
            }
            State::Terminating => return self.note_release(&node.name, failure, now),
            State::Decides if outcome.completes && failure.is_none() => (Standing::Completed, None),
            State::Decides => (Standing::Enforced, None),
            State::Completed => (Standing::Completed, None),
            State::Conflict { .. } => (Standing::Conflicting, None),
            State::Suspended => (Standing::Suspended, None),
            State::Stalled => (Standing::Stalled, None),
            State::OverBudget => (Standing::OverBudget, None),
            State::BrokenGlass { .. } => (Standing::Excused, None),
            State::DryRun { would, risky } => (
                Standing::DryRun {
                    would: *would,
                    risky: *risky,
                },
                None,
            ),
            State::Failed(failure) => {
                let text = format!("policy failed: {}: {}", failure.kind, failure.message);
                (Standing::Enforced, Some(text))
            }
        };
        self.stuck.remove(&node.name);
        if standing == Standing::OverBudget {
            self.over_budget.insert(node.name.clone());
        } else {
            self.over_budget.remove(&node.name);
        }
        let present = if failure.is_none() {
            outcome.after
        } else {
            outcome.before
        };
        let entry = NodeEntry {
            rule: Arc::clone(rule),
            created: node.created,
            owned_since: outcome.owned_since,
            standing,
            present,
            why: (present || standing == Standing::Excused).then(|| self.reason(&outcome.message)),
            current: condition_results(node, rule)
                .map(|result| result.current)
                .collect(),
            failure: failure.or(policy_failure),
            since: now,
        };
        match self.nodes.get_mut(&node.name) {
            Some(before)
                if *before
                    == (NodeEntry {
                        since: before.since,
                        ..entry.clone()
                    }) =>
            {
                // The rule may have been another in between: it is this one that was evaluated.
                let renewed = !Arc::ptr_eq(&before.rule, rule);
                before.rule = Arc::clone(rule);
                renewed
            }
            Some(before) => {
                *before = entry;
                true
            }
            None => {
                self.nodes.insert(node.name.clone(), entry);
                true
            }
        }
    }

    /// Takes note of whether a node is free of a rule that is being deleted.
    fn note_release(&mut self, node: &str, failure: Option<String>, since: Timestamp) -> bool {
        let Some(why) = failure else {
            let was_stuck = self.stuck.remove(node).is_some();
            return self.cleaned.insert(node.to_owned()) || was_stuck;
        };
        self.note_stuck(node, why, since)
    }

    fn note_stuck(&mut self, node: &str, why: String, since: Timestamp) -> bool {
        if self.stuck.get(node).is_some_and(|stuck| stuck.why == why) {
            return false;
        }
        self.stuck.insert(node.to_owned(), Stuck { why, since });
        true
    }

    fn reason(&mut self, message: &str) -> Arc<str> {
        if self.why.as_deref() != Some(message) {
            self.why = Some(message.into());
        }
        self.why.clone().unwrap_or_default()
    }

    /// Is there a node that could not be evaluated or changed?
    pub(crate) fn fails(&self) -> bool {
        let mut nodes = self.nodes.values();
        !self.stuck.is_empty() || nodes.any(|node| node.failure.is_some())
    }

    /// The rule does not select the node (any more), and holds nothing of it.
    pub(crate) fn forget(&mut self, node: &str) -> bool {
        let was_stuck = self.stuck.remove(node).is_some();
        self.forget_selected(node) || was_stuck
    }

    fn forget_selected(&mut self, node: &str) -> bool {
        self.over_budget.remove(node);
        self.regressions.forget(node);
        self.nodes.remove(node).is_some()
    }

    /// A node is held again. Says how many nodes were within the window, where they are most of them.
    pub(crate) fn regressed(&mut self, node: &Node, alarm: &Alarm, now: Instant) -> Option<usize> {
        // A new node by the name of one that was ready has lost nothing.
        let released = |entry: &NodeEntry| {
            entry.created == node.created && !entry.present && entry.standing == Standing::Enforced
        };
        if !self.nodes.get(&node.name).is_some_and(released) {
            return None;
        }
        let all = self.nodes.len();
        self.regressions.add(&node.name, all, alarm, now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A rule that could not be used for a while comes back as it was, and not as the same object.
    #[test]
    fn what_was_evaluated_again_is_of_the_rule_that_evaluated_it() {
        let object: api::NodeReadinessRule = serde_json::from_value(json!({
            "metadata": {"name": "agent", "uid": "u-1"},
            "spec": {
                "conditions": [{"type": "A", "requiredStatus": "True"}],
                "enforcementMode": "continuous", "nodeSelector": {},
                "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"}}}))
        .unwrap();
        let rule = || Arc::new(object.to_rule(&Default::default()).unwrap());
        let node = json!({"metadata": {"name": "n"}});
        let node: api::Node = serde_json::from_value(node).unwrap();
        let outcome = Outcome {
            state: State::Decides,
            action: Action::None,
            before: true,
            after: true,
            adopted: false,
            completes: false,
            owned_since: None,
            counts: false,
            reason: String::new(),
            message: String::new(),
        };
        let mut entry = RuleEntry::default();
        let mut note = |rule| {
            let news = entry.note(&node.facts, rule, &outcome, None, Timestamp::UNIX_EPOCH);
            (news, Arc::clone(&entry.nodes["n"].rule))
        };
        let (first, second) = (rule(), rule());
        assert!(note(&first).0);
        assert!(!note(&first).0);
        let (news, evaluated_by) = note(&second);
        assert!(news && Arc::ptr_eq(&evaluated_by, &second));
        assert!(!note(&second).0);
    }
}
