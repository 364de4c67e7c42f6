//! `host gate`: what it prints, for which rules, and what it says of bad input.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use cli_tests::program::{host, host_in, host_with, workspace};
use common::{RULE, folder_with, host_among, json, refused, refused_as};
use serde_json::Value;

/// The names in the policy; none where it is for every rule.
fn named(gate: &Value) -> Option<Vec<String>> {
    let condition = &gate["items"][0]["spec"]["matchConditions"][0];
    let expression = condition["expression"].as_str().unwrap();
    let names = expression.strip_prefix("params.metadata.name in ")?;
    assert_eq!(condition["name"], "rule-is-named");
    Some(serde_json::from_str(names).unwrap())
}

#[test]
fn what_is_installed_is_what_is_printed() {
    let output = host(["gate"]).unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let kept = workspace().join("deploy/kustomize/components/gate/gate.yaml");
    assert_eq!(output.stdout, std::fs::read_to_string(kept).unwrap());
    let gate = json(&host(["gate", "-o", "json"]).unwrap().stdout);
    let [policy, binding] = [&gate["items"][0], &gate["items"][1]];
    assert_eq!(gate["items"].as_array().unwrap().len(), 2);
    assert_eq!(named(&gate), None);
    for (object, kind) in [
        (policy, "MutatingAdmissionPolicy"),
        (binding, "MutatingAdmissionPolicyBinding"),
    ] {
        assert_eq!(object["apiVersion"], "admissionregistration.k8s.io/v1");
        assert_eq!(object["kind"], kind);
        assert_eq!(object["metadata"]["name"], "node-readiness-gate");
    }
    assert_eq!(binding["spec"]["policyName"], "node-readiness-gate");
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
    let closed = host(["gate", "--failure-policy=Fail"]).unwrap().stdout;
    let one_word = output
        .stdout
        .replace("failurePolicy: Ignore", "failurePolicy: Fail");
    assert_eq!(closed, one_word);
    assert_ne!(closed, output.stdout);
}

#[test]
fn a_gate_is_for_the_given_rules_and_the_others_say_why_not() {
    let with =
        |name: &str, more: &str| RULE.replace("name: agent", &format!("name: {name}")) + more;
    let default = with("default", "").replace("\"True\"}", "\"True\", defaultStatus: \"True\"}");
    let deleted = with("deleted", "").replace(
        "  name: deleted",
        "  name: deleted\n  deletionTimestamp: 2026-01-01T00:00:00Z",
    );
    let rules = [
        with("agent", ""),
        with("dry", "  dryRun: true\n"),
        with("paused", "  suspend: true\n"),
        default,
        deleted,
        with("counted", "  budget: {maxHeld: 3, exemptYoungerThan: 0s}\n"),
        with("limited", "  budget: {maxHeld: 0}\n"),
        with(&"long.name-".repeat(25), "").replace("-\n", "-z\n"),
    ];
    let folder = folder_with(&[("a.yaml", &rules.join("---\n"))]);
    let output = host_in(folder.path(), &["gate", "-o", "json", "-f", "."], &[]).unwrap();
    assert_eq!(output.status, 0, "{}", output.stderr);
    let long = "long.name-".repeat(25) + "z";
    assert_eq!(
        named(&json(&output.stdout)).unwrap(),
        ["agent", "limited", &long]
    );
    assert_eq!(
        output.stderr,
        "note: rule 'dry' has no gate: DryRun: the rule changes no node\n\
         note: rule 'paused' has no gate: Suspended: the rule is suspended: the node stays as it is\n\
         note: rule 'default' has no gate: ConditionsMet: example.com/AgentReady is absent and counts as True, required True\n\
         note: rule 'deleted' has no gate: RuleDeleted: the rule is being deleted\n\
         note: rule 'counted' has no gate: BudgetCountsNewNodes: spec.budget.exemptYoungerThan is 0: the budget has to be asked about each node\n"
    );
}

#[test]
fn rules_come_from_standard_input_as_kubectl_prints_them() {
    let item: String = RULE.lines().map(|line| format!("  {line}\n")).collect();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        item.trim_start()
    );
    let output = host_with(["gate", "-f", "-", "-o", "json"], &list, &[]).unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    assert_eq!(named(&json(&output.stdout)).unwrap(), ["agent"]);
}

/// A freeze stands on one rule and is for all.
#[test]
fn where_every_rule_is_frozen_there_is_no_gate_and_nothing_is_printed() {
    let other = RULE.replace(
        "  name: agent",
        "  name: other\n  annotations: {readiness.node.x-k8s.io/freeze-all: why}",
    );
    let output = host_among(
        &[("a.yaml", RULE), ("b.yaml", &other)],
        &["gate", "-f", "a.yaml", "b.yaml"],
    );
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    let lines: Vec<_> = output.stderr.lines().collect();
    assert!(
        lines[0].starts_with("note: rule 'agent' has no gate: Frozen: every rule is frozen: "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("note: rule 'other' has no gate: Frozen: every rule is frozen: "),
        "{lines:?}"
    );
    assert_eq!(
        lines[2..],
        ["error: none of the given rules would hold a new node: there is nothing to print"]
    );
}

/// A value that says no is no freeze.
#[test]
fn a_freeze_that_says_no_is_none() {
    let other = RULE.replace(
        "  name: agent",
        "  name: other\n  annotations: {readiness.node.x-k8s.io/freeze-all: 'false'}",
    );
    let output = host_among(
        &[("a.yaml", RULE), ("b.yaml", &other)],
        &["gate", "-f", "a.yaml", "b.yaml"],
    );
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
}

/// The gate is there, and does not hold the nodes that kubelets create.
#[test]
fn a_label_that_kubelets_may_not_set_is_told() {
    let selected = "{node-role.kubernetes.io/worker: ''}";
    let worker = RULE.replace("{pool: agent}", selected);
    let output = host_among(&[("a.yaml", &worker)], &["gate", "-f", "a.yaml"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let told = "note: rule 'agent' has a gate, but not where the kubelet itself creates the node: it may not set label \
                node-role.kubernetes.io/worker, by which the rule selects";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
}

#[test]
fn bad_input_is_told_with_its_place_and_nothing_is_printed() {
    let gate = |files: &[(&str, &str)]| host_among(files, &["gate", "-f", "a.yaml", "b.yaml"]);
    refused(
        &gate(&[
            ("a.yaml", RULE),
            ("b.yaml", &RULE.replace("NoSchedule", "Evict")),
        ]),
        "error: b.yaml:9:3: rule 'agent': spec.taint: taint effect must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'",
    );
    refused(
        &gate(&[("a.yaml", RULE), ("b.yaml", RULE)]),
        "error: b.yaml:1:1: rule 'agent' was given already: a.yaml:1:1",
    );
    refused(
        &gate(&[("a.yaml", RULE), ("b.yaml", "kind: Node\napiVersion: v1\n")]),
        "error: b.yaml:1:1: this is a Node: a rule has `apiVersion: readiness.node.x-k8s.io/v1alpha1` and `kind: NodeReadinessRule`",
    );
    refused(
        &gate(&[("a.yaml", RULE)]),
        "error: there is no file or folder b.yaml",
    );
    refused_as(
        &gate(&[("a.yaml", RULE), ("b.yaml", "a: [")]),
        "error: b.yaml:",
    );
    let policy = RULE.to_owned() + "  policy: {name: default, parameters: {minReadyTime: soon}}\n";
    refused_as(
        &host_among(&[("a.yaml", &policy)], &["gate", "-f", "a.yaml"]),
        "error: a.yaml:11:",
    );
    let prefix = RULE.replace("readiness.k8s.io/agent", "example.com/agent");
    refused_as(
        &host_among(&[("a.yaml", &prefix)], &["gate", "-f", "a.yaml"]),
        "error: a.yaml:9:3: rule 'agent': spec.taint: taint key must start with 'readiness.k8s.io/'",
    );
    let allowed = ["gate", "-f", "a.yaml", "--taint-key-prefix=example.com/"];
    assert_eq!(host_among(&[("a.yaml", &prefix)], &allowed).status, 0);
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    for arguments in [
        &["gate", "--force-conflicts"][..],
        &["gate", "--kubeconfig", "c"],
        &["gate", "--apply", "-o", "json"],
        &["gate", "--failure-policy=Maybe"],
        &["gate", "-f"],
    ] {
        let output = host(arguments).unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
    }
    let output = host(["gate", "--apply", "--kubeconfig", "nowhere"]).unwrap();
    refused_as(&output, "error: kubeconfig nowhere: ");
}
