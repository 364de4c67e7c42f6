//! Stories of the compatibility contract as files: what is put in place, and what must come of it.
//!
//! The format is described in `policies/default/cases/README.md`.

mod compare;
mod eval;
mod load;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

pub use compare::compare;
pub use eval::Eval;
pub use load::{load, load_all, load_folder};

/// One file.
#[derive(Debug)]
pub struct Case {
    /// Name of the file, without its ending.
    pub name: String,
    /// Line of the contract, if the name begins with a number.
    pub line: Option<u32>,
    /// What it shows, in a sentence.
    pub what: String,
    /// In order; at least one.
    pub steps: Vec<Step>,
}

/// What is put in place, and what must come of it.
#[derive(Debug)]
pub struct Step {
    /// Objects to create or to change, in order.
    pub documents: Vec<Document>,
    /// What must be so then.
    pub expect: Expectation,
}

/// An object, or in a later step a merge patch (RFC 7386) of one that is there.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// `metadata.name`; of what belongs to a node with its kind and namespace.
    pub name: String,
    /// All of it.
    pub value: Value,
}

/// The kinds of objects in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `NodeReadinessRule`
    Rule,
    /// `Node`
    Node,
    /// An object that belongs to a node: `Pod`, `Lease`, `CSINode`, `ResourceSlice`; or a `DaemonSet`.
    Related,
}

/// An `Expect` document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    #[serde(rename = "kind")]
    _kind: String,
    /// All results, and no others.
    pub results: Vec<ExpectedResult>,
    /// Those nodes that matter.
    #[serde(default)]
    pub nodes: Vec<ExpectedNode>,
    /// Those rules whose status matters.
    #[serde(default)]
    pub rules: Vec<ExpectedRule>,
}

/// What must come of a rule on a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedResult {
    /// Name of the node.
    pub node: String,
    /// Name of the rule.
    pub rule: String,
    /// `AddTaint`, `RemoveTaint`, `CompleteBootstrap` or `None`.
    pub action: String,
    /// `Present` or `Absent`, afterwards.
    pub taint: String,
    /// Is the completion recorded in this step?
    #[serde(default)]
    pub complete_bootstrap: bool,
    /// The policy's word for it, or the host's.
    #[serde(default)]
    pub reason: Option<String>,
    /// What a rule with `dryRun` would do.
    #[serde(default)]
    pub dry_run_action: Option<String>,
    /// `conditionResults` of the rule's status.
    #[serde(default)]
    pub conditions: Option<Vec<Value>>,
}

/// What must be on a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedNode {
    /// Name of the node.
    pub name: String,
    /// All taints but the cluster's own, as `key=value:effect`.
    pub taints: Vec<String>,
    /// Names of the rules whose completion is recorded under their UID.
    #[serde(default)]
    pub completed: Option<Vec<String>>,
    /// Among others; none: must not be there.
    #[serde(default)]
    pub annotations: BTreeMap<String, Option<String>>,
}

/// What must be in a rule's status.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedRule {
    /// Name of the rule.
    pub name: String,
    /// `status.dryRunResults`
    pub dry_run_results: Value,
}

/// What there is after a step.
#[derive(Debug, Default)]
pub struct Observed {
    /// One for each rule and node that it selects, or lets go in this step.
    pub results: Vec<ObservedResult>,
    /// The node objects by name.
    pub nodes: BTreeMap<String, Value>,
    /// The rule objects by name, with their status, where somebody writes it.
    pub rules: Option<BTreeMap<String, Value>>,
}

/// What came of a rule on a node. What an executor cannot see is none, and is not compared.
#[derive(Debug, Default)]
pub struct ObservedResult {
    /// Name of the node.
    pub node: String,
    /// Name of the rule.
    pub rule: String,
    /// `Present` or `Absent`.
    pub taint: String,
    /// As in [`ExpectedResult::action`].
    pub action: Option<String>,
    /// As in [`ExpectedResult::complete_bootstrap`].
    pub complete_bootstrap: Option<bool>,
    /// As in [`ExpectedResult::reason`].
    pub reason: Option<String>,
    /// As in [`ExpectedResult::dry_run_action`]; the outer none: cannot be seen.
    pub dry_run_action: Option<Option<String>>,
    /// As in [`ExpectedResult::conditions`].
    pub conditions: Option<Vec<Value>>,
}

/// Somebody who can play a case: offline, or in a cluster.
pub trait Executor {
    /// Creates an object, or changes one that is there. The host may begin its work once the
    /// first step is complete, not before: at the first [`Executor::observe`].
    fn apply(&mut self, document: &Document) -> Result<()>;

    /// `metadata.uid` of a rule that was applied.
    fn uid(&self, rule: &str) -> Option<String>;

    /// What there is once the host has done its work. A host that works in the background needs
    /// time: then this observes until [`compare`] finds no difference, or it cannot wait longer.
    fn observe(&mut self, expected: &Expectation) -> Result<Observed>;
}

/// Plays a case from its first step to its last.
///
/// # Errors
///
/// Where a step cannot be played, or something else came of it than what must come.
pub fn play(case: &Case, executor: &mut impl Executor) -> Result<()> {
    for (index, step) in case.steps.iter().enumerate() {
        let place = || format!("{}, step {} ({})", case.name, index + 1, case.what);
        for document in &step.documents {
            let mut document = document.clone();
            document.value = fill(&document.value, executor).with_context(place)?;
            executor.apply(&document).with_context(place)?;
        }
        let mut expect = step.expect.clone();
        for node in &mut expect.nodes {
            node.annotations = fill_keys(&node.annotations, executor).with_context(place)?;
        }
        let uids = expect
            .nodes
            .iter()
            .flat_map(|node| node.completed.iter().flatten());
        let uids: BTreeMap<String, String> = uids
            .filter_map(|rule| Some((rule.clone(), executor.uid(rule)?)))
            .collect();
        let observed = executor.observe(&expect).with_context(place)?;
        let differences = compare(&expect, &observed, &uids);
        if !differences.is_empty() {
            bail!("{}:\n  {}", place(), differences.join("\n  "));
        }
    }
    Ok(())
}

/// `{uid:NAME}` in keys of annotations.
fn fill(value: &Value, executor: &impl Executor) -> Result<Value> {
    let mut value = value.clone();
    if let Some(annotations) = value
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        let map = std::mem::take(annotations);
        for (key, value) in map {
            annotations.insert(fill_key(&key, executor)?, value);
        }
    }
    Ok(value)
}

fn fill_keys<V: Clone>(
    map: &BTreeMap<String, V>,
    executor: &impl Executor,
) -> Result<BTreeMap<String, V>> {
    map.iter()
        .map(|(key, value)| Ok((fill_key(key, executor)?, value.clone())))
        .collect()
}

fn fill_key(key: &str, executor: &impl Executor) -> Result<String> {
    let Some((before, rest)) = key.split_once("{uid:") else {
        return Ok(key.to_owned());
    };
    let (rule, after) = rest
        .split_once('}')
        .with_context(|| format!("{key}: no }} after {{uid:"))?;
    let uid = executor
        .uid(rule)
        .with_context(|| format!("{key}: there is no rule '{rule}' yet"))?;
    Ok(format!("{before}{uid}{after}"))
}
