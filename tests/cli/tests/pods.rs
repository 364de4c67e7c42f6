//! Pods among the nodes: what a policy is told that asks about them.

mod common;

use cli_tests::program::Output;
use common::{NODE, RULE, eval, every_case_passes, json, refused, rule_with};
use serde_json::json;

const POLICY: &str = "pods-ready";
const PARAMETERS: &str = "{pods: [{namespace: security, daemonSet: agent}]}";
const BUILT_IN: [&str; 2] = ["--policy", "pods-ready=builtin:pods-ready"];

/// A pod of the agent on the node, Ready since the beginning of the year.
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"agent-x","namespace":"security","uid":"u","managedFields":[{}],
"ownerReferences":[{"kind":"DaemonSet","name":"agent","controller":true}]},"spec":{"nodeName":"worker","containers":[{"name":"a"}]},
"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;

fn decided(objects: &[&str]) -> Output {
    common::decided(POLICY, PARAMETERS, objects)
}

#[test]
fn every_case_of_pods_ready_passes_through_eval() {
    every_case_passes(POLICY);
}

#[test]
fn what_was_asked_about_pods_and_answered_is_told() {
    let output = decided(&[POD]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    let result = &report["results"][0];
    assert_eq!(result["reason"], "PodsReady");
    let which =
        json!({"namespace": "security", "controller": {"kind": "DaemonSet", "name": "agent"}});
    assert_eq!(
        result["facts"][1],
        json!({"question": "all-pods-ready", "pods": which, "atLeastMs": 0, "answer": true})
    );
}

#[test]
fn as_kubectl_prints_them_and_with_the_kind_at_the_end() {
    let last = POD.replacen(r#""kind":"Pod","#, "", 1);
    let last = format!(r#"{},"kind":"Pod"}}"#, last.strip_suffix('}').unwrap());
    for pod in [POD, &last] {
        let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"worker","labels":{"pool":"agent"}},
                       "status":{"conditions":[{"type":"example.com/AgentReady","status":"True"}]}}"#;
        let list = format!(
            r#"{{"apiVersion":"v1","items":[{node},{pod}],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
        );
        let rule = rule_with(POLICY, PARAMETERS);
        let output = eval(&rule, &list, &[&BUILT_IN[..], &["-ojson"]].concat());
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert_eq!(json(&output.stdout)["results"][0]["reason"], "PodsReady");
    }
}

#[test]
fn where_nobody_gave_pods_that_is_told() {
    let output = decided(&[]);
    assert_eq!(output.status, 0);
    assert_eq!(
        output.stderr,
        "note: policy \"pods-ready\" asks about pods, and none was given: it is told that no node has any; \
         `kubectl get nodes,pods -A -o yaml` prints both\n"
    );
    let report = json(&output.stdout);
    assert_eq!(
        report["results"][0]["message"],
        "DaemonSet security/agent: there is no pod on the node"
    );
}

#[test]
fn pods_that_cannot_be_read_and_policies_that_do_not_exist() {
    let output = decided(&["apiVersion: v1\nkind: Pod\nmetadata: {namespace: a}"]);
    let said = &output.stderr;
    assert_eq!(output.status, 2, "{said}");
    assert!(
        said.contains("this Pod cannot be read: missing field `name`"),
        "{said}"
    );
    let output = decided(&["apiVersion: v2\nkind: Pod\nmetadata: {name: a}"]);
    assert!(
        output.stderr.contains("a Pod has `apiVersion: v1`"),
        "{}",
        output.stderr
    );
    let output = eval(RULE, NODE, &["--policy", "builtin:steady"]);
    refused(
        &output,
        "error: --policy builtin:steady: there is no \"steady\"; this host has default, csi-ready, daemon-sets-ready, devices-ready, heartbeat, pods-ready",
    );
}
