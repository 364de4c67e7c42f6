//! The result of `host eval` as programs read it: a versioned shape, described field by field in
//! `docs/eval-output.md`.

use std::collections::BTreeMap;

use controller::decide::Decided;
use jiff::Timestamp;
use planner::facts::Node;
use planner::ownership;
use planner::plan::{Action, Outcome, Plan, State};
use planner::question::Read;
use planner::rule::{Effect, Status, TaintPrefixes};
use planner::status::condition_results;
use planner::verdict::Verdict;
use serde::Serialize;

/// Changes when a field changes its meaning or goes. New fields may come.
const API_VERSION: &str = "eval.node-readiness/v1alpha1";

/// Everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    api_version: &'static str,
    kind: &'static str,
    now: Timestamp,
    /// Sorted by node, then rule.
    pub results: Vec<Entry>,
    /// Sorted by node.
    changes: Vec<NodeChanges>,
}

/// One rule on one node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub node: String,
    pub rule: String,
    policy: PolicyIdentity,
    pub action: Action,
    pub complete_bootstrap: bool,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run_action: Option<Action>,
    pub taint: TaintChange,
    pub reason: String,
    pub message: String,
    conditions: Vec<Condition>,
    facts: Vec<Read>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_again_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

#[derive(Debug, Serialize)]
struct PolicyIdentity {
    name: String,
    version: String,
    digest: String,
}

/// The rule's taint on the node.
#[derive(Debug, Serialize)]
pub struct TaintChange {
    key: String,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    pub before: Presence,
    pub after: Presence,
}

/// Is it there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Presence {
    Present,
    Absent,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    current_status: Status,
    required_status: Status,
    default_status: Status,
}

/// Why a policy gave no decision.
#[derive(Debug, Serialize)]
pub struct Error {
    pub kind: &'static str,
    pub message: String,
}

/// What one patch of a node would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeChanges {
    node: String,
    add_taints: Vec<Taint>,
    remove_taints: Vec<Taint>,
    annotations: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Serialize)]
struct Taint {
    key: String,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Report {
    /// An empty one.
    pub fn new(now: Timestamp) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Evaluation",
            now,
            results: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Adds what was decided about a node.
    pub fn add(&mut self, node: &Node, decided: &Decided<'_>, prefixes: &TaintPrefixes) {
        let Decided {
            rules,
            verdicts,
            plan,
            seats: _,
            timing: _,
        } = decided;
        let records = ownership::read(node, prefixes);
        for ((active, verdict), outcome) in rules.iter().zip(verdicts).zip(&plan.outcomes) {
            let rule = &active.rule;
            let selected = active.selector.matches(&node.labels);
            let owns = records
                .iter()
                .any(|record| record.is_of(rule) && record.is_for(&rule.taint));
            // A rule may have been looked at only because it might own a taint here.
            if !(selected || owns || outcome.action != Action::None) {
                continue;
            }
            let policy = &active.policy;
            self.results.push(Entry {
                node: node.name.clone(),
                rule: rule.name.clone(),
                policy: PolicyIdentity {
                    name: policy.name().to_owned(),
                    version: policy.version().to_owned(),
                    digest: policy.digest().to_owned(),
                },
                action: outcome.action,
                complete_bootstrap: outcome.completes,
                dry_run: rule.dry_run,
                dry_run_action: dry_run_action(outcome),
                taint: TaintChange {
                    key: rule.taint.key.clone(),
                    effect: rule.taint.effect,
                    value: rule.taint_value.clone(),
                    before: presence(outcome.before),
                    after: presence(outcome.after),
                },
                reason: outcome.reason.clone(),
                message: outcome.message.clone(),
                conditions: condition_results(node, rule)
                    .map(|result| Condition {
                        r#type: result.condition.to_owned(),
                        current_status: result.current,
                        required_status: result.required,
                        default_status: result.fallback,
                    })
                    .collect(),
                facts: verdict
                    .as_ref()
                    .map_or_else(Vec::new, |verdict| verdict.reads.clone()),
                ask_again_at: verdict.as_ref().and_then(Verdict::ask_again_at),
                error: verdict.as_ref().and_then(error),
            });
        }
        self.changes.extend(changes(node, plan));
    }

    /// By node, then rule.
    pub fn sort(&mut self) {
        self.results
            .sort_by(|a, b| (&a.node, &a.rule).cmp(&(&b.node, &b.rule)));
        self.changes.sort_by(|a, b| a.node.cmp(&b.node));
    }

    /// Did a policy give no decision somewhere?
    pub fn has_failures(&self) -> bool {
        self.results.iter().any(|entry| entry.error.is_some())
    }

    /// Has this rule an entry?
    pub fn has_rule(&self, name: &str) -> bool {
        self.results.iter().any(|entry| entry.rule == name)
    }
}

fn dry_run_action(outcome: &Outcome) -> Option<Action> {
    match outcome.state {
        State::DryRun { would, .. } => Some(would),
        _ => None,
    }
}

fn presence(present: bool) -> Presence {
    if present {
        Presence::Present
    } else {
        Presence::Absent
    }
}

fn error(verdict: &Verdict) -> Option<Error> {
    let failure = verdict.result.as_ref().err()?;
    Some(Error {
        kind: failure.kind,
        message: failure.message.clone(),
    })
}

fn changes(node: &Node, plan: &Plan) -> Option<NodeChanges> {
    let changes = &plan.changes;
    if changes.is_empty() {
        return None;
    }
    let add = changes.add.iter().map(|taint| Taint {
        key: taint.id.key.clone(),
        effect: taint.id.effect,
        value: taint.value.clone(),
    });
    let remove = changes.remove.iter().map(|id| Taint {
        key: id.key.clone(),
        effect: id.effect,
        value: None,
    });
    Some(NodeChanges {
        node: node.name.clone(),
        add_taints: add.collect(),
        remove_taints: remove.collect(),
        annotations: changes.annotations.clone(),
    })
}
