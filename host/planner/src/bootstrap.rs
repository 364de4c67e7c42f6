//! The record of a completed bootstrap: an annotation on the node, as the Go controller writes it.

use serde::{Deserialize, Serialize};

use crate::facts::Node;
use crate::question::Completion;
use crate::rule::Rule;

/// Before the rule's UID, or in its older form before the rule's name.
pub const PREFIX: &str = "readiness.k8s.io/bootstrap-completed-";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Value {
    rule_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
}

/// Key and value that record the completion of a rule.
pub fn annotation(rule: &Rule) -> (String, String) {
    let owner = if rule.uid.is_empty() {
        &rule.name
    } else {
        &rule.uid
    };
    // A struct of strings always serializes.
    let value = Value {
        rule_name: rule.name.clone(),
        boot_id: None,
    };
    (
        format!("{PREFIX}{owner}"),
        serde_json::to_string(&value).unwrap_or_default(),
    )
}

/// The keys on the node that say that this rule is complete, in either form. A rule from a file
/// has no UID: there the name in the value must do.
pub fn keys(node: &Node, rule: &Rule) -> Vec<String> {
    let named = |value: &str| read(value).map(|value| value.rule_name == rule.name);
    let ours = |suffix: &str, value: &str| {
        // A rule may have the UID of another for its name.
        (suffix == rule.name && named(value) != Some(false))
            || (!rule.uid.is_empty() && suffix == rule.uid)
            || (rule.uid.is_empty() && named(value) == Some(true))
    };
    let completions = node
        .annotations
        .iter()
        .filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    completions
        .filter(|(_, suffix, value)| ours(suffix, value))
        .map(|(key, ..)| key.clone())
        .collect()
}

/// Was the bootstrap of this rule completed on this node?
pub fn completion(node: &Node, rule: &Rule) -> Completion {
    let keys = keys(node, rule);
    if keys.is_empty() {
        return Completion::None;
    }
    let earlier = |key: &String| {
        let boot_id = node
            .annotations
            .get(key)
            .and_then(|value| read(value)?.boot_id);
        boot_id.is_some_and(|boot_id| boot_id != node.boot_id)
    };
    if keys.iter().all(earlier) {
        Completion::EarlierBoot
    } else {
        Completion::ThisBoot
    }
}

/// Key and value by which a rule takes over the completion of the one that it replaces; none if there
/// is none, or the rule has its own.
pub fn inherited(node: &Node, rule: &Rule, replaced: &Rule) -> Option<(String, String)> {
    if completion(node, rule) != Completion::None {
        return None;
    }
    let theirs = keys(node, replaced);
    let value = read(node.annotations.get(theirs.first()?)?);
    let (key, _) = annotation(rule);
    let value = Value {
        rule_name: rule.name.clone(),
        boot_id: value.and_then(|value| value.boot_id),
    };
    Some((key, serde_json::to_string(&value).ok()?))
}

/// As [`completion`], where a rule that replaces another counts that one's as well.
pub fn completion_with(node: &Node, rule: &Rule, replaced: Option<&Rule>) -> Completion {
    match (completion(node, rule), replaced) {
        (Completion::None, Some(replaced)) => completion(node, replaced),
        (own, _) => own,
    }
}

fn read(value: &str) -> Option<Value> {
    serde_json::from_str(value).ok()
}
