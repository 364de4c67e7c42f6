//! A rule's status, composed from memory: true, and small at any number of nodes.

mod deleting;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::NodeReadinessRule;
use api::birth::HOLDS_NEW_NODES;
use api::rule::status::{
    Condition, ConditionResult, DryRunResults, NodeCounts, NodeEvaluation, NodeFailure,
    NodeReadinessRuleStatus, TaintStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use planner::Timestamp;
use planner::plan::Action;
use planner::rule::{Enforcement, Rule, Status};

pub(crate) use deleting::{Waits, deleting};

use crate::birth::NewNodes;
use crate::freeze::{FREEZE, Frozen};
use crate::ledger::{NodeEntry, Standing, Stuck};
use crate::reporters::{self, Finding};
use crate::rules::Against;

/// The reason of `Ready` while every rule is frozen.
pub(crate) const FROZEN: &str = "Frozen";
/// … while the rule itself is paused.
pub(crate) const SUSPENDED: &str = "Suspended";

/// The most nodes that are listed one by one.
const MOST_NODES: usize = 200;
/// The most bytes that the lists may have as JSON. The API server keeps about as much again in
/// `managedFields`; together, with the rule itself, that stays below 128 kB.
const MOST_BYTES: usize = 48 * 1024;
/// The longest message about a node, in bytes.
const MOST_MESSAGE: usize = 256;

/// The nodes of a rule.
#[derive(Debug)]
pub(crate) struct Matching<'a> {
    /// How many nodes the selector matches.
    pub(crate) matched: usize,
    /// Those that were evaluated.
    pub(crate) nodes: &'a BTreeMap<String, NodeEntry>,
    /// Those that could not be released when it did not select them any more.
    pub(crate) stuck: &'a BTreeMap<String, Stuck>,
    /// Why the rule cannot be used; none if it can.
    pub(crate) problem: Option<&'a Against>,
    /// Why every rule is frozen.
    pub(crate) frozen: Option<&'a Frozen>,
    /// Is there the rule that `spec.replaces` names?
    pub(crate) replaced_exists: bool,
    /// What becomes of a node that shows nothing yet.
    pub(crate) new_nodes: &'a NewNodes,
    /// What is known of those who report what the rule waits for.
    pub(crate) reporters: Finding,
}

/// The status of a rule.
pub(crate) fn compose(
    told: &Told,
    rule: &Arc<Rule>,
    matching: &Matching<'_>,
) -> NodeReadinessRuleStatus {
    let counts = count(rule, matching);
    let is_dry_run = rule.dry_run && matching.problem.is_none();
    let mut status = NodeReadinessRuleStatus {
        observed_generation: told.generation,
        conditions: conditions(told, rule, matching, &counts),
        nodes: Some(counts),
        dry_run_results: is_dry_run.then(|| dry_run(matching)),
        ..NodeReadinessRuleStatus::default()
    };
    let truncated = list(&mut status, rule, matching);
    status.truncated = truncated.then_some(true);
    status
}

/// The conditions that a rule had, and when.
#[derive(Debug)]
pub(crate) struct Told {
    generation: Option<i64>,
    created: Option<Timestamp>,
    before: Vec<Condition>,
    now: Timestamp,
}

impl Told {
    /// By what this process sent, where it did; else by what is stored, as far as it can be true.
    pub(crate) fn of(
        object: &NodeReadinessRule,
        sent: Option<&NodeReadinessRuleStatus>,
        now: Timestamp,
    ) -> Self {
        let created = object.meta().creation_timestamp.as_ref();
        let created = created.map(|Time(created)| *created);
        let mut told = Self {
            generation: object.meta().generation,
            created,
            before: Vec::new(),
            // A clock that is behind the API server's must not write what no host would believe.
            now: created.map_or(now, |created| created.max(now)),
        };
        told.before = match sent {
            Some(sent) => sent.conditions.clone(),
            None => {
                let stored = object.status.iter().flat_map(|status| &status.conditions);
                let true_ones =
                    stored.filter(|condition| told.can_be(&condition.last_transition_time));
                true_ones.cloned().collect()
            }
        };
        told
    }

    /// Nothing of a rule was before the rule, nor is later than now.
    fn can_be(&self, Time(time): &Time) -> bool {
        self.created.is_none_or(|created| created <= *time) && *time <= self.now
    }

    /// Can every time in a status be true?
    pub(crate) fn is_plausible(&self, status: &NodeReadinessRuleStatus) -> bool {
        let changed = status
            .conditions
            .iter()
            .map(|one| &one.last_transition_time);
        let failed = status
            .failed_nodes
            .iter()
            .map(|one| &one.last_evaluation_time);
        let evaluated = status
            .node_evaluations
            .iter()
            .map(|one| &one.last_evaluation_time);
        changed
            .chain(failed)
            .chain(evaluated)
            .all(|time| self.can_be(time))
    }

    /// The last one of a type.
    fn find(&self, name: &str) -> Option<&Condition> {
        let mut before = self.before.iter().rev();
        before.find(|condition| condition.r#type == name)
    }

    /// A condition whose transition time is kept while its status stays.
    fn tell(&self, name: &str, status: Status, reason: &str, message: &str) -> Condition {
        let before = self
            .before
            .iter()
            .filter(|condition| condition.r#type == name);
        let before = before
            .into_iter()
            .find(|condition| condition.status == status);
        Condition {
            r#type: name.to_owned(),
            status,
            observed_generation: self.generation,
            last_transition_time: before.map_or(Time(self.now), |condition| {
                condition.last_transition_time.clone()
            }),
            reason: reason.to_owned(),
            message: clip(message, 1024),
        }
    }
}

/// Is this the reason of its `Ready`?
pub(crate) fn says(status: &NodeReadinessRuleStatus, reason: &str) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.r#type == "Ready" && condition.reason == reason)
}

/// The same but for times? A new time alone is no news.
pub(crate) fn same(one: &NodeReadinessRuleStatus, two: &NodeReadinessRuleStatus) -> bool {
    timeless(one) == timeless(two)
}

fn timeless(status: &NodeReadinessRuleStatus) -> NodeReadinessRuleStatus {
    let mut status = status.clone();
    let never = Time(Timestamp::UNIX_EPOCH);
    status
        .conditions
        .iter_mut()
        .for_each(|condition| condition.last_transition_time = never.clone());
    status
        .failed_nodes
        .iter_mut()
        .for_each(|node| node.last_evaluation_time = never.clone());
    status
        .node_evaluations
        .iter_mut()
        .for_each(|node| node.last_evaluation_time = never.clone());
    status
}

fn count(rule: &Arc<Rule>, matching: &Matching<'_>) -> NodeCounts {
    let nodes = matching.nodes;
    let number =
        |is: &dyn Fn(&NodeEntry) -> bool| to_i32(nodes.values().filter(|node| is(node)).count());
    // An evaluation by another version of the rule says nothing about this one.
    let evaluated = |node: &NodeEntry| Arc::ptr_eq(&node.rule, rule);
    let evaluated = nodes.values().filter(|node| evaluated(node)).count();
    let bootstrap = rule.enforcement == Enforcement::BootstrapOnly;
    NodeCounts {
        matched: to_i32(matching.matched),
        held: number(&|node| node.present && node.standing != Standing::Conflicting),
        released: number(&|node| !node.present && node.standing != Standing::Conflicting),
        completed: number(&|node| node.standing == Standing::Completed).filter(|_| bootstrap),
        failed: number(&|node| node.failure.is_some())
            .and_then(|failed| failed.checked_add(to_i32(matching.stuck.len())?)),
        pending: to_i32(matching.matched.saturating_sub(evaluated)),
        conflicting: number(&|node| node.standing == Standing::Conflicting),
        over_budget: number(&|node| node.standing == Standing::OverBudget)
            .filter(|_| rule.budget.is_some()),
        excused: number(&|node| node.standing == Standing::Excused).filter(|nodes| *nodes > 0),
    }
}

fn to_i32(number: usize) -> Option<i32> {
    i32::try_from(number).ok()
}

fn conditions(
    told: &Told,
    rule: &Rule,
    matching: &Matching<'_>,
    counts: &NodeCounts,
) -> Vec<Condition> {
    let (status, reason, mut message) = readiness(rule, matching, counts);
    message.push_str(&replacement(rule, matching.replaced_exists));
    let stalled = match matching.problem {
        Some(Against { reason, message }) => told.tell("Stalled", Status::True, reason, message),
        None => told.tell("Stalled", Status::False, "Usable", ""),
    };
    let new = matching.new_nodes;
    let held = if new.held {
        Status::True
    } else {
        Status::False
    };
    let mut conditions = vec![
        told.tell("Ready", status, reason, &message),
        conflict(told, matching, counts),
        stalled,
        told.tell(HOLDS_NEW_NODES, held, &new.reason, &new.message),
    ];
    let name = reporters::CONDITION;
    let before = told.find(name);
    conditions.extend(match (&matching.reporters, before) {
        (Finding::Blocked(who), _) => Some(told.tell(name, Status::True, "TaintNotTolerated", who)),
        // Said only where it was otherwise once.
        (Finding::Free, Some(_)) => Some(told.tell(name, Status::False, "TaintTolerated", "")),
        (Finding::NotYet, before) => before.cloned(),
        (Finding::Free | Finding::Never, _) => None,
    });
    conditions
}

fn conflict(told: &Told, matching: &Matching<'_>, counts: &NodeCounts) -> Condition {
    let Some(number) = counts.conflicting.filter(|number| *number > 0) else {
        return told.tell("Conflict", Status::False, "NoConflict", "");
    };
    let who = match matching.problem {
        None => "another rule comes first (the older, or one that replaces this one) and decides",
        Some(_) => "another rule decides, since this one cannot,",
    };
    let message = format!("{who} about the same taint on {}", nodes(number));
    told.tell("Conflict", Status::True, "OtherRuleDecides", &message)
}

/// Is the rule in force on every node? The first reason why not.
fn readiness(
    rule: &Rule,
    matching: &Matching<'_>,
    counts: &NodeCounts,
) -> (Status, &'static str, String) {
    let some = |count: Option<i32>| count.filter(|count| *count > 0);
    let owned = matching.nodes.values();
    let owned = owned.filter(|node| node.owned_since.is_some()).count();
    let no = |reason, message| (Status::False, reason, message);
    if let Some(problem) = matching.problem {
        no(problem.reason, problem.message.clone())
    } else if let Some(frozen) = matching.frozen {
        let Frozen { rule, why, .. } = frozen;
        let why = if why.is_empty() {
            "no reason is given"
        } else {
            why
        };
        let message = if frozen.written {
            format!("every rule is frozen by annotation {FREEZE} of rule '{rule}': {why}")
        } else {
            format!(
                "every rule is frozen by this host, which tries to say so in annotation {FREEZE} of rule '{rule}' \
                 (until it is there, starting the host again releases them): {why}"
            )
        };
        no(FROZEN, message)
    } else if rule.suspended {
        no(
            SUSPENDED,
            "the rule is suspended: every node stays as it is".to_owned(),
        )
    } else if let Some(failed) = some(counts.failed) {
        no(
            "NodesFailed",
            format!("{} could not be evaluated or changed", nodes(failed)),
        )
    } else if let Some(pending) = some(counts.pending) {
        no(
            "NodesPending",
            format!("{} not evaluated yet", nodes(pending)),
        )
    } else if let Some(conflicting) = some(counts.conflicting) {
        let message = format!(
            "another rule decides about the same taint on {}",
            nodes(conflicting)
        );
        no("Conflict", message)
    } else if let Some(over) = some(counts.over_budget) {
        let message = format!(
            "the budget is used up: it keeps {} from being held",
            nodes(over)
        );
        no("BudgetExhausted", message)
    } else if rule.dry_run
        && let Some(owned) = some(to_i32(owned))
    {
        let message = format!(
            "no node is changed; delete the rule to release {} that it held before",
            nodes(owned)
        );
        (Status::True, "DryRunKeepsTaints", message)
    } else if rule.dry_run {
        let message = "every node was evaluated, and none is changed".to_owned();
        (Status::True, "DryRun", message)
    } else {
        let but = some(counts.excused).map_or(String::new(), |excused| {
            format!(", but for {} let go by annotation", nodes(excused))
        });
        let message = format!("every node is as the rule wants it{but}");
        (Status::True, "Enforced", message)
    }
}

/// What `spec.replaces` does not do. That the other rule is gone is how a replacement ends.
fn replacement(rule: &Rule, exists: bool) -> String {
    match &rule.replaces {
        Some(name) if *name == rule.name => {
            "; spec.replaces names the rule itself, which means nothing".to_owned()
        }
        Some(name) if !exists => {
            format!("; spec.replaces names rule '{name}', and there is none (any more)")
        }
        Some(name) if rule.dry_run => {
            format!("; a dry run takes nothing over from rule '{name}': do not delete it before")
        }
        _ => String::new(),
    }
}

/// `1 node`, `2 nodes`.
fn nodes(number: i32) -> String {
    format!("{number} node{}", if number == 1 { "" } else { "s" })
}

fn dry_run(matching: &Matching<'_>) -> DryRunResults {
    let number = |is: &dyn Fn(Action, bool) -> bool| {
        let standings = matching.nodes.values().map(|node| node.standing);
        standings.filter(|standing| matches!(standing, Standing::DryRun { would, risky } if is(*would, *risky))).count()
    };
    let add = number(&|would, _| would == Action::AddTaint);
    let remove = number(&|would, _| would == Action::RemoveTaint);
    let risky = number(&|_, risky| risky);
    let parts = [
        (add, format!("would add {add} taints")),
        (remove, format!("would remove {remove} taints")),
        (risky, format!("{risky} nodes have missing conditions")),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(_, text)| text)
        .collect();
    DryRunResults {
        affected_nodes: to_i32(matching.matched),
        taints_to_add: to_i32(add),
        taints_to_remove: to_i32(remove),
        risky_operations: to_i32(risky),
        summary: if parts.is_empty() {
            "No changes needed".to_owned()
        } else {
            parts.join(", ")
        },
    }
}

/// Fills the lists: failed nodes first, then held ones, then the latest. Says whether some are left out.
fn list(status: &mut NodeReadinessRuleStatus, rule: &Rule, matching: &Matching<'_>) -> bool {
    let mut order: Vec<(&String, &NodeEntry)> = matching.nodes.iter().collect();
    let first = |(name, node): &(&String, &NodeEntry), (other, than): &(&String, &NodeEntry)| {
        let rank = |node: &NodeEntry| (node.failure.is_none(), !node.present);
        let rank = rank(node).cmp(&rank(than));
        rank.then(than.since.cmp(&node.since)).then(name.cmp(other))
    };
    if order.len() > MOST_NODES {
        // The rest need not be in order: this is done once a second for each of many nodes.
        order.select_nth_unstable_by(MOST_NODES, first);
        order.truncate(MOST_NODES);
    }
    order.sort_unstable_by(first);
    let (stuck, mut bytes) = deleting::failures(matching.stuck);
    let stuck_listed = stuck.len();
    status.failed_nodes = stuck;
    let mut listed: Vec<(&String, &NodeEntry)> = Vec::new();
    for (name, node) in &order {
        bytes += size(name, rule, node);
        if bytes > MOST_BYTES && !listed.is_empty() {
            break;
        }
        listed.push((name, node));
    }
    listed.sort_by_key(|(name, _)| *name);
    for (name, node) in &listed {
        status.node_evaluations.push(evaluation(name, rule, node));
        match &node.failure {
            Some(failure) => status.failed_nodes.push(NodeFailure {
                node_name: (*name).clone(),
                reason: Some("EvaluationError".to_owned()),
                message: Some(clip(failure, MOST_MESSAGE)),
                last_evaluation_time: Time(node.since),
            }),
            // A rule that cannot be used evaluates no node.
            None if matching.problem.is_some() => {}
            None => status.applied_nodes.push((*name).clone()),
        }
    }
    (status.failed_nodes).sort_by(|one, two| one.node_name.cmp(&two.node_name));
    listed.len() < matching.nodes.len() || stuck_listed < matching.stuck.len()
}

fn evaluation(name: &str, rule: &Rule, node: &NodeEntry) -> NodeEvaluation {
    let results = rule
        .requirements
        .iter()
        .zip(&node.current)
        .map(|(requirement, current)| ConditionResult {
            r#type: requirement.condition.clone(),
            current_status: *current,
            required_status: requirement.required,
            default_status: Some(requirement.fallback.unwrap_or(Status::Unknown)),
        });
    NodeEvaluation {
        node_name: name.to_owned(),
        condition_results: results.collect(),
        taint_status: if node.present {
            TaintStatus::Present
        } else {
            TaintStatus::Absent
        },
        message: (node.why.as_ref())
            .filter(|why| !why.is_empty())
            .map(|why| clip(why, MOST_MESSAGE)),
        last_evaluation_time: Time(node.since),
    }
}

/// About how many bytes of JSON a node takes in all lists: the words of the format, and the names.
fn size(name: &str, rule: &Rule, node: &NodeEntry) -> usize {
    let conditions: usize = rule
        .requirements
        .iter()
        .map(|requirement| requirement.condition.len() + 90)
        .sum();
    let failure = node
        .failure
        .as_ref()
        .map_or(0, |failure| failure.len().min(MOST_MESSAGE) + 120);
    let why = node.why.as_ref();
    let why = why.map_or(0, |why| why.len().min(MOST_MESSAGE) + 15);
    2 * name.len() + 120 + conditions + failure + why
}

/// The beginning of a text, at most so many bytes.
pub fn clip(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .to_owned()
}
