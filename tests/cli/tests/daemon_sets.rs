//! DaemonSets among the nodes: whose pods report what a rule waits for, and are kept away by its taint.

mod common;

use common::{NODE, RULE, eval, refused};
use serde_json::json;

const AGENT: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: security}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers:
      - name: reporter
        image: reporter
        env: [{name: CONDITION_TYPE, value: example.com/AgentReady}]
";
const WARNING: &str = "warning: rule 'agent': DaemonSet security/agent reports example.com/AgentReady, but its pods do not tolerate \
    the taint that waits for it: give them the toleration {key: readiness.k8s.io/agent, operator: Exists, effect: NoSchedule}\n";
const TOLERATION: &str =
    "      tolerations: [{key: readiness.k8s.io/agent, value: pending, effect: NoSchedule}]\n";

#[test]
fn pods_that_the_taint_keeps_from_reporting_are_warned_about_and_nothing_else_changes() {
    let alone = eval(RULE, NODE, &[]);
    let both = format!("{NODE}---\n{AGENT}");
    let output = eval(RULE, &both, &[]);
    assert_eq!((output.status, &output.stdout), (0, &alone.stdout));
    assert_eq!(output.stderr, WARNING);
    let output = eval(RULE, &format!("{both}{TOLERATION}"), &[]);
    assert_eq!((output.status, &output.stdout), (0, &alone.stdout));
    assert_eq!(output.stderr, "");
}

/// `kubectl get nodes,daemonsets -A -o json`, and the same with the kind after everything else.
#[test]
fn as_kubectl_prints_them() {
    let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"worker","labels":{"pool":"agent"}},"status":{}}"#;
    let annotations = json!({"readiness.node.x-k8s.io/reports": "example.com/AgentReady"});
    let metadata = json!({"name": "agent", "namespace": "security", "annotations": annotations, "managedFields": [{}]});
    let spec = r#"{"selector":{},"template":{"metadata":{},"spec":{"containers":[{"name":"a"}]}}}"#;
    let status = r#"{"conditions":[],"numberReady":0}"#;
    for daemon_set in [
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{metadata},"spec":{spec},"status":{status}}}"#
        ),
        format!(
            r#"{{"spec":{spec},"status":{status},"metadata":{metadata},"kind":"DaemonSet","apiVersion":"apps/v1"}}"#
        ),
    ] {
        let list = format!(
            r#"{{"apiVersion":"v1","items":[{node},{daemon_set}],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
        );
        let output = eval(RULE, &list, &[]);
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert_eq!(output.stderr, WARNING);
    }
}

#[test]
fn one_that_cannot_be_read_is_refused() {
    let broken = AGENT.replace(
        "      containers:",
        "      tolerations: many\n      containers:",
    );
    let output = eval(RULE, &format!("{NODE}---\n{broken}"), &[]);
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.starts_with("error: node.yaml:10:1: this DaemonSet cannot be read: invalid type: string \"many\", expected"),
        "{}",
        output.stderr
    );
    let other = AGENT.replace("apps/v1", "extensions/v1beta1");
    refused(
        &eval(RULE, &format!("{NODE}---\n{other}"), &[]),
        "error: node.yaml:10:1: a DaemonSet has `apiVersion: apps/v1`",
    );
    refused(
        &eval(RULE, AGENT, &[]),
        "error: there is no Node in node.yaml",
    );
}
