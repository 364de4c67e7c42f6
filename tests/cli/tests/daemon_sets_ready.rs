//! DaemonSets and pods among the nodes: what a policy is told that asks which DaemonSets should run on a node.

mod common;

use cli_tests::program::Output;
use common::{every_case_passes, json};
use serde_json::{Value, json};

const POLICY: &str = "daemon-sets-ready";
const PARAMETERS: &str = "{daemonSets: [{namespace: a, labels: {tier: node}, readyFor: 1m}]}";

const SET: &str = "apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cni, namespace: a, labels: {tier: node}}
spec: {template: {spec: {}}}";
const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: cni-1
  namespace: a
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: cni, uid: u, controller: true}]
spec: {nodeName: worker}
status: {phase: Running, conditions: [{type: Ready, status: \"True\", lastTransitionTime: \"2026-01-01T23:59:30Z\"}]}";

fn decided(objects: &[&str]) -> Output {
    common::decided(POLICY, PARAMETERS, objects)
}

/// The result for the only node.
fn result(output: &Output) -> Value {
    assert_eq!(output.status, 0, "{}", output.stderr);
    json(&output.stdout)["results"][0].clone()
}

#[test]
fn every_case_of_daemon_sets_ready_passes_through_eval() {
    every_case_passes(POLICY);
}

#[test]
fn what_was_asked_about_daemon_sets_and_answered_is_told() {
    let output = decided(&[SET, POD]);
    assert_eq!(output.stderr, "");
    let result = result(&output);
    assert_eq!(result["reason"], "DaemonSetsNotReady");
    assert_eq!(result["askAgainAt"], "2026-01-02T00:00:30Z");
    let which = json!({"namespace": "a", "labels": [{"key": "tier", "value": "node"}]});
    let asked = json!([
        {"question": "all-daemon-set-pods-ready", "daemonSets": which, "atLeastMs": 60_000, "answer": false,
         "until": "2026-01-02T00:00:30Z"},
        {"question": "has-daemon-set", "daemonSets": which, "answer": true}
    ]);
    assert_eq!(
        result["facts"].as_array().unwrap()[1..],
        *asked.as_array().unwrap()
    );
}

/// A taint that a rule may have with a further prefix is no reason not to wait.
#[test]
fn taints_of_further_prefixes_are_those_of_rules() {
    let node = common::NODE
        .replace("status: \"False\"", "status: \"True\"")
        .replace(
            "status:\n",
            "spec: {taints: [{key: example.com/other, effect: NoSchedule}]}\nstatus:\n",
        );
    let objects = [&node, SET].join("\n---\n");
    let rule = common::rule_with(POLICY, PARAMETERS);
    let built_in = format!("{POLICY}=builtin:{POLICY}");
    let answer = |more: &[&str]| {
        let arguments = [&["-ojson", "--policy", &built_in], more].concat();
        let result = result(&common::eval(&rule, &objects, &arguments));
        result["facts"].as_array().unwrap().last().unwrap()["answer"].clone()
    };
    assert_eq!(answer(&[]), false);
    assert_eq!(answer(&["--taint-key-prefix", "example.com/"]), true);
}

#[test]
fn where_nobody_gave_daemon_sets_or_pods_that_is_told() {
    let note = |objects: &str| {
        format!(
            "note: policy \"daemon-sets-ready\" asks about {objects}, and none was given: it is told that no node has any; \
             `kubectl get nodes,{objects} -A -o yaml` prints both\n"
        )
    };
    let both = note("pods") + &note("daemonsets");
    for (objects, said) in [
        (&[] as &[_], both),
        (&[SET], note("pods")),
        (&[POD], note("daemonsets")),
    ] {
        let output = decided(objects);
        assert_eq!((output.status, output.stderr), (0, said));
    }
}
