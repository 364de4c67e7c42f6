//! The record of a completed bootstrap: an annotation on the node, as the Go controller writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Node;
use crate::question::Completion;
use crate::rule::Rule;

/// Before the rule's UID, or in its older form before the rule's name.
pub const PREFIX: &str = "readiness.k8s.io/bootstrap-completed-";

/// The condition that the kubelet writes in the same moment as the boot.
const READY: &str = "Ready";

/// The annotation's value. The Go controller reads no more than that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Value {
    rule_name: String,
    /// `status.nodeInfo.bootID` when it was completed. Only where each boot has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    /// The boot after that one, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rebooted: Option<Reboot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Reboot {
    boot_id: String,
    /// Heartbeats up to then are of an earlier boot.
    after: Timestamp,
}

/// Key and value that record the completion of a rule, whatever the boot.
pub fn annotation(rule: &Rule) -> (String, String) {
    let value = Value {
        rule_name: rule.name.clone(),
        ..Value::default()
    };
    (key(rule), write(&value))
}

/// Key and value that record that a rule is completed now; in this boot, if each has to be.
pub(crate) fn complete(node: &Node, rule: &Rule, per_boot: bool) -> (String, String) {
    let value = Value {
        rule_name: rule.name.clone(),
        boot_id: boot_id(node).filter(|_| per_boot).map(str::to_owned),
        rebooted: None,
    };
    (key(rule), write(&value))
}

fn key(rule: &Rule) -> String {
    let owner = if rule.uid.is_empty() {
        &rule.name
    } else {
        &rule.uid
    };
    format!("{PREFIX}{owner}")
}

/// A node that does not say in which boot it is tells nothing about reboots.
fn boot_id(node: &Node) -> Option<&str> {
    Some(node.boot_id.as_str()).filter(|id| !id.is_empty())
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
        .map(|(key, ..)| key.to_owned())
        .collect()
}

/// The UIDs of rules that the node's completions name. One under a rule's name is not among them: it may
/// have been left for a rule of that name that is only to come back.
pub fn uids(node: &Node) -> impl Iterator<Item = &str> {
    let suffixes = node.annotations.iter();
    let suffixes = suffixes.filter_map(|(key, _)| key.strip_prefix(PREFIX));
    suffixes.filter(|suffix| is_uid(suffix))
}

/// Is it of the form that the API server gives: `8-4-4-4-12` digits, in lower case?
fn is_uid(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || is_digit(c))
}

/// Was the bootstrap of this rule completed on this node?
pub fn completion(node: &Node, rule: &Rule) -> Completion {
    completion_with(node, rule, None)
}

/// As [`completion`], where a rule that replaces another counts that one's as well.
pub fn completion_with(node: &Node, rule: &Rule, replaced: Option<&Rule>) -> Completion {
    completion_of(node, &records(node, rule, replaced))
}

fn completion_of(node: &Node, records: &[(String, Value)]) -> Completion {
    if records.is_empty() {
        return Completion::None;
    }
    // One without a boot is of an older form, or was written by the Go controller.
    let mut boots = records
        .iter()
        .filter_map(|(_, value)| value.boot_id.as_deref());
    match (boot_id(node), boots.next()) {
        (Some(now), Some(first)) if first != now && boots.all(|boot| boot != now) => {
            Completion::EarlierBoot
        }
        _ => Completion::ThisBoot,
    }
}

/// Where the completion is of an earlier boot: up to when heartbeats are so too. That is the
/// heartbeat of `Ready` at first sight of the new boot, since the kubelet writes both together.
pub fn rebooted(
    node: &Node,
    rule: &Rule,
    replaced: Option<&Rule>,
    now: Timestamp,
) -> Option<Timestamp> {
    rebooted_of(node, &records(node, rule, replaced), now)
}

fn rebooted_of(node: &Node, records: &[(String, Value)], now: Timestamp) -> Option<Timestamp> {
    if completion_of(node, records) != Completion::EarlierBoot {
        return None;
    }
    let mut seen = records
        .iter()
        .filter_map(|(_, value)| value.rebooted.as_ref());
    let seen = seen.find(|reboot| reboot.boot_id == node.boot_id);
    let ready = || node.condition(READY).and_then(|ready| ready.heartbeat);
    Some(seen.map_or_else(|| ready().unwrap_or(now), |reboot| reboot.after))
}

/// What has to change in the records of a completion that is there: a rule takes over that of the one
/// that it replaces, and they say of boots what the policy wants. With `per_boot` that is the boot,
/// and a reboot as soon as it is seen; none: the policy gave no decision.
pub(crate) fn keep(
    node: &Node,
    rule: &Rule,
    replaced: Option<&Rule>,
    per_boot: Option<bool>,
    now: Timestamp,
) -> BTreeMap<String, Option<String>> {
    let mut records = records(node, rule, replaced);
    let after = rebooted_of(node, &records, now);
    match per_boot {
        Some(false) => {
            for (_, value) in &mut records {
                (value.boot_id, value.rebooted) = (None, None);
            }
        }
        Some(true) => stamp(node, rule, after, &mut records),
        None => {}
    }
    // What says the same in other words stays as it is.
    let changed = records.into_iter().filter(|(key, value)| {
        let before = node.annotations.get(key).map(|text| parse(text, rule));
        before.as_ref() != Some(value)
    });
    changed
        .map(|(key, value)| (key, Some(write(&value))))
        .collect()
}

fn stamp(node: &Node, rule: &Rule, after: Option<Timestamp>, records: &mut Vec<(String, Value)>) {
    let Some(boot_id) = boot_id(node).map(str::to_owned) else {
        return;
    };
    if records.is_empty() {
        return;
    }
    let mut stamped = records
        .iter_mut()
        .filter(|(_, value)| value.boot_id.is_some());
    match (after, stamped.next()) {
        (Some(after), Some((_, value))) => value.rebooted = Some(Reboot { boot_id, after }),
        (Some(_), None) | (None, Some(_)) => {}
        // First sight. One under the older key stays as it is.
        (None, None) => {
            let older = format!("{PREFIX}{}", rule.name);
            let newer = records.iter_mut().find(|(key, _)| *key != older);
            if let Some((_, value)) = newer {
                value.boot_id = Some(boot_id);
            } else {
                let value = Value {
                    rule_name: rule.name.clone(),
                    boot_id: Some(boot_id),
                    rebooted: None,
                };
                *records = vec![(key(rule), value)];
            }
        }
    }
}

/// The records of this rule's completion. Where it has none, that of the rule that it replaces, as if
/// it were its own.
fn records(node: &Node, rule: &Rule, replaced: Option<&Rule>) -> Vec<(String, Value)> {
    let of = |rule: &Rule| -> Vec<(String, Value)> {
        let texts = keys(node, rule).into_iter();
        let texts = texts.filter_map(|key| Some((node.annotations.get(&key)?, key)));
        texts.map(|(text, key)| (key, parse(text, rule))).collect()
    };
    let own = of(rule);
    let Some(replaced) = replaced.filter(|_| own.is_empty()) else {
        return own;
    };
    let mut theirs = of(replaced);
    // One with a boot says more.
    theirs.sort_by_key(|(_, value)| value.boot_id.is_none());
    let first = theirs.into_iter().next();
    let rule_name = rule.name.clone();
    let inherited = first.map(|(_, value)| (key(rule), Value { rule_name, ..value }));
    inherited.into_iter().collect()
}

/// One that cannot be read is a completion all the same.
fn parse(text: &str, rule: &Rule) -> Value {
    read(text).unwrap_or_else(|| Value {
        rule_name: rule.name.clone(),
        ..Value::default()
    })
}

fn read(value: &str) -> Option<Value> {
    serde_json::from_str(value).ok()
}

fn write(value: &Value) -> String {
    // A struct of strings always serializes.
    serde_json::to_string(value).unwrap_or_default()
}
