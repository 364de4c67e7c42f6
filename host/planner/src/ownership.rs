//! Which rule put which taint on a node: one annotation on the node itself, so that a taint is
//! released when its rule or the match goes away, whoever was down meanwhile.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Node;
use crate::rule::{Effect, Rule, TaintId, TaintPrefixes};

/// Key of the annotation. Its value is a JSON array of [`Record`]s, sorted; absent when empty.
pub const ANNOTATION: &str = "readiness.node.x-k8s.io/taint-owners";

/// A taint that a rule added to a node, or took over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Key of the taint.
    pub key: String,
    /// Effect of the taint.
    pub effect: Effect,
    /// `metadata.uid` of the rule.
    #[serde(rename = "ruleUID")]
    pub rule_uid: String,
    /// Name of the rule, for people; decides only where the rule has no UID.
    pub rule: String,
    /// When the rule became the owner. A gate at birth has no clock and leaves it out: there it is
    /// when the node was created. None where that is not known either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Reason of the policy's decision then.
    pub reason: String,
    /// Does it not count against the rule's budget? So where the rule found the taint there, and
    /// where the node was young when it was held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
}

impl Record {
    /// A record of a taint that `rule` owns from `since` on.
    pub fn new(id: &TaintId, rule: &Rule, since: Timestamp, reason: &str) -> Self {
        Self {
            key: id.key.clone(),
            effect: id.effect,
            rule_uid: rule.uid.clone(),
            rule: rule.name.clone(),
            since: Some(since),
            reason: reason.to_owned(),
            free: false,
        }
    }

    /// The taint.
    pub fn id(&self) -> TaintId {
        TaintId {
            key: self.key.clone(),
            effect: self.effect,
        }
    }

    /// Is it about this taint?
    pub fn is_for(&self, id: &TaintId) -> bool {
        self.effect == id.effect && self.key == id.key
    }

    /// Is this rule the owner? A rule from a file has no UID: there the name must do.
    pub fn is_of(&self, rule: &Rule) -> bool {
        if rule.uid.is_empty() {
            self.rule == rule.name
        } else {
            self.rule_uid == rule.uid
        }
    }
}

/// The records on a node, sorted, one of each taint. What cannot be read counts as no record: then nothing is
/// released that cannot be proven to be ours. Nor is a record of a taint that no rule can have: a
/// kubelet may write its node's annotations and not its taints, and must not take off by our hand
/// what an operator put there. Of several records of one taint the latest counts: a rule that takes a taint
/// over is its owner since then.
pub fn read(node: &Node, prefixes: &TaintPrefixes) -> Vec<Record> {
    let records = parsed(node).filter(|record| prefixes.vouch_for(record));
    let mut records: Vec<Record> = records
        .map(|record| Record {
            since: record.since.or(node.created),
            ..record
        })
        .collect();
    records.sort_by(|one, two| two.since.cmp(&one.since).then(one.cmp(two)));
    let mut taints = BTreeSet::new();
    records.retain(|record| taints.insert(record.id()));
    records.sort();
    records
}

/// Records of taints that are on the node and about which nobody knows anything: not their rule, nor such a key.
/// They stay: a host that is told more releases them.
pub fn unknown(node: &Node, prefixes: &TaintPrefixes) -> Vec<Record> {
    let unknown = |record: &Record| !prefixes.vouch_for(record) && node.has_taint(&record.id());
    parsed(node).filter(unknown).collect()
}

fn parsed(node: &Node) -> impl Iterator<Item = Record> {
    let values = values(node).unwrap_or_default().into_iter();
    values.filter_map(|value| serde_json::from_value(value).ok())
}

/// What is wrong with the annotation; none if every record in it can be read and is of a taint that
/// a rule can have. The taint of a record that cannot be read is nobody's.
pub fn problem(node: &Node, prefixes: &TaintPrefixes) -> Option<String> {
    let values = match values(node) {
        Ok(values) => values,
        Err(error) => return Some(format!("it is no JSON array: {error}")),
    };
    let problem = |(index, value): (usize, serde_json::Value)| match serde_json::from_value::<Record>(
        value,
    ) {
        Ok(record) if prefixes.vouch_for(&record) => None,
        Ok(record) => Some(format!(
            "entry {index}: no rule manages taint {}, nor can one without a further --taint-key-prefix",
            record.id()
        )),
        Err(error) => Some(format!("entry {index}: {error}")),
    };
    values.into_iter().enumerate().find_map(problem)
}

fn values(node: &Node) -> Result<Vec<serde_json::Value>, serde_json::Error> {
    let text = node.annotations.get(ANNOTATION);
    text.map_or(Ok(Vec::new()), serde_json::from_str)
}

/// The annotation's value for these records; none if there are none.
pub(crate) fn write(records: &[Record]) -> Option<String> {
    if records.is_empty() {
        return None;
    }
    // A struct of strings always serializes.
    serde_json::to_string(records).ok()
}
