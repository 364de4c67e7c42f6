//! From a file to a case.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Case, Document, Expectation, Kind, Step};
use crate::program::workspace;

/// Every case of the default policy, sorted by name.
///
/// # Errors
///
/// Where a file is not as the README beside it says.
pub fn load_all() -> Result<Vec<Case>> {
    let cases = load_folder(&workspace().join("policies/default/cases"))?;
    for case in &cases {
        let (first, _) = case.name.split_once('-').unwrap_or_default();
        ensure!(
            case.line.is_some() || ["j", "nrc", "parameter"].contains(&first),
            "{}: the name begins neither with a line of the contract nor with j, nrc or parameter",
            case.name
        );
    }
    Ok(cases)
}

/// Every case of a folder, sorted by name.
///
/// # Errors
///
/// Where a file is not as it must be.
pub fn load_folder(folder: &Path) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| load(file)).collect()
}

/// One case.
///
/// # Errors
///
/// Where the file is not as it must be.
pub fn load(file: &Path) -> Result<Case> {
    parse(file).with_context(|| file.display().to_string())
}

fn parse(file: &Path) -> Result<Case> {
    let name = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (first, _) = name
        .split_once('-')
        .context("the name is not NNN-what-it-shows.yaml")?;
    let line = first.parse().ok();
    let text = fs::read_to_string(file)?;
    let what = text
        .lines()
        .next()
        .and_then(|first| first.strip_prefix("# "));
    let what = what
        .context("the first line is no comment that says what the case shows")?
        .to_owned();

    let mut steps = Vec::new();
    let mut documents = Vec::new();
    let mut known = BTreeSet::new();
    for value in serde_saphyr::from_multiple::<Value>(&text)? {
        if value["kind"] == "Expect" {
            let expect: Expectation =
                serde_json::from_value(value).context("an Expect document")?;
            check(&expect, &known)?;
            steps.push(Step {
                documents: std::mem::take(&mut documents),
                expect,
            });
            continue;
        }
        let document = document(value)?;
        known.insert((document.kind, document.name.clone()));
        documents.push(document);
    }
    ensure!(!steps.is_empty(), "there is no Expect document");
    ensure!(
        documents.is_empty(),
        "nothing is expected of the last documents"
    );
    Ok(Case {
        name,
        line,
        what,
        steps,
    })
}

fn document(value: Value) -> Result<Document> {
    let kind = match value["kind"].as_str() {
        Some("NodeReadinessRule") => Kind::Rule,
        Some("Node") => Kind::Node,
        Some("Pod" | "Lease" | "CSINode" | "ResourceSlice" | "DaemonSet") => Kind::Related,
        other => bail!("a document of kind {other:?}"),
    };
    let name = value["metadata"]["name"]
        .as_str()
        .context("a document without metadata.name")?;
    let name = match kind {
        Kind::Related => {
            let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
            format!(
                "{} {namespace}/{name}",
                value["kind"].as_str().unwrap_or_default()
            )
        }
        _ => name.to_owned(),
    };
    Ok(Document { kind, name, value })
}

/// A name that was mistyped would expect nothing.
fn check(expect: &Expectation, known: &BTreeSet<(Kind, String)>) -> Result<()> {
    let nodes = expect
        .results
        .iter()
        .map(|result| &result.node)
        .chain(expect.nodes.iter().map(|node| &node.name));
    for node in nodes {
        ensure!(
            known.contains(&(Kind::Node, node.clone())),
            "there is no node '{node}'"
        );
    }
    let completed = expect
        .nodes
        .iter()
        .flat_map(|node| node.completed.iter().flatten());
    let rules = expect
        .results
        .iter()
        .map(|result| &result.rule)
        .chain(expect.rules.iter().map(|rule| &rule.name));
    for rule in rules.chain(completed) {
        ensure!(
            known.contains(&(Kind::Rule, rule.clone())),
            "there is no rule '{rule}'"
        );
    }
    for result in &expect.results {
        let actions = ["AddTaint", "RemoveTaint", "CompleteBootstrap", "None"];
        ensure!(
            actions.contains(&result.action.as_str()),
            "action: {}",
            result.action
        );
        ensure!(
            ["Present", "Absent"].contains(&result.taint.as_str()),
            "taint: {}",
            result.taint
        );
    }
    Ok(())
}
