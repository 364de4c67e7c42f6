//! What must be, beside what is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde_json::Value;

use super::{Expectation, ExpectedNode, ExpectedResult, Observed, ObservedResult};

/// Keys of taints that the cluster itself puts on nodes.
const CLUSTERS_OWN: &str = "node.kubernetes.io/";

const COMPLETED: &str = "readiness.k8s.io/bootstrap-completed-";

/// Every difference, in words. `uids` holds `metadata.uid` of the rules that are expected to be
/// completed somewhere.
pub fn compare(
    expect: &Expectation,
    observed: &Observed,
    uids: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    for expected in &expect.results {
        let is_it =
            |result: &&ObservedResult| result.node == expected.node && result.rule == expected.rule;
        let place = format!("{} on {}", expected.rule, expected.node);
        match observed.results.iter().find(is_it) {
            Some(found) => differences.result(&place, expected, found),
            None => differences.0.push(format!("{place}: there is no result")),
        }
    }
    for found in &observed.results {
        if !expect
            .results
            .iter()
            .any(|result| result.node == found.node && result.rule == found.rule)
        {
            differences.0.push(format!(
                "{} on {}: no result is expected",
                found.rule, found.node
            ));
        }
    }
    for expected in &expect.nodes {
        match observed.nodes.get(&expected.name) {
            Some(node) => differences.node(expected, node, uids),
            None => differences
                .0
                .push(format!("there is no node {}", expected.name)),
        }
    }
    if let Some(rules) = &observed.rules {
        for expected in &expect.rules {
            let found = rules
                .get(&expected.name)
                .map_or(&Value::Null, |rule| &rule["status"]["dryRunResults"]);
            differences.equal(
                &format!("{}: dryRunResults", expected.name),
                &expected.dry_run_results,
                found,
            );
        }
    }
    differences.0
}

struct Differences(Vec<String>);

impl Differences {
    fn equal<T: PartialEq + Debug + ?Sized>(&mut self, place: &str, expected: &T, found: &T) {
        if expected != found {
            self.0
                .push(format!("{place}: expected {expected:?}, found {found:?}"));
        }
    }

    fn result(&mut self, place: &str, expected: &ExpectedResult, found: &ObservedResult) {
        let ExpectedResult {
            node: _,
            rule: _,
            action,
            taint,
            complete_bootstrap,
            reason,
            dry_run_action,
            conditions,
        } = expected;
        self.equal(&format!("{place}: taint"), taint, &found.taint);
        if let Some(found) = &found.action {
            self.equal(&format!("{place}: action"), action, found);
        }
        if let Some(found) = &found.complete_bootstrap {
            self.equal(
                &format!("{place}: completeBootstrap"),
                complete_bootstrap,
                found,
            );
        }
        if let (Some(reason), Some(found)) = (reason, &found.reason) {
            self.equal(&format!("{place}: reason"), reason, found);
        }
        if let Some(found) = &found.dry_run_action {
            self.equal(&format!("{place}: dryRunAction"), dry_run_action, found);
        }
        if let (Some(conditions), Some(found)) = (conditions, &found.conditions) {
            self.equal(&format!("{place}: conditions"), conditions, found);
        }
    }

    fn node(&mut self, expected: &ExpectedNode, node: &Value, uids: &BTreeMap<String, String>) {
        let ExpectedNode {
            name,
            taints,
            completed,
            annotations,
        } = expected;
        let wanted: BTreeSet<String> = taints.iter().cloned().collect();
        self.equal(&format!("{name}: taints"), &wanted, &taints_of(node));
        let found = |key: &str| node["metadata"]["annotations"][key].as_str();
        for (key, value) in annotations {
            self.equal(
                &format!("{name}: annotation {key}"),
                &value.as_deref(),
                &found(key),
            );
        }
        if let Some(completed) = completed {
            let wanted: BTreeSet<String> = completed
                .iter()
                .map(|rule| {
                    uids.get(rule)
                        .map_or_else(|| format!("UID of {rule}"), String::clone)
                })
                .collect();
            self.equal(
                &format!("{name}: completed"),
                &wanted,
                &completed_on(node, &wanted),
            );
        }
    }
}

/// As `key=value:effect`, or `key:effect` where there is no value.
fn taints_of(node: &Value) -> BTreeSet<String> {
    let taints = node["spec"]["taints"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let text = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
    taints
        .iter()
        .filter(|taint| !text(taint, "key").starts_with(CLUSTERS_OWN))
        .map(|taint| {
            let (key, value, effect) = (
                text(taint, "key"),
                text(taint, "value"),
                text(taint, "effect"),
            );
            if value.is_empty() {
                format!("{key}:{effect}")
            } else {
                format!("{key}={value}:{effect}")
            }
        })
        .collect()
}

/// The UIDs under which a completion is recorded. An older key ends in the name of a rule, which
/// has not the shape of a UID.
fn completed_on(node: &Value, wanted: &BTreeSet<String>) -> BTreeSet<String> {
    let annotations = node["metadata"]["annotations"].as_object();
    let suffixes = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix(COMPLETED));
    suffixes
        .filter(|suffix| wanted.contains(*suffix) || is_uid(suffix))
        .map(str::to_owned)
        .collect()
}

/// Five groups of hexadecimal digits: 8-4-4-4-12.
fn is_uid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12]
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
