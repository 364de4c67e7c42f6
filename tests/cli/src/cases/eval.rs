//! Plays cases through `host eval`: objects are values, and what the program says a patch would do
//! is done to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Document, Executor, Expectation, Kind, Observed, ObservedResult};
use crate::program::host;

/// An executor without a cluster.
#[derive(Debug)]
pub struct Eval {
    folder: TempDir,
    policy: Vec<String>,
    rules: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    related: BTreeMap<String, Value>,
}

impl Eval {
    /// Without any object.
    ///
    /// # Errors
    ///
    /// Where no temporary folder can be had.
    pub fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            policy: Vec::new(),
            rules: BTreeMap::new(),
            nodes: BTreeMap::new(),
            related: BTreeMap::new(),
        })
    }

    /// The same with another policy than the default, whose native code is kept in a folder.
    ///
    /// # Errors
    ///
    /// As [`Eval::new`].
    pub fn with_policy(policy: &Path, cache: &Path) -> Result<Self> {
        let [policy, cache] = [policy, cache].map(|path| path.display().to_string());
        Ok(Self {
            policy: vec!["--policy".into(), policy, "--policy-cache".into(), cache],
            ..Self::new()?
        })
    }

    /// The same with a policy for the rules that name it.
    ///
    /// # Errors
    ///
    /// As [`Eval::new`].
    pub fn with_named(name: &str, policy: &Path) -> Result<Self> {
        Ok(Self {
            policy: vec!["--policy".into(), format!("{name}={}", policy.display())],
            ..Self::new()?
        })
    }

    /// What the program says about the objects as they are.
    fn evaluate(&self) -> Result<Value> {
        let rules = self.folder.path().join("rules.yaml");
        let nodes = self.folder.path().join("nodes.json");
        let documents: Vec<_> = self.rules.values().collect();
        fs::write(&rules, serde_saphyr::to_string_multiple(&documents)?)?;
        // As `kubectl get nodes -o json` prints them.
        let items: Vec<_> = self.nodes.values().chain(self.related.values()).collect();
        let list = json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}});
        fs::write(&nodes, list.to_string())?;
        let [rules, nodes] = [rules, nodes].map(|path| path.display().to_string());
        let arguments = [
            "eval",
            "--rule",
            &rules,
            "--node",
            &nodes,
            "--now",
            "2026-01-02T00:00:00Z",
            "-o",
            "json",
        ];
        let policy = self.policy.iter().map(String::as_str);
        let output = host(arguments.into_iter().chain(policy))?;
        ensure!(
            output.status == 0,
            "exit status {}: {}",
            output.status,
            output.stderr
        );
        serde_json::from_str(&output.stdout).context("the result is no JSON")
    }

    fn patch(&mut self, change: &Value) -> Result<()> {
        let name = change["node"].as_str().unwrap_or_default();
        let node = self
            .nodes
            .get_mut(name)
            .with_context(|| format!("a patch of the node {name:?}"))?;
        let list = |field: &str| change[field].as_array().cloned().unwrap_or_default();
        let same =
            |one: &Value, two: &Value| one["key"] == two["key"] && one["effect"] == two["effect"];
        let mut taints = node["spec"]["taints"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for gone in list("removeTaints") {
            let before = taints.len();
            taints.retain(|taint| !same(taint, &gone));
            ensure!(taints.len() < before, "removes {gone}, which is not there");
        }
        for new in list("addTaints") {
            ensure!(
                !taints.iter().any(|taint| same(taint, &new)),
                "adds {new}, which is there"
            );
            taints.push(new);
        }
        let annotations = change["annotations"].clone();
        json_patch::merge(
            node,
            &json!({"spec": {"taints": taints}, "metadata": {"annotations": annotations}}),
        );
        Ok(())
    }
}

impl Executor for Eval {
    fn apply(&mut self, document: &Document) -> Result<()> {
        let count = self.rules.len() + self.nodes.len() + self.related.len();
        let objects = match document.kind {
            Kind::Rule => &mut self.rules,
            Kind::Node => &mut self.nodes,
            Kind::Related => &mut self.related,
        };
        match objects.get_mut(&document.name) {
            Some(object) => json_patch::merge(object, &document.value),
            None => {
                let mut object = document.value.clone();
                let metadata = object["metadata"].as_object_mut().context("no metadata")?;
                metadata.extend(by_the_server(count));
                objects.insert(document.name.clone(), object);
            }
        }
        Ok(())
    }

    fn uid(&self, rule: &str) -> Option<String> {
        self.rules.get(rule)?["metadata"]["uid"]
            .as_str()
            .map(str::to_owned)
    }

    fn observe(&mut self, _expected: &Expectation) -> Result<Observed> {
        let report = self.evaluate()?;
        for change in report["changes"]
            .as_array()
            .context("there are no changes")?
        {
            self.patch(change)?;
        }
        let again = self.evaluate()?;
        ensure!(
            again["changes"] == json!([]),
            "what was changed is changed again: {}",
            again["changes"]
        );
        let results = report["results"]
            .as_array()
            .context("there are no results")?;
        Ok(Observed {
            results: results.iter().map(result).collect(),
            nodes: self.nodes.clone(),
            // Nobody writes a status here.
            rules: None,
        })
    }
}

/// What an API server adds to a new object.
fn by_the_server(count: usize) -> Map<String, Value> {
    let metadata = json!({
        "uid": format!("00000000-0000-4000-8000-{count:012}"),
        "creationTimestamp": format!("2026-01-01T00:{count:02}:00Z"),
        "resourceVersion": count.to_string(),
    });
    metadata.as_object().cloned().unwrap_or_default()
}

fn result(entry: &Value) -> ObservedResult {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ObservedResult {
        node: text(&entry["node"]),
        rule: text(&entry["rule"]),
        taint: text(&entry["taint"]["after"]),
        action: Some(text(&entry["action"])),
        complete_bootstrap: Some(entry["completeBootstrap"] == true),
        reason: Some(text(&entry["reason"])),
        dry_run_action: Some(entry["dryRunAction"].as_str().map(str::to_owned)),
        conditions: entry["conditions"].as_array().cloned(),
    }
}
