//! A node: less strict than a rule, since most of a node is nothing to us.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use super::{Problem, Problems, name};
use crate::names;

/// What the API server would refuse in the name and the labels of a node. Empty: nothing.
pub fn check_node_metadata<'a>(
    node_name: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    name(Some(node_name), &mut problems);
    for (key, value) in labels {
        let found = [
            (key, names::key_problem(key)),
            (value, names::value_problem(value)),
        ];
        for (text, problem) in found {
            if let Some(problem) = problem {
                let field = format!("metadata.labels.{key}");
                problems.add(&field, format!("Invalid value: {text:?}: {problem}"));
            }
        }
    }
    problems.0
}

/// What the API server would refuse in a node, as far as its fields are read at all: a value of
/// another type, and what [`check_node_metadata`] finds.
pub fn check_node(raw: &Value) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    if let Ok(schema) = serde_json::from_value(schema()) {
        let schema: JSONSchemaProps = schema;
        problems.value(&schema, raw, "");
    }
    let metadata = &raw["metadata"];
    for field in ["labels", "annotations"] {
        // Elsewhere a null is as good as nothing.
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            if value.is_null() {
                let path = format!("metadata.{field}.{key}");
                problems.invalid(&path, "\"null\"", "must be of type string: \"null\"");
            }
        }
    }
    // What is no string has a problem already.
    let labels = metadata["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    if let Some(name) = metadata["name"].as_str() {
        problems.0.extend(check_node_metadata(name, labels));
    }
    problems.0
}

/// The fields that are read.
fn schema() -> Value {
    let string = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let strings = json!({"type": "object", "additionalProperties": string});
    // Fields that are not named here may be there.
    let object = |fields: Value| json!({"type": "object", "properties": fields, "additionalProperties": true});
    let list = |items: Value| json!({"type": "array", "items": items});
    object(json!({
        "metadata": object(json!({
            "name": string, "uid": string, "resourceVersion": string,
            "creationTimestamp": time, "deletionTimestamp": time,
            "labels": strings, "annotations": strings,
        })),
        "spec": object(json!({
            "unschedulable": {"type": "boolean"},
            "taints": list(object(json!({"key": string, "value": string, "effect": string}))),
        })),
        "status": object(json!({
            "nodeInfo": object(json!({"bootID": string})),
            "conditions": list(object(json!({
                "type": string, "status": string, "reason": string,
                "lastTransitionTime": time, "lastHeartbeatTime": time,
            }))),
        })),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(raw: &Value) -> Vec<String> {
        let problems = check_node(raw);
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn what_kubectl_prints_has_no_problem() {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "ip-10-0-0-1.eu-west-1.compute.internal", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": null,
                "labels": {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""},
                "annotations": {"a": "any thing"}, "managedFields": [{"fieldsV1": {"f:metadata": {}}}]},
            "spec": {"podCIDRs": ["10.0.0.0/24"], "unschedulable": true, "taints": [
                {"key": "k", "effect": "NewEffect", "timeAdded": "2026-01-02T03:04:05Z", "later": {"x": 1}}]},
            "status": {
                "capacity": {"cpu": "2"}, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
                "nodeInfo": {"bootID": "b", "kernelVersion": "6"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "R", "lastHeartbeatTime": null}]}
        });
        assert_eq!(check_node(&node), []);
    }

    #[test]
    fn each_field_that_the_api_server_would_refuse_is_named() {
        assert_eq!(
            fields(&json!({
                "metadata": {"name": "Worker_1", "annotations": {"a": 1},
                             "labels": {"a b": "x", "c": "not ok!", "d": true, "e": null}},
                "spec": {"unschedulable": "yes", "taints": ["k", {"effect": 1}]},
                "status": {"nodeInfo": {"bootID": 7}, "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "Agent", "status": true},
                    {"type": "Disk", "lastHeartbeatTime": "never"}]}
            })),
            [
                "metadata.annotations.a",
                "metadata.labels.d",
                "spec.taints[0]",
                "spec.taints[1].effect",
                "spec.unschedulable",
                "status.conditions[1].status",
                "status.conditions[2].lastHeartbeatTime",
                "status.nodeInfo.bootID",
                "metadata.labels.e",
                "metadata.name",
                "metadata.labels.a b",
                "metadata.labels.c",
            ]
        );
        assert_eq!(
            fields(&json!({"metadata": {"name": "a"}, "status": []})),
            ["status"]
        );
    }
}
