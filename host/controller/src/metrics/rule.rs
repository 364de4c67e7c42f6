//! What is measured about one rule. It owns its series: they go when the rule goes.

use std::time::Duration;

use planner::facts::{Node, Observed};
use planner::ownership::{self, Record};
use planner::plan::{Action, Outcome, State};
use planner::rule::{Enforcement, Requirement, Rule, Status, TaintId, TaintPrefixes};
use planner::{Timestamp, verdict::Verdict};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    DEFAULT_BUCKETS, Error, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts,
};

use crate::decide::Decided;
use crate::metrics::Metrics;

/// Seconds that a policy runs: microseconds where all is well, up to its deadline.
const POLICY_BUCKETS: &[f64] = &[
    2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1,
];
/// Seconds from a change that the watch shows to the answer to our patch.
const TRANSITION_BUCKETS: &[f64] = &[
    1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Those of the Go controller: the API knows the time of a transition to the second only.
const RECONCILIATION_BUCKETS: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
/// Those of the Go controller, in seconds.
const BOOTSTRAP_BUCKETS: &[f64] = &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0];
/// A second, to a day.
const HOLD_BUCKETS: &[f64] = &[
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0,
];

/// The series of one rule.
#[derive(Debug)]
pub(super) struct RuleMetrics {
    evaluation: Histogram,
    policy: Histogram,
    policy_errors: IntCounterVec,
    evaluation_errors: IntCounter,
    last_reconciliation: Gauge,
    hold: Histogram,
    add: Operation,
    remove: Operation,
    bootstrap: Option<Bootstrap>,
    /// In the order of the rule's conditions.
    conditions: Vec<IntCounter>,
}

/// What is measured of adding a taint, and of removing one.
#[derive(Debug)]
struct Operation {
    done: IntCounter,
    failed: IntCounter,
    reconciliation: Histogram,
    transition: Histogram,
}

/// What is measured of a rule that is `bootstrap-only`.
#[derive(Debug)]
struct Bootstrap {
    completed: IntCounter,
    duration: Histogram,
}

impl Operation {
    fn new(rule: &str, short: &str, long: &str, reason: &str) -> Result<Self, Error> {
        Ok(Self {
            done: IntCounter::with_opts(
                Opts::new(
                    "node_readiness_taint_operations_total",
                    "Taints that were added to or removed from nodes.",
                )
                .const_label("rule", rule)
                .const_label("operation", short),
            )?,
            failed: failures(rule, reason)?,
            reconciliation: Histogram::with_opts(
                histogram(
                    rule,
                    "node_readiness_reconciliation_latency_seconds",
                    "From the latest transition of the rule's conditions, as the node says it, to the taint's change.",
                    RECONCILIATION_BUCKETS,
                )
                .const_label("operation", long),
            )?,
            transition: Histogram::with_opts(
                histogram(
                    rule,
                    "node_readiness_transition_latency_seconds",
                    "From the moment when the node became due, as by a change that was watched, to the taint's change.",
                    TRANSITION_BUCKETS,
                )
                .const_label("operation", long),
            )?,
        })
    }
}

fn histogram(rule: &str, name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .const_label("rule", rule)
        .buckets(buckets.to_vec())
}

fn failures(rule: &str, reason: &str) -> Result<IntCounter, Error> {
    IntCounter::with_opts(
        Opts::new(
            "node_readiness_failures_total",
            "Evaluations and taint changes that failed. A change that failed counts as both.",
        )
        .const_label("rule", rule)
        .const_label("reason", reason),
    )
}

impl RuleMetrics {
    pub(super) fn new(rule: &Rule) -> Result<Self, Error> {
        let name = rule.name.as_str();
        let condition = |requirement: &Requirement| {
            IntCounter::with_opts(
                Opts::new(
                    "node_readiness_condition_failures_total",
                    "Evaluations of a node in which the condition was not as the rule requires.",
                )
                .const_label("rule", name)
                .const_label("condition", &requirement.condition),
            )
        };
        let bootstrap = || -> Result<Bootstrap, Error> {
            Ok(Bootstrap {
                completed: IntCounter::with_opts(
                    Opts::new(
                        "node_readiness_bootstrap_completed_total",
                        "Nodes whose bootstrap was completed.",
                    )
                    .const_label("rule", name),
                )?,
                duration: Histogram::with_opts(histogram(
                    name,
                    "node_readiness_bootstrap_duration_seconds",
                    "From the creation of a node to the latest transition of the rule's conditions, for nodes not older than the rule.",
                    BOOTSTRAP_BUCKETS,
                ))?,
            })
        };
        let is_bootstrap = rule.enforcement == Enforcement::BootstrapOnly;
        Ok(Self {
            evaluation: Histogram::with_opts(histogram(
                name,
                "node_readiness_evaluation_duration_seconds",
                "Evaluation of the rule on a node, with the write that followed.",
                DEFAULT_BUCKETS,
            ))?,
            policy: Histogram::with_opts(histogram(
                name,
                "node_readiness_policy_duration_seconds",
                "Run of the rule's policy for one node.",
                POLICY_BUCKETS,
            ))?,
            policy_errors: IntCounterVec::new(
                Opts::new(
                    "node_readiness_policy_errors_total",
                    "Runs of the rule's policy that gave no decision.",
                )
                .const_label("rule", name),
                &["type"],
            )?,
            evaluation_errors: failures(name, "EvaluationError")?,
            last_reconciliation: Gauge::with_opts(
                Opts::new(
                    "node_readiness_rule_last_reconciliation_timestamp_seconds",
                    "When the rule was last brought up to date, as Unix time.",
                )
                .const_label("rule", name),
            )?,
            hold: Histogram::with_opts(histogram(
                name,
                "node_readiness_hold_duration_seconds",
                "From the moment when the rule added its taint to a node, or took it over, to its removal.",
                HOLD_BUCKETS,
            ))?,
            add: Operation::new(name, "add", "add_taint", "AddTaintError")?,
            remove: Operation::new(name, "remove", "remove_taint", "RemoveTaintError")?,
            bootstrap: is_bootstrap.then(bootstrap).transpose()?,
            conditions: rule
                .requirements
                .iter()
                .map(condition)
                .collect::<Result<_, _>>()?,
        })
    }

    /// All series. Counters begin with 0; a histogram that has seen nothing says nothing.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let Self {
            evaluation,
            policy,
            policy_errors,
            evaluation_errors,
            last_reconciliation,
            hold,
            add,
            remove,
            bootstrap,
            conditions,
        } = self;
        let mut histograms = vec![evaluation, policy, hold];
        let mut counters = vec![evaluation_errors];
        for operation in [add, remove] {
            histograms.extend([&operation.reconciliation, &operation.transition]);
            counters.extend([&operation.done, &operation.failed]);
        }
        if let Some(Bootstrap {
            completed,
            duration,
        }) = bootstrap
        {
            histograms.push(duration);
            counters.push(completed);
        }
        counters.extend(conditions);
        let mut families = policy_errors.collect();
        if last_reconciliation.get() > 0.0 {
            families.extend(last_reconciliation.collect());
        }
        families.extend(counters.into_iter().flat_map(Collector::collect));
        let seen = histograms
            .into_iter()
            .filter(|histogram| histogram.get_sample_count() > 0);
        families.extend(seen.flat_map(Collector::collect));
        families
    }

    fn reconciled(&self, now: Timestamp) {
        // Exact to the millisecond until the year 287396.
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 fit into 53 bits"
        )]
        self.last_reconciliation
            .set(now.as_millisecond() as f64 / 1e3);
    }

    fn evaluated(&self, rule: &Rule, node: &Node, verdict: &Verdict, outcome: &Outcome) {
        if let Err(failure) = &verdict.result {
            self.policy_errors.with_label_values(&[failure.kind]).inc();
        }
        match &outcome.state {
            State::Failed(_) => self.evaluation_errors.inc(),
            State::Decides | State::Conflict { .. } | State::OverBudget => {}
            // The Go controller does not look at these.
            _ => return,
        }
        for (requirement, failures) in rule.requirements.iter().zip(&self.conditions) {
            if !is_met(requirement, node) {
                failures.inc();
            }
        }
    }

    fn failed(&self, outcome: &Outcome) {
        match outcome.action {
            Action::AddTaint => self.add.failed.inc(),
            Action::RemoveTaint => self.remove.failed.inc(),
            Action::CompleteBootstrap => {}
            // Its completions may be still there.
            Action::None if outcome.state == State::Terminating => {}
            Action::None => return,
        }
        self.evaluation_errors.inc();
    }

    fn changed(&self, rule: &Rule, outcome: &Outcome, change: &Change<'_>) {
        let &Change { node, now, .. } = change;
        let operation = match outcome.action {
            Action::AddTaint => Some(&self.add),
            Action::RemoveTaint => Some(&self.remove),
            Action::CompleteBootstrap => None,
            Action::None => return,
        };
        let transition = latest_transition(rule, node);
        if let Some(operation) = operation {
            operation.done.inc();
            // Else it is the selector, or the rule's end, that was answered.
            if matches!(outcome.state, State::Decides | State::Completed) {
                if let Some(transition) = transition {
                    let latency = seconds(transition, now).max(0.0);
                    operation.reconciliation.observe(latency);
                }
                if let Some(due) = change.due {
                    operation.transition.observe(due.as_secs_f64());
                }
            }
        }
        if outcome.action == Action::RemoveTaint {
            let mut records = change.records.iter();
            let ours = records.find(|record| record.is_of(rule) && record.is_for(&rule.taint));
            if let Some(since) = ours.and_then(|record| record.since) {
                self.hold.observe(seconds(since, now).max(0.0));
            }
        }
        let Some(bootstrap) = self.bootstrap.as_ref().filter(|_| outcome.completes) else {
            return;
        };
        bootstrap.completed.inc();
        // An older node was not waited for all its life.
        if let (Action::RemoveTaint, Some(transition), Some(node), Some(rule)) =
            (outcome.action, transition, node.created, rule.created)
            && node >= rule
            && transition >= node
        {
            bootstrap.duration.observe(seconds(node, transition));
        }
    }
}

/// A node that was patched.
#[derive(Debug)]
struct Change<'a> {
    /// As it was before.
    node: &'a Node,
    /// Who owned which of its taints.
    records: &'a [Record],
    /// How long it has been due.
    due: Option<Duration>,
    now: Timestamp,
}

/// Is the condition as required? A status that the API does not know never is.
fn is_met(requirement: &Requirement, node: &Node) -> bool {
    match node.condition(&requirement.condition) {
        Some(found) => found.status == Observed::Known(requirement.required),
        None => requirement.fallback.unwrap_or(Status::Unknown) == requirement.required,
    }
}

/// When one of the rule's conditions changed last, as the node says.
fn latest_transition(rule: &Rule, node: &Node) -> Option<Timestamp> {
    let conditions = rule
        .requirements
        .iter()
        .filter_map(|requirement| node.condition(&requirement.condition));
    conditions.filter_map(|condition| condition.changed).max()
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

impl Metrics {
    /// A node was decided about; `error` says why the part about a taint was not carried out.
    pub(crate) fn note(
        &self,
        node: &Node,
        decided: &Decided<'_>,
        error: impl Fn(&TaintId) -> Option<String>,
    ) {
        let (now, timing) = (Timestamp::now(), &decided.timing);
        let with_write = timing.started.elapsed();
        for (index, active) in decided.rules.iter().enumerate() {
            let (Some(metrics), Some(outcome)) = (
                self.rule(&active.rule.uid),
                decided.plan.outcomes.get(index),
            ) else {
                continue;
            };
            if outcome.state.is_open() {
                continue;
            }
            if let Some(Some(verdict)) = decided.verdicts.get(index) {
                let run = timing.policies.get(index).copied().unwrap_or_default();
                let policy = run.took;
                metrics.policy.observe(policy.as_secs_f64());
                let wrote = outcome.action != Action::None;
                let evaluation = if wrote { with_write } else { policy };
                metrics.evaluation.observe(evaluation.as_secs_f64());
                metrics.evaluated(&active.rule, node, verdict, outcome);
                self.evaluated(&active.rule.policy, verdict, run);
            }
            if error(&active.rule.taint).is_some() {
                metrics.failed(outcome);
            } else if !active.stalled {
                metrics.reconciled(now);
            }
        }
    }

    /// A plan was carried out. `node` is as it was before, and has been due for so long.
    pub(crate) fn changed(
        &self,
        node: &Node,
        decided: &Decided<'_>,
        prefixes: &TaintPrefixes,
        due: Option<Duration>,
    ) {
        let records = ownership::read(node, prefixes);
        let change = Change {
            node,
            records: &records,
            due,
            now: Timestamp::now(),
        };
        for (active, outcome) in decided.rules.iter().zip(&decided.plan.outcomes) {
            if let Some(metrics) = self.rule(&active.rule.uid) {
                metrics.changed(&active.rule, outcome, &change);
            }
        }
    }

    /// A rule itself, its finalizer and its status, is up to date.
    pub(crate) fn reconciled(&self, uid: &str) {
        if let Some(metrics) = self.rule(uid) {
            metrics.reconciled(Timestamp::now());
        }
    }
}
