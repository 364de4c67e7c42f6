//! What a cluster looks like, without what differs each time: times, versions, UIDs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use cluster_tests::GUIDE_TAINT;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::stage::{AGAINST, Part};
use crate::story::Step;

/// By name; a rule's with `rule/` before it.
pub type Scene = BTreeMap<String, Value>;

const BREAK_GLASS: &str = "readiness.node.x-k8s.io/break-glass";
const FREEZE: &str = "readiness.node.x-k8s.io/freeze-all";

pub async fn look(part: &Part) -> anyhow::Result<Scene> {
    let mut scene = Scene::new();
    let mut uids = BTreeMap::new();
    for rule in part.cluster.rules().list(&part.all()).await? {
        uids.insert(rule.uid().unwrap_or_default(), rule.name_any());
        let shown = json!({
            "finalizers": rule.finalizers(), "annotations": rule.annotations(),
            "goes": rule.metadata.deletion_timestamp.is_some(), "generation": rule.metadata.generation,
            "taint": [rule.spec.taint.key, rule.spec.taint.effect], "replaces": rule.spec.replaces,
            "status": rule.status,
        });
        scene.insert(format!("rule/{}", rule.name_any()), shown);
    }
    for node in part.cluster.nodes().list(&part.all()).await? {
        let ours = |(key, _): &(&String, &String)| {
            key.contains("readiness") && key.as_str() != BREAK_GLASS
        };
        let annotations: BTreeMap<_, _> = (node.annotations().iter().filter(ours))
            .map(|(key, text)| {
                let parsed = serde_json::from_str::<Value>(text);
                (key.clone(), parsed.unwrap_or_else(|_| text.clone().into()))
            })
            .collect();
        let name = node.name_any();
        let spec = node.spec.unwrap_or_default();
        let mut taints = spec.taints.unwrap_or_default();
        taints.sort_by(|one, two| one.key.cmp(&two.key));
        let conditions = node.status.unwrap_or_default().conditions;
        let conditions: BTreeMap<_, _> = (conditions.unwrap_or_default().into_iter())
            .map(|condition| (condition.type_, condition.status))
            .collect();
        let shown =
            json!({ "annotations": annotations, "taints": taints, "conditions": conditions });
        scene.insert(name, shown);
    }
    let mut whole = json!(scene);
    drop_times(&mut whole);
    let mut text = whole.to_string().replace(&part.named(""), "");
    for (uid, name) in &uids {
        text = text.replace(uid, &name.replacen(&part.named(""), "", 1));
    }
    serde_json::from_str(&text).context("a scene")
}

fn drop_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // The records of owners and of boots say since when.
            let is_time = |key: &String| key.ends_with("Time") || key == "since" || key == "after";
            map.retain(|key, _| !is_time(key));
            map.values_mut().for_each(drop_times);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_times),
        _ => {}
    }
}

/// Where two differ.
pub fn difference(wanted: &Scene, seen: &Scene) -> Option<String> {
    let mut found = Vec::new();
    differ("", &json!(wanted), &json!(seen), &mut found);
    (!found.is_empty()).then(|| found.join("\n  "))
}

fn differ(place: &str, wanted: &Value, seen: &Value, found: &mut Vec<String>) {
    match (wanted, seen) {
        (Value::Object(one), Value::Object(two)) => {
            let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let place = format!("{place}/{key}");
                differ(&place, &wanted[key.as_str()], &seen[key.as_str()], found);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (index, (wanted, seen)) in one.iter().zip(two).enumerate() {
                differ(&format!("{place}/{index}"), wanted, seen, found);
            }
        }
        _ if wanted != seen => found.push(format!("{place} is {seen} and should be {wanted}")),
        _ => {}
    }
}

/// What is not yet as it should be at the end of a step, or is not true of what is in the scene.
pub fn unsettled(step: &Step, scene: &Scene) -> Option<String> {
    let mut held = BTreeSet::new();
    for (name, node) in scene.iter().filter(|(name, _)| !name.starts_with("rule/")) {
        for taint in node["taints"].as_array().into_iter().flatten() {
            let key = taint["key"].as_str().unwrap_or_default();
            if key == GUIDE_TAINT {
                held.insert(name.clone());
            } else if let Some(other) = key.strip_prefix(api::rule::TAINT_PREFIX) {
                held.insert(format!("{name}/{other}"));
            }
        }
    }
    let wanted: BTreeSet<String> = step.held.iter().map(ToString::to_string).collect();
    if held != wanted {
        return Some(format!("{held:?} are held, and not {wanted:?}"));
    }
    let rules = |scene: &Scene| {
        let rules = scene.iter().filter_map(|(name, rule)| {
            Some((name.strip_prefix("rule/")?.to_owned(), rule.clone()))
        });
        rules.collect::<Vec<_>>()
    };
    let rules = rules(scene);
    if rules.len() != step.rules.len() {
        return Some(format!("there are the rules {rules:?}"));
    }
    for ((name, rule), (expected, reason)) in rules.iter().zip(step.rules) {
        let untrue = untrue(rule, scene);
        let ready = &rule["status"]["conditions"][0];
        if name != expected || ready["type"] != "Ready" || ready["reason"] != *reason {
            return Some(format!("{name}: {ready}, and not {expected}: {reason}"));
        }
        if let Some(untrue) = untrue {
            return Some(format!("the status of {name} is not true: {untrue}"));
        }
    }
    None
}

/// What a rule's status says and is not so.
fn untrue(rule: &Value, scene: &Scene) -> Option<String> {
    let status = &rule["status"];
    if rule["generation"] != status["observedGeneration"] {
        return Some("of another generation".to_owned());
    }
    let message = status["conditions"][0]["message"].as_str();
    let says_none = message.is_some_and(|message| message.contains("and there is none"));
    let replaced = rule["replaces"].as_str();
    if says_none != replaced.is_some_and(|name| !scene.contains_key(&format!("rule/{name}"))) {
        return Some(format!("{message:?} about {replaced:?}"));
    }
    if let Some(untrue) = untrue_freeze(&status["conditions"][0], scene) {
        return Some(untrue);
    }
    // A patch that is only tried again later ends by itself; what the API server is against does not.
    let mut failed = status["failedNodes"].as_array().into_iter().flatten();
    let is_refusal = |message: &str| message.contains(AGAINST);
    if let Some(failure) = failed.find(|node| !node["message"].as_str().is_some_and(is_refusal)) {
        return Some(failure.to_string());
    }
    let counts = &status["nodes"];
    let listed = status["nodeEvaluations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if counts.is_null() {
        // It cannot be used: then nothing is said of nodes.
        return (!listed.is_empty()).then(|| "nodes and no counts".to_owned());
    }
    if counts["pending"] != 0 || counts["matched"] != listed.len() {
        return Some(counts.to_string());
    }
    for evaluation in &listed {
        let node = evaluation["nodeName"]
            .as_str()
            .and_then(|name| scene.get(name));
        let Some(node) = node else {
            return Some(format!("there is no node {}", evaluation["nodeName"]));
        };
        let taints = node["taints"].as_array().into_iter().flatten();
        let mut taints = taints.map(|taint| json!([taint["key"], taint["effect"]]));
        let present = taints.any(|taint| taint == rule["taint"]);
        if (evaluation["taintStatus"] == "Present") != present {
            return Some(evaluation.to_string());
        }
        for result in evaluation["conditionResults"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = result["type"].as_str().unwrap_or_default();
            let status = node["conditions"].get(name).cloned();
            if result["currentStatus"] != status.unwrap_or_else(|| "Unknown".into()) {
                return Some(evaluation.to_string());
            }
        }
    }
    None
}

/// Whether every rule is frozen is written on a rule. Until it is there a status says that it is about to be,
/// and a moment later that it is.
fn untrue_freeze(ready: &Value, scene: &Scene) -> Option<String> {
    let says_so = ready["reason"] == "Frozen";
    let rules = scene.iter().filter(|(name, _)| name.starts_with("rule/"));
    let carried = rules.filter_map(|(name, rule)| {
        let (name, why) = (
            name.strip_prefix("rule/")?,
            rule["annotations"][FREEZE].as_str()?,
        );
        Some(format!("by annotation {FREEZE} of rule '{name}': {why}"))
    });
    let carried: Vec<String> = carried.collect();
    let message = ready["message"].as_str().unwrap_or_default();
    let is_so = if says_so {
        carried
            .iter()
            .any(|carried| message.contains(carried.as_str()))
    } else {
        // One that cannot be used says that first.
        carried.is_empty() || ready["reason"] == "InvalidRule"
    };
    (!is_so).then(|| format!("{ready}, and the annotations are {carried:?}"))
}

/// What a rule says of a freeze that is about to be written down is in between, though it is true for a moment.
#[test]
fn a_freeze_is_at_rest_when_it_is_written_down_and_every_rule_says_so() {
    let step = Step {
        does: vec![],
        held: &[],
        rules: &[("agent", "Frozen"), ("other", "Frozen")],
    };
    let scene = |annotations: [Value; 2], says: [&str; 2]| {
        let rule = |annotations: &Value, says: &str| {
            let message = format!("every rule is frozen {says}: why");
            let ready = json!({ "type": "Ready", "reason": "Frozen", "message": message });
            let status = json!({ "observedGeneration": 1, "conditions": [ready],
                                 "nodes": { "matched": 0, "pending": 0 } });
            json!({ "generation": 1, "annotations": annotations, "status": status })
        };
        let rules = ["rule/agent", "rule/other"].into_iter().map(str::to_owned);
        let shown = annotations.iter().zip(says);
        rules
            .zip(shown.map(|(annotations, says)| rule(annotations, says)))
            .collect::<Scene>()
    };
    let carries = json!({ FREEZE: "why" });
    let tries = "by this host, which tries to say so";
    let written = format!("by annotation {FREEZE} of rule 'agent'");
    let written = written.as_str();
    let (on, off) = (|| [carries.clone(), json!({})], [json!({}), json!({})]);
    assert_eq!(unsettled(&step, &scene(on(), [written, written])), None);
    for between in [
        scene(off.clone(), [tries, tries]),
        scene(on(), [tries, tries]),
        scene(on(), [written, tries]),
        // It was just taken off.
        scene(off, [written, written]),
    ] {
        assert!(unsettled(&step, &between).is_some(), "{between:?}");
    }
    let released = Step {
        rules: &[("agent", "Enforced"), ("other", "Enforced")],
        ..step
    };
    let mut thawed = scene(on(), [written, written]);
    for rule in thawed.values_mut() {
        rule["status"]["conditions"][0]["reason"] = "Enforced".into();
    }
    assert!(unsettled(&released, &thawed).is_some());
}
