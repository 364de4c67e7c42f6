//! The one JSON patch that carries a plan to its node.
//!
//! It conflicts only where something that it depends on has changed: the node itself, the taints,
//! or one of our own annotations. A lock on the resource version would conflict with every
//! heartbeat of a kubelet; no lock would drop the taint that another controller has just added.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
};
use planner::facts::Texts;
use planner::plan::{Changes, NewTaint};
use planner::rule::TaintId;
use serde_json::{Map, Value};

use crate::node::Node;

/// The patch that makes `changes` on `node`, as long as the node still is as it was read; none if
/// there is nothing to change.
///
/// Where a test of the patch fails the API server answers 422: read the node again and plan again.
/// A test against `null` passes where the field is absent, as it does for the API server and not
/// for every implementation of RFC 6902.
pub fn node_patch(node: &Node, changes: &Changes) -> Option<Patch> {
    if *changes == Changes::default() {
        return None;
    }
    let old = node.taints();
    let mut edit = taints(old.as_deref().unwrap_or_default(), changes);
    let mut tests = vec![
        test(
            &["metadata", "uid"],
            Some(&node.facts.uid)
                .filter(|uid| !uid.is_empty())
                .map(|uid| uid.as_str().into()),
        ),
        // Also where only an annotation changes: what it records depends on the taints.
        test(&["spec", "taints"], old.map(Value::from)),
    ];
    annotations(
        &node.facts.annotations,
        &changes.annotations,
        &mut tests,
        &mut edit,
    );
    if edit.is_empty() {
        return None;
    }
    tests.append(&mut edit);
    Some(Patch(tests))
}

/// Others' entries stay as they were read, in their order.
fn taints(old: &[Value], changes: &Changes) -> Vec<PatchOperation> {
    let mut new: Vec<Value> = (old.iter())
        .filter(|raw| !changes.remove.iter().any(|id| is(raw, id)))
        .cloned()
        .collect();
    for taint in &changes.add {
        // The API server refuses two taints with one key and effect.
        if !new.iter().any(|raw| is(raw, &taint.id)) {
            new.push(entry(taint));
        }
    }
    if new == old {
        return Vec::new();
    }
    let path = pointer(&["spec", "taints"]);
    vec![if new.is_empty() {
        PatchOperation::Remove(RemoveOperation { path })
    } else {
        // Also replaces.
        PatchOperation::Add(AddOperation {
            path,
            value: new.into(),
        })
    }]
}

fn annotations(
    old: &Texts,
    new: &BTreeMap<String, Option<String>>,
    tests: &mut Vec<PatchOperation>,
    edit: &mut Vec<PatchOperation>,
) {
    const MAP: [&str; 2] = ["metadata", "annotations"];
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(key) != value.as_deref());
    if old.is_empty() {
        let map: Map<_, _> = changed
            .filter_map(|(key, value)| Some((key.clone(), value.as_deref()?.into())))
            .collect();
        if !map.is_empty() {
            tests.push(test(&MAP, None));
            edit.push(PatchOperation::Add(AddOperation {
                path: pointer(&MAP),
                value: map.into(),
            }));
        }
        return;
    }
    for (key, value) in changed {
        let place = [MAP[0], MAP[1], key];
        let path = pointer(&place);
        let before = old.get(key);
        tests.push(test(&place, before.map(Value::from)));
        edit.push(match (before, value.as_deref().map(Value::from)) {
            (Some(_), Some(value)) => PatchOperation::Replace(ReplaceOperation { path, value }),
            (None, Some(value)) => PatchOperation::Add(AddOperation { path, value }),
            (_, None) => PatchOperation::Remove(RemoveOperation { path }),
        });
    }
}

fn is(raw: &Value, id: &TaintId) -> bool {
    raw["key"] == id.key.as_str() && raw["effect"] == id.effect.as_str()
}

fn entry(taint: &NewTaint) -> Value {
    let mut entry = Map::new();
    entry.insert("key".to_owned(), taint.id.key.as_str().into());
    if let Some(value) = &taint.value {
        entry.insert("value".to_owned(), value.as_str().into());
    }
    entry.insert("effect".to_owned(), taint.id.effect.as_str().into());
    entry.into()
}

fn test(tokens: &[&str], value: Option<Value>) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(tokens),
        value: value.unwrap_or(Value::Null),
    })
}

fn pointer(tokens: &[&str]) -> PointerBuf {
    // Escapes `/` and `~`, which keys of taints and annotations are full of.
    PointerBuf::from_tokens(tokens.iter().copied())
}

#[cfg(test)]
mod tests;
