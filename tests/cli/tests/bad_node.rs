//! Nodes of files that no API server would have: refused with the place of the field, and nothing
//! is evaluated.

mod common;

use cli_tests::program::host_in;
use common::{NODE, RULE, eval, folder_with, host_among, json, refused};

const NO_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";

/// Rules are checked before nodes: no node comes this far with a bad rule.
fn node_is_refused(node: &str, expected: &str) {
    refused(&eval(RULE, node, &[]), expected);
}

/// It is evaluated: a node that has just registered may look like this.
#[test]
fn a_node_without_status_shows_no_condition_and_is_named() {
    let (bare, _) = NODE.split_once("status:").unwrap();
    let output = eval(RULE, bare, &["-ojson"]);
    assert_eq!(output.status, 0);
    assert_eq!(
        output.stderr,
        "note: node worker has no status: all its conditions count as absent\n"
    );
    let result = &json(&output.stdout)["results"][0];
    assert_eq!(result["action"], "AddTaint");
    assert_eq!(result["conditions"][0]["currentStatus"], "Unknown");
}

#[test]
fn a_node_without_a_name() {
    refused(
        &eval(RULE, &NODE.replace("  name: worker\n", ""), &[]),
        "error: node.yaml:1:1: this Node has no metadata.name",
    );
    let item = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":""}}"#;
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{item}]}}"#);
    refused(
        &eval(RULE, &list, &[]),
        "error: node.yaml, item 1: this Node has no metadata.name",
    );
}

#[test]
fn a_name_that_no_node_can_have() {
    let node = NODE.replace("name: worker", "name: Worker_1");
    node_is_refused(
        &node,
        &format!(
            "error: node.yaml:4:3: node 'Worker_1': metadata.name: Invalid value: \"Worker_1\": {NO_SUBDOMAIN}"
        ),
    );
    node_is_refused(
        &NODE.replace("name: worker", "name: 12"),
        "error: node.yaml:4:3: metadata.name: Invalid value: \"integer\": metadata.name in body must be of type string: \"integer\"",
    );
}

#[test]
fn labels_that_no_node_can_have() {
    let words =
        "has only letters, digits, '-', '_' and '.', and begins and ends with a letter or digit";
    node_is_refused(
        &NODE.replace(
            "{pool: agent}",
            "{pool: agent, a b: x, example.com/c: \"not ok!\"}",
        ),
        &format!(
            "error: node.yaml:5:25: node 'worker': metadata.labels.a b: Invalid value: \"a b\": the name part of a key {words}\n\
             error: node.yaml:5:33: node 'worker': metadata.labels.example.com/c: Invalid value: \"not ok!\": a value {words}"
        ),
    );
    node_is_refused(
        &NODE.replace("pool: agent", "pool: true, empty:"),
        "error: node.yaml:5:12: node 'worker': metadata.labels.pool: Invalid value: \"boolean\": metadata.labels.pool in body must be of type string: \"boolean\"\n\
         error: node.yaml:5:24: node 'worker': metadata.labels.empty: Invalid value: \"null\": metadata.labels.empty in body must be of type string: \"null\"",
    );
}

#[test]
fn a_condition_whose_status_yaml_takes_for_a_boolean() {
    node_is_refused(
        &NODE.replace("\"False\"", "False"),
        "error: node.yaml:8:36: node 'worker': status.conditions[0].status: Invalid value: \"boolean\": status.conditions[0].status in body must be of type string: \"boolean\"",
    );
}

/// Every mistake of a file is told, those of whole objects too.
#[test]
fn many_mistakes_in_many_nodes() {
    let nodes = [
        NODE.replace("name: worker", "name: A"),
        NODE.replace("v1", "v2"),
        NODE.replace("name: worker", "name: B"),
        NODE.replace("worker", "fine"),
    ];
    node_is_refused(
        &nodes.join("---\n"),
        &format!(
            "error: node.yaml:10:1: this Node has apiVersion v2: a node has `apiVersion: v1` and `kind: Node`\n\
             error: node.yaml:4:3: node 'A': metadata.name: Invalid value: \"A\": {NO_SUBDOMAIN}\n\
             error: node.yaml:22:3: node 'B': metadata.name: Invalid value: \"B\": {NO_SUBDOMAIN}"
        ),
    );
}

/// JSON has places as well: it is read as YAML once there is a mistake in it.
#[test]
fn a_mistake_in_json() {
    let node = |name: &str, status: &str| {
        format!(
            "{{\n    \"metadata\": {{\"name\": \"{name}\"}},\n    \"status\": {{\"conditions\": [{{\"type\": \"A\", \"status\": {status}}}]}}\n}}"
        )
    };
    let list = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"NodeList\", \"items\": [\n{},\n{}\n]}}",
        node("good", "\"True\""),
        node("bad_name", "true"),
    );
    let output = host_among(
        &[("rule.yaml", RULE), ("nodes.json", &list)],
        &["eval", "--rule", "rule.yaml", "--node", "nodes.json"],
    );
    refused(
        &output,
        &format!(
            "error: nodes.json:8:45: node 'bad_name': status.conditions[0].status: Invalid value: \"boolean\": status.conditions[0].status in body must be of type string: \"boolean\"\n\
             error: nodes.json:7:18: node 'bad_name': metadata.name: Invalid value: \"bad_name\": {NO_SUBDOMAIN}"
        ),
    );
}

#[test]
fn of_a_folder_the_files_are_read_and_no_sub_folder() {
    let folder = folder_with(&[("rule.yaml", RULE)]);
    let nodes = folder.path().join("nodes");
    std::fs::create_dir_all(nodes.join("more")).unwrap();
    std::fs::write(nodes.join("one.YML"), NODE).unwrap();
    std::fs::write(nodes.join("notes.txt"), "no YAML: [").unwrap();
    std::fs::write(nodes.join("more/two.yaml"), NODE.replace("worker", "other")).unwrap();
    let arguments = ["eval", "--rule", "rule.yaml", "--node", "nodes", "-ojson"];
    let output = host_in(folder.path(), &arguments, &[]).unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    let nodes: Vec<_> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["node"])
        .collect();
    assert_eq!(nodes, ["worker"]);
    let help = host_in(folder.path(), &["eval", "--help"], &[]).unwrap();
    let help = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("files that end in .yaml, .yml or .json are read, in the order of their names; sub-folders are not"), "{help}");
}
