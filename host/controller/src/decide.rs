//! Facts → verdicts → plan, for one node: the path that `host run` and `host eval` share.

mod asking;
mod flaps;
mod seats;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use api::rule::status::{NodeEvaluation, TaintStatus};
use planner::Timestamp;
use planner::facts::Node;
use planner::memo::Memo;
use planner::ownership::Record;
use planner::plan::{Action, Candidate, Input, Plan, plan};
use planner::related::Lookup;
use planner::rule::{Rule, TaintId, TaintPrefixes};
use planner::verdict::{TaintAction, Verdict};
use planner::{bootstrap, ownership};

use crate::policies::{Asked, RulePolicy};

pub use flaps::Flaps;
pub use seats::{Seat, Seats};

use asking::ask;

/// A rule, with its parsed selector and its policy.
#[derive(Debug, Clone)]
pub struct ActiveRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// `spec.nodeSelector`.
    pub selector: Arc<api::Selector>,
    /// The policy that decides for it.
    pub policy: RulePolicy,
    /// Can it not be used as it is written? Then nothing is asked, and what it did stays.
    pub stalled: bool,
    /// Nodes that the rule's status shows as held: counts as ownership where the node
    /// has no record of its own.
    pub seen_present: Arc<Seen>,
    /// What the policy decided for the rule before.
    pub memo: Arc<RwLock<Memo>>,
    /// How often its taint came and went. Only where its policy is an object.
    pub flaps: Arc<Flaps>,
}

impl ActiveRule {
    /// Its taint was put on the node, or taken off it, just now.
    pub(crate) fn changed(&self, node: &Node, present: bool) {
        // The default policy follows conditions, as fast as they change.
        if self.policy.is_object() {
            let (now, at) = (Instant::now(), Timestamp::now());
            self.flaps.changed(node, present, now, at);
        }
    }
}

/// The nodes that a status of the Go controller shows as held, each with the time of its evaluation:
/// it leaves no other trace of ownership. An entry counts until the node was worked on once; from
/// then on the node's own record says who owns what.
#[derive(Debug, Default)]
pub struct Seen(Mutex<BTreeMap<String, Timestamp>>);

impl Seen {
    /// Those with the taint in `status.nodeEvaluations`. None where we wrote the status, which counts
    /// nodes: then the nodes have records.
    pub fn of(rule: &api::NodeReadinessRule) -> Self {
        let status = rule.status.iter().filter(|status| status.nodes.is_none());
        let evaluations = status.flat_map(|status| &status.node_evaluations);
        let present = evaluations.filter(|node| node.taint_status == TaintStatus::Present);
        let entry = |node: &NodeEvaluation| (node.node_name.clone(), node.last_evaluation_time.0);
        Self(Mutex::new(present.map(entry).collect()))
    }

    /// Is it about this node, and not about an earlier one of the same name?
    fn contains(&self, node: &Node) -> bool {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let evaluated = nodes.get(&node.name);
        evaluated.is_some_and(|at| node.created.is_none_or(|created| created <= *at))
    }

    /// Is one of these nodes still to be worked on? The status must not be written over before: a host that
    /// ends then would leave a taint that nobody knows to be ours.
    pub(crate) fn is_needed(&self, exists: impl Fn(&str) -> bool) -> bool {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.keys().any(|node| exists(node))
    }

    /// The node was worked on, or is gone. Says whether it was among these.
    pub(crate) fn forget(&self, node: &str) -> bool {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.remove(node).is_some()
    }
}

/// What is decided with, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The rules.
    pub active: &'a [ActiveRule],
    /// UIDs of further rules that exist, or may: what they own stays.
    pub stalled: &'a BTreeSet<String>,
    /// UIDs of rules that are known to be gone: what they recorded as completed goes.
    pub gone: &'a BTreeSet<String>,
    /// What the keys of taints may begin with.
    pub prefixes: &'a TaintPrefixes,
    /// Is every rule frozen? Then each of them is suspended as well.
    pub frozen: bool,
    /// Who holds how many nodes.
    pub seats: &'a Seats,
    /// What belongs to the nodes, and stands in other objects.
    pub related: &'a dyn Lookup,
}

/// What was decided about a node.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The rules that matter for the node: those that select it, are being deleted, or may own a
    /// taint of it.
    pub rules: Vec<&'a ActiveRule>,
    /// The verdict of each, in the same order; none where its policy was not asked, or has not answered yet.
    pub verdicts: Vec<Option<Verdict>>,
    /// The plan; its outcomes stand in the same order.
    pub plan: Plan,
    /// The places in the budgets of rules that the plan takes. They are free again when this is
    /// dropped, unless [`Seat::keep`] was called because the plan was carried out.
    pub seats: Vec<Seat<'a>>,
    /// How long it took.
    pub timing: Timing,
}

/// How long a decision took. Nothing is decided by it.
#[derive(Debug)]
pub struct Timing {
    /// When it began.
    pub started: Instant,
    /// What was asked of policies, in the order of the rules.
    pub policies: Vec<Run>,
}

/// How a policy came to its verdict.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// How long that took; zero where it was not asked.
    pub took: Duration,
    /// Did it run for it? If not, it had been asked the same before, or is paused.
    pub made: bool,
}

impl Decided<'_> {
    /// The taints that the plan is about: on the node, or in what is recorded there.
    pub(crate) fn changed_taints(&self) -> BTreeSet<TaintId> {
        let outcomes = self.rules.iter().zip(&self.plan.outcomes);
        // A completion may be all that changes: one that is inherited, or that a boot is recorded in.
        let completions = |rule: &Rule| {
            let keys = [
                bootstrap::annotation(rule).0,
                format!("{}{}", bootstrap::PREFIX, rule.name),
            ];
            let mut keys = keys.iter();
            keys.any(|key| self.plan.changes.annotations.contains_key(key))
        };
        let changed = outcomes.filter(|(active, outcome)| {
            let rule = &active.rule;
            outcome.action != Action::None
                || outcome.adopted
                || rule.terminating
                || completions(rule)
        });
        let orphans = self.plan.orphans.iter().map(Record::id);
        changed
            .map(|(active, _)| active.rule.taint.clone())
            .chain(orphans)
            .collect()
    }
}

/// Decides about a node as it is at `now`, or about one of its taints only.
pub fn decide<'a>(
    node: &Arc<Node>,
    rules: Rules<'a>,
    only: Option<&TaintId>,
    now: Timestamp,
) -> Decided<'a> {
    let started = Instant::now();
    let mut policies = Vec::new();
    let records = ownership::read(node, rules.prefixes);
    let related = rules.related.of(node);
    let mut relevant = Vec::new();
    let mut verdicts = Vec::new();
    let mut selected = Vec::new();
    for active in rules.active {
        let rule = &active.rule;
        let selects = active.selector.matches(&node.labels);
        let may_own =
            active.seen_present.contains(node) || records.iter().any(|record| record.is_of(rule));
        if !(selects || rule.terminating || may_own) {
            continue;
        }
        // A rule that is being deleted decides nothing any more, and one that is Stalled nothing yet.
        let asked = selects && !rule.terminating && !active.stalled;
        let asking = Instant::now();
        let answer = asked.then(|| ask(node, &related, active, replaced(rule, rules.active), now));
        let (verdict, run) = match answer.flatten() {
            Some(Asked { verdict, took }) => {
                let run = Run {
                    took: took.unwrap_or_else(|| asking.elapsed()),
                    made: took.is_some(),
                };
                (Some(verdict), run)
            }
            None => (None, Run::default()),
        };
        verdicts.push(verdict);
        policies.push(run);
        selected.push(selects);
        relevant.push(active);
    }
    let mut reads = verdicts.iter().flatten().flat_map(|verdict| &verdict.reads);
    rules.related.was_read(node, &related, &mut reads);
    let instead: Vec<_> = relevant
        .iter()
        .zip(&verdicts)
        .map(|(active, verdict)| active.policy.instead(verdict.as_ref()?))
        .collect();
    // What counts: of a failure what its policy wants.
    let verdict_of =
        |(verdict, instead)| Option::or(Option::as_ref(instead), Option::as_ref(verdict));
    let counts: Vec<Option<&Verdict>> = verdicts.iter().zip(&instead).map(verdict_of).collect();
    let seats: Vec<_> = relevant
        .iter()
        .zip(&counts)
        .map(
            |(active, verdict)| match verdict.as_ref()?.result.as_ref() {
                Ok(decision) if decision.taint == TaintAction::Present => {
                    rules.seats.take(active, node, rules.prefixes)
                }
                _ => None,
            },
        )
        .collect();
    let candidates: Vec<_> = relevant
        .iter()
        .zip(&counts)
        .zip(selected)
        .zip(&seats)
        .map(|(((active, verdict), selected), seat)| Candidate {
            rule: &active.rule,
            selected,
            stalled: active.stalled,
            verdict: *verdict,
            seen_present: active.seen_present.contains(node),
            replaces: replaced(&active.rule, rules.active),
            within_budget: active.rule.budget.is_none() || seat.is_some(),
        })
        .collect();
    let plan = plan(&Input {
        node,
        now,
        rules: &candidates,
        stalled: rules.stalled,
        gone: rules.gone,
        prefixes: rules.prefixes,
        frozen: rules.frozen,
        only,
    });
    let seats = seats.into_iter().zip(&plan.outcomes);
    let seats = seats.filter_map(|(seat, outcome)| seat.filter(|_| outcome.counts));
    Decided {
        seats: seats.collect(),
        rules: relevant,
        verdicts,
        plan,
        timing: Timing { started, policies },
    }
}

/// The rule whose place another takes.
fn replaced<'a>(rule: &Rule, rules: &'a [ActiveRule]) -> Option<&'a Rule> {
    let name = rule.replaces.as_ref()?;
    let mut rules = rules.iter().map(|active| &*active.rule);
    rules.find(|other| other.name == *name)
}

/// The field of a rule to which a policy's JSON pointer into its parameters leads.
pub fn field(pointer: &str) -> String {
    let names = pointer.split('/').skip(1);
    let names = names.map(|name| name.replace("~1", "/").replace("~0", "~"));
    names.fold("spec.policy.parameters".to_owned(), |field, name| {
        format!("{field}.{name}")
    })
}

#[cfg(test)]
mod tests;
