//! The sentences were compared with those of the API server in `tests/cluster`.

use super::*;

fn rule() -> Value {
    json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": {"name": "agent", "labels": {"a": "b"}},
        "spec": {
            "conditions": [{"type": "example.com/A", "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"},
            "nodeSelector": {"matchLabels": {"a": "b"}}}})
}

/// Sets (or, with null, removes) one field of a good rule.
fn with(place: &str, value: Value) -> Value {
    let mut rule = rule();
    let (parent, field) = place.rsplit_once('/').unwrap();
    let parent = rule.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(map) if value.is_null() => drop(map.remove(field)),
        parent => parent[field] = value,
    }
    rule
}

fn problems(raw: &Value) -> Vec<String> {
    check(raw, &TaintPrefixes::default())
        .iter()
        .map(Problem::to_string)
        .collect()
}

#[test]
fn a_good_rule_has_no_problem_and_decodes() {
    assert_eq!(problems(&rule()), [""; 0]);
    let full = with("/spec/nodeSelector", json!({}));
    assert_eq!(problems(&full), [""; 0]);
    let decoded = decode(rule(), &TaintPrefixes::default()).unwrap();
    assert_eq!(decoded.spec.taint.key, "readiness.k8s.io/agent");
    let mut stored = rule();
    stored["status"] = json!({"nodes": {"weighed": 3}, "appliedNodes": ["n"]});
    stored["metadata"]["managedFields"] = json!([]);
    assert_eq!(problems(&stored), [""; 0]);
}

#[test]
fn each_problem_has_its_field() {
    let long = "x".repeat(64);
    let cases = [
        (with("/spec", json!(null)), "spec: Required value"),
        (with("/specs", json!({})), "specs: unknown field"),
        (
            with("/spec/conditons", json!([])),
            "spec.conditons: unknown field",
        ),
        (
            with("/metadata/name", json!(null)),
            "metadata.name: Required value: name or generateName is required",
        ),
        (
            with("/metadata/name", json!("Agent")),
            "metadata.name: Invalid value: \"Agent\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        ),
        (
            with("/spec/taint", json!(null)),
            "spec.taint: Required value",
        ),
        (
            with("/spec/taint/effekt", json!("x")),
            "spec.taint.effekt: unknown field",
        ),
        (
            with("/spec/dryRun", json!("yes")),
            "spec.dryRun: Invalid value: \"string\": spec.dryRun in body must be of type boolean: \"string\"",
        ),
        (
            with("/spec/enforcementMode", json!("once")),
            "spec.enforcementMode: Unsupported value: \"once\": supported values: \"bootstrap-only\", \"continuous\"",
        ),
        (
            with("/spec/conditions", json!([])),
            "spec.conditions: Invalid value: 0: spec.conditions in body should have at least 1 items",
        ),
        (
            with(
                "/spec/conditions",
                json!([{"type": "A", "requiredStatus": "True"}, {"type": "A", "requiredStatus": "False"}]),
            ),
            "spec.conditions[1]: Duplicate value: {\"type\":\"A\"}",
        ),
        (
            with("/spec/conditions", json!([{"type": "A"}])),
            "spec.conditions[0].requiredStatus: Required value",
        ),
        (
            with(
                "/spec/conditions",
                json!([{"type": "", "requiredStatus": "True"}]),
            ),
            "spec.conditions[0].type: Invalid value: \"\": spec.conditions[0].type in body should be at least 1 chars long",
        ),
        (
            with(
                "/spec/conditions",
                json!([{"type": "x".repeat(317), "requiredStatus": "True"}]),
            ),
            "spec.conditions[0].type: Too long: may not be more than 316 bytes",
        ),
        (
            with("/spec/nodeSelector", json!({"matchLabels": {"a": 1}})),
            "spec.nodeSelector.matchLabels.a: Invalid value: \"integer\": spec.nodeSelector.matchLabels.a in body must be of type string: \"integer\"",
        ),
        (
            with("/spec/taint/key", json!("x/agent")),
            "spec.taint: taint key must start with 'readiness.k8s.io/'",
        ),
        (
            with("/spec/taint/key", json!("readiness.k8s.io/a/b")),
            "spec.taint: taint key must have exactly one '/' separator (prefix/name format)",
        ),
        (
            with("/spec/taint/key", json!(format!("readiness.k8s.io/{long}"))),
            "spec.taint: taint key name part must be 1-63 characters",
        ),
        (
            with("/spec/taint/key", json!("readiness.k8s.io/-a")),
            "spec.taint: taint key name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        ),
        (
            with("/spec/taint/value", json!(long)),
            "spec.taint: taint value length must be at most 63 characters",
        ),
        (
            with("/spec/taint/effect", json!("Evict")),
            "spec.taint: taint effect must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'",
        ),
    ];
    for (raw, problem) in cases {
        assert_eq!(problems(&raw), [problem]);
    }
}

#[test]
fn all_problems_are_listed() {
    let mut raw = with("/spec/taint/key", json!("a/b/c"));
    raw["spec"]["dryRun"] = json!(1);
    raw["spec"]["conditions"] = (0..33)
        .map(|index| json!({"type": format!("C{index}"), "requiredStatus": "True"}))
        .collect();
    assert_eq!(
        problems(&raw),
        [
            "spec.conditions: Too many: 33: must have at most 32 items",
            "spec.dryRun: Invalid value: \"integer\": spec.dryRun in body must be of type boolean: \"integer\"",
            "spec.taint: taint key must start with 'readiness.k8s.io/'",
            "spec.taint: taint key must have exactly one '/' separator (prefix/name format)",
        ]
    );
    assert_eq!(decode(raw, &TaintPrefixes::default()).unwrap_err().len(), 4);
    assert_eq!(problems(&json!([])), [": not an object"]);
}

#[test]
fn null_counts_as_absent() {
    let mut raw = rule();
    raw["spec"]["dryRun"] = Value::Null;
    raw["spec"]["nodeSelector"]["matchLabels"]["x"] = Value::Null;
    raw["spec"]["conditions"][0]["defaultStatus"] = Value::Null;
    assert_eq!(problems(&raw), [""; 0]);
    assert_eq!(
        decode(raw, &TaintPrefixes::default()).unwrap().spec,
        decode(rule(), &TaintPrefixes::default()).unwrap().spec
    );
    let mut raw = rule();
    raw["spec"]["taint"]["key"] = Value::Null;
    raw["spec"]["later"] = Value::Null;
    assert_eq!(
        problems(&raw),
        [
            "spec.later: unknown field",
            "spec.taint.key: Required value"
        ]
    );
}

#[test]
fn metadata_of_a_wrong_shape_is_a_problem() {
    let problems = decode(
        with("/metadata/labels", json!(["a"])),
        &TaintPrefixes::default(),
    )
    .unwrap_err();
    assert_eq!(problems[0].field, "metadata");
    let problems =
        decode(with("/metadata", json!("agent")), &TaintPrefixes::default()).unwrap_err();
    assert_eq!(problems[0].field, "metadata.name");
}
