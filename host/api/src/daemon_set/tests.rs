use planner::rule::TaintPrefixes;
use serde_json::{Value, json};

use super::*;
use crate::NodeReadinessRule;

const CONDITION: &str = "example.com/AgentReady";

/// A DaemonSet whose only container has the variables of a reporter.
fn daemon_set(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "security"},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "reporter", "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CONDITION_TYPE", "value": CONDITION}]}]}}}});
    change(&mut object);
    object
}

fn pod(change: Value) -> Value {
    daemon_set(|object| {
        let pod = object["spec"]["template"]["spec"].as_object_mut().unwrap();
        pod.extend(change.as_object().unwrap().clone());
    })
}

fn rule(spec: Value) -> NodeReadinessRule {
    let mut rule = json!({
        "metadata": {"name": "agent"},
        "spec": {
            "conditions": [{"type": "Other", "requiredStatus": "True"}, {"type": CONDITION, "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule", "value": "pending"},
            "nodeSelector": {"matchLabels": {"pool": "blue"}}}});
    let changed = rule["spec"].as_object_mut().unwrap();
    changed.extend(spec.as_object().unwrap().clone());
    serde_json::from_value(rule).unwrap()
}

fn blocked_by(object: &Value, rule: &NodeReadinessRule) -> Option<String> {
    let set: DaemonSet = serde_json::from_value(object.clone()).unwrap();
    let (planned, selector) = (rule.to_rule(&TaintPrefixes::default()), rule.selector());
    let blocked = set.blocked_by(&planned.unwrap(), &selector.unwrap());
    blocked.map(|blocked| blocked.to_string())
}

fn is_blocked(object: &Value) -> bool {
    blocked_by(object, &rule(json!({}))).is_some()
}

#[test]
fn who_reports_and_does_not_tolerate_is_named_with_the_toleration() {
    assert_eq!(
        blocked_by(&daemon_set(|_| ()), &rule(json!({}))).unwrap(),
        "DaemonSet security/agent reports example.com/AgentReady, but its pods do not tolerate the taint that waits for it: \
         give them the toleration {key: readiness.k8s.io/agent, operator: Exists, effect: NoSchedule}"
    );
    let tolerant = json!({"tolerations": [{"key": "readiness.k8s.io/agent", "operator": "Exists", "effect": "NoSchedule"}]});
    assert!(!is_blocked(&pod(tolerant)));
    // Equal to the empty value: not the taint of the rule.
    let mistaken =
        json!({"tolerations": [{"key": "readiness.k8s.io/agent", "effect": "NoSchedule"}]});
    assert!(is_blocked(&pod(mistaken)));
}

#[test]
fn a_variable_of_any_container_or_an_annotation_says_what_is_reported() {
    let silent = || pod(json!({"containers": [{"name": "agent"}]}));
    assert!(!is_blocked(&silent()));
    let reporter =
        json!({"name": "reporter", "env": [{"name": "CONDITION_TYPE", "value": CONDITION}]});
    let sidecar = json!({"containers": [{"name": "agent"}], "initContainers": [reporter]});
    assert!(is_blocked(&pod(sidecar)));
    let several = |value: &str| {
        let env = json!([{"name": "CHECKS", "value": value}]);
        pod(json!({"containers": [{"name": "reporter", "env": env}]}))
    };
    let checks = json!([
        {"conditionType": "Other2", "endpoint": "tcp://localhost:1"},
        {"conditionType": CONDITION, "command": ["true"]}]);
    assert!(is_blocked(&several(&checks.to_string())));
    for unreadable in ["", "[", "{}", "[{}]", "[1]"] {
        assert!(!is_blocked(&several(unreadable)), "{unreadable}");
    }
    for place in ["/metadata", "/spec/template/metadata"] {
        let annotated = |value: &str| {
            let mut object = silent();
            let metadata = object.pointer_mut(place).unwrap();
            metadata["annotations"] = json!({ REPORTS: value });
            object
        };
        assert!(is_blocked(&annotated("Other2, example.com/AgentReady ,")));
        assert!(!is_blocked(&annotated("example.com/AgentReady2")));
        assert!(!is_blocked(&annotated("")));
    }
}

#[test]
fn a_taint_that_keeps_nobody_away_blocks_nobody() {
    let object = daemon_set(|_| ());
    let taint =
        |effect: &str| json!({"taint": {"key": "readiness.k8s.io/agent", "effect": effect}});
    assert!(blocked_by(&object, &rule(taint("PreferNoSchedule"))).is_none());
    assert!(blocked_by(&object, &rule(taint("NoExecute"))).is_some());
    // What it would do is what a dry run is asked for.
    assert!(blocked_by(&object, &rule(json!({"dryRun": true}))).is_some());
    let mut going = rule(json!({}));
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert!(blocked_by(&object, &going).is_none());
    let going = daemon_set(|object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    });
    assert!(!is_blocked(&going));
}

#[test]
fn only_where_its_pods_and_the_rule_can_meet() {
    let affinity = |terms: Value| {
        pod(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
    };
    let pool = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "pool", "operator": operator, "values": values}]});
    let cases = [
        (
            pod(json!({"nodeSelector": {"kubernetes.io/os": "linux"}})),
            true,
        ),
        (pod(json!({"nodeSelector": {"pool": "green"}})), false),
        (affinity(json!([pool("NotIn", json!(["blue"]))])), false),
        // One term is enough.
        (
            affinity(json!([
                pool("NotIn", json!(["blue"])),
                pool("Exists", json!(null))
            ])),
            true,
        ),
        (affinity(json!([pool("DoesNotExist", json!(null))])), false),
        (affinity(json!([pool("Gt", json!(["3"]))])), true),
        (affinity(json!([{}])), false),
        (
            affinity(
                json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]),
            ),
            true,
        ),
        // A value that no label can have: it cannot be told what is meant.
        (affinity(json!([pool("In", json!(["not ok!"]))])), true),
    ];
    for (object, expected) in cases {
        assert_eq!(is_blocked(&object), expected, "{object}");
    }
    // Preferred is not required.
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": pool("NotIn", json!(["blue"]))}]}}});
    assert!(is_blocked(&pod(preferred)));
    let both = json!({
        "nodeSelector": {"pool": "green"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [pool("Exists", json!(null))]}}}});
    assert!(!is_blocked(&pod(both)));
}

#[test]
fn what_is_missing_or_null_does_not_spoil_a_list() {
    for object in [
        json!({"metadata": {"name": "a"}}),
        json!({"metadata": {"name": "a", "annotations": null}, "spec": null}),
        json!({"metadata": {"name": "a"}, "spec": {"template": null}}),
        json!({"metadata": {"name": "a"}, "spec": {"template": {"metadata": null, "spec": {
            "containers": null, "initContainers": null, "tolerations": null, "nodeSelector": null, "affinity": null}}}}),
        json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [
            {"env": null}, {"env": [{"name": "CONDITION_TYPE", "value": null}]}], "affinity": {"nodeAffinity": null}}}}}),
    ] {
        assert!(!is_blocked(&object), "{object}");
    }
}
