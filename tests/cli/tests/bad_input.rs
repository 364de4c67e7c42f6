//! Each way in which an input can be wrong: a sentence on standard error that says what, where and
//! what to do, nothing on standard output, and the right exit status.

mod common;

use cli_tests::program::{Output, host, host_with};
use common::{NODE, RULE, eval, host_among, hostile, json, refused, refused_as};

#[test]
fn a_rule_that_fails_the_schema() {
    refused(
        &eval(
            &RULE
                .replace("effect: NoSchedule", "effect: Evict")
                .replace("continuous", "weekly"),
            NODE,
            &[],
        ),
        "error: rule.yaml:8:3: rule 'agent': spec.enforcementMode: Unsupported value: \"weekly\": supported values: \"bootstrap-only\", \"continuous\"\n\
         error: rule.yaml:9:3: rule 'agent': spec.taint: taint effect must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'",
    );
    let missing: String = RULE
        .lines()
        .filter(|line| !line.contains("nodeSelector"))
        .map(|line| format!("{line}\n"))
        .collect();
    refused(
        &eval(&missing, NODE, &[]),
        "error: rule.yaml:5:1: rule 'agent': spec.nodeSelector: Required value",
    );
}

#[test]
fn a_word_that_yaml_takes_for_a_boolean() {
    refused(
        &eval(&RULE.replace("\"True\"", "True"), NODE, &[]),
        "error: rule.yaml:7:36: rule 'agent': spec.conditions[0].requiredStatus: Invalid value: \"boolean\": spec.conditions[0].requiredStatus in body must be of type string: \"boolean\"",
    );
}

#[test]
fn a_taint_that_the_schema_lets_pass_and_no_node_can_carry() {
    let output = eval(
        &RULE.replace("value: pending", "value: \"not ok!\""),
        NODE,
        &[],
    );
    refused_as(
        &output,
        "error: rule.yaml:9:40: rule 'agent': spec.taint.value: no node can be given \"not ok!\": ",
    );
}

#[test]
fn an_unknown_field() {
    refused(
        &eval(&format!("{RULE}  dryrun: true\n"), NODE, &[]),
        "error: rule.yaml:11:3: rule 'agent': spec.dryrun: unknown field",
    );
}

#[test]
fn a_yaml_syntax_error() {
    let output = eval(
        &RULE.replace("metadata:\n  name", "metadata:\n name: x\n  name"),
        NODE,
        &[],
    );
    refused_as(&output, "error: rule.yaml:5:7: ");
    assert!(
        output.stderr.contains("5 |   name: agent\n"),
        "{}",
        output.stderr
    );

    let output = eval(RULE, &NODE.replace("  labels", " labels"), &[]);
    refused_as(&output, "error: node.yaml:5:2: ");
    assert!(
        output.stderr.contains("5 |  labels: {pool: agent}\n"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_json_syntax_error() {
    let output = host_among(
        &[
            ("rule.yaml", RULE),
            ("node.json", "{\n  \"kind\": \"Node\",\n}"),
        ],
        &["eval", "--rule", "rule.yaml", "--node", "node.json"],
    );
    refused(&output, "error: node.json:3:1: trailing comma");
}

#[test]
fn what_is_not_text() {
    // As some shells save: UTF-16.
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(NODE.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let output = host_among(
        &[
            ("rule.yaml", RULE.as_bytes()),
            ("node.yaml", utf16.as_slice()),
        ],
        &["eval", "--rule", "rule.yaml", "--node", "node.yaml"],
    );
    refused(
        &output,
        "error: node.yaml is not text in UTF-8: byte 1 cannot be read; some shells save as UTF-16",
    );
}

/// A mistake in YAML is told in the terms of YAML, not of a library's interface.
#[test]
fn yaml_that_says_too_much_or_too_little() {
    let list = |of: &str| [of; 10].join(", ");
    let mut laughs = format!("l0: &l0 [{}]\n", list("x"));
    for level in 1..6 {
        let below = list(&format!("*l{}", level - 1));
        laughs += &format!("l{level}: &l{level} [{below}]\n");
    }
    for (rule, says) in [
        (
            RULE.replace("  name: agent", "  name: agent\n  name: other"),
            "5:3: the field `name` is given twice",
        ),
        (
            "a: *other\n".to_owned(),
            "1:4: this alias (*) has no anchor (&) before it",
        ),
        (
            "a: &b {c: *b}\n".to_owned(),
            "1:11: this alias (*) stands within its own anchor (&)",
        ),
        (
            "<<: 1\n".to_owned(),
            "1:5: `<<` merges fields, or a list of them, and this is neither",
        ),
        (
            laughs,
            "6:45: this is nested too deeply, or its aliases (*) stand for too much",
        ),
    ] {
        let output = eval(&rule, NODE, &[]);
        refused_as(&output, &format!("error: rule.yaml:{says}"));
        for word in ["Policy", "Options", "Breach", "Recorded", "weak"] {
            assert!(!output.stderr.contains(word), "{}", output.stderr);
        }
    }
    refused_as(
        &eval(RULE, "only words\n", &[]),
        "error: node.yaml:1:1: fields are expected here, such as `name: value`",
    );
}

#[test]
fn another_kind_or_version() {
    let rule =
        "a rule has `apiVersion: readiness.node.x-k8s.io/v1alpha1` and `kind: NodeReadinessRule`";
    let node = "a node has `apiVersion: v1` and `kind: Node`";
    refused(
        &eval(NODE, NODE, &[]),
        &format!("error: rule.yaml:2:1: this is a Node: {rule}"),
    );
    refused(
        &eval(RULE, RULE, &[]),
        &format!("error: node.yaml:1:1: this is a NodeReadinessRule: {node}"),
    );
    refused(
        &eval(&RULE.replace("v1alpha1", "v2"), NODE, &[]),
        &format!(
            "error: rule.yaml:1:1: this NodeReadinessRule has apiVersion readiness.node.x-k8s.io/v2: {rule}"
        ),
    );
    refused(
        &eval(RULE, &NODE.replace("apiVersion: v1", "apiVersion: v2"), &[]),
        &format!("error: node.yaml:1:1: this Node has apiVersion v2: {node}"),
    );
    refused(
        &eval(RULE, "apiVersion: v1\nmetadata: {name: a}\n", &[]),
        &format!("error: node.yaml:1:1: the document has no kind: {node}"),
    );
}

#[test]
fn the_same_name_twice() {
    refused(
        &eval(&format!("{RULE}---\n{RULE}"), NODE, &[]),
        "error: rule.yaml:12:1: rule 'agent' was given already: rule.yaml:1:1",
    );
    refused(
        &eval(RULE, &format!("{NODE}---\n{NODE}"), &[]),
        "error: node.yaml:10:1: node 'worker' was given already: node.yaml:1:1",
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let bad = RULE.replace("continuous", "weekly");
    let output = eval(
        &format!("{bad}---\n{}", bad.replace("agent", "other")),
        NODE,
        &[],
    );
    assert_eq!(
        output.stderr.matches("error: rule.yaml:").count(),
        2,
        "{}",
        output.stderr
    );
}

#[test]
fn an_empty_folder() {
    refused(
        &host_among(&[("notes.txt", "")], &["eval", "--rule", "."]),
        "error: the folder . has no file that ends in .yaml, .yml or .json: name a folder with such files, or the files themselves",
    );
}

#[test]
fn nothing_in_a_file() {
    let list = "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
    for nothing in ["", "# only a comment\n", "---\n---\n", list] {
        refused_as(&eval(RULE, nothing, &[]), "error: there is no Node in ");
        let no_rule = "error: there is no NodeReadinessRule in ";
        refused_as(&eval(nothing, NODE, &[]), no_rule);
    }
}

#[test]
fn a_file_that_is_not_there() {
    refused(
        &host(["eval", "--rule", "no-such-rule.yaml"]).unwrap(),
        "error: there is no file or folder no-such-rule.yaml",
    );
}

#[test]
fn standard_input_twice() {
    refused(
        &host_with(["eval", "--rule", "-", "--node", "-"], RULE, &[]).unwrap(),
        "error: standard input (`-`) can be read only once: give a file for the other",
    );
}

#[test]
fn usage() {
    for (arguments, says) in [
        (vec!["eval"], "--rule <RULE>..."),
        (
            vec!["eval", "--rule", "r", "--now", "yesterday"],
            "it is not a time as in RFC 3339",
        ),
        (
            vec!["eval", "--rule", "r", "--output", "csv"],
            "[possible values: table, json, yaml]",
        ),
        (vec!["evil"], "unrecognized subcommand 'evil'"),
        (
            vec!["run", "--node-concurrent-reconciles", "0"],
            "'--node-concurrent-reconciles <COUNT>': give a whole number from 1",
        ),
        (
            vec!["run", "--kube-api-burst=many"],
            "'--kube-api-burst <NUMBER>': it is not such a number",
        ),
    ] {
        let output = host(&arguments).unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains(says),
            "{}",
            output.stderr
        );
    }
}

/// What is said of a file that is no policy.
fn policy(bytes: &[u8]) -> Output {
    let files =
        [("rule.yaml", RULE), ("node.yaml", NODE)].map(|(name, text)| (name, text.as_bytes()));
    let [rule, node] = files;
    let arguments = [
        "eval",
        "--rule",
        "rule.yaml",
        "--node",
        "node.yaml",
        "--policy",
        "policy.wasm",
    ];
    host_among(&[rule, node, ("policy.wasm", bytes)], &arguments)
}

#[test]
fn a_policy_that_is_not_wasm() {
    refused(
        &policy(b"#!/bin/sh\n"),
        "error: policy.wasm cannot be used as a policy: it is not WebAssembly",
    );
}

#[test]
fn a_core_module_instead_of_a_component() {
    let output = policy(&wat::parse_str("(module)").unwrap());
    refused_as(
        &output,
        "error: policy.wasm cannot be used as a policy: it is a core WebAssembly module, not a component: ",
    );
}

#[test]
fn a_policy_that_needs_wasi() {
    let wasi = r#"(component (import "wasi:cli/environment@0.2.0"
        (instance (export "get-arguments" (func (result (list string)))))))"#;
    let output = policy(&wat::parse_str(wasi).unwrap());
    refused_as(
        &output,
        "error: policy.wasm cannot be used as a policy: it needs WASI (wasi:cli/environment@0.2.0)",
    );
}

#[test]
fn a_policy_of_another_contract_version() {
    let other = r#"(component (import "node-readiness:policy/node@0.9.0"
        (instance (export "tainted" (func (result bool))))))"#;
    let output = policy(&wat::parse_str(other).unwrap());
    refused_as(
        &output,
        "error: policy.wasm cannot be used as a policy: it was built against node-readiness:policy@0.9.0, and this host speaks ",
    );
}

#[test]
fn a_policy_that_is_not_there() {
    let output = eval(RULE, NODE, &["--policy", "no-such-policy.wasm"]);
    refused_as(
        &output,
        "error: the policy no-such-policy.wasm cannot be read: ",
    );
}

#[test]
fn a_rule_that_does_not_suit_its_policy() {
    let rule = RULE.replace("name: agent", "name: check-finds");
    let output = eval(&rule, NODE, &["--policy", &hostile()]);
    refused_as(
        &output,
        "error: rule.yaml:5:1: rule 'check-finds', policy default (hostile): spec.policy.parameters.zone: ",
    );
    assert!(
        !output.stderr.contains('\u{1b}'),
        "what a policy writes must not reach the terminal raw"
    );
}

#[test]
fn a_policy_that_finds_as_much_as_it_may_does_not_flood_a_terminal() {
    let rule = RULE.replace("name: agent", "name: check-much");
    let output = eval(&rule, NODE, &["--policy", &hostile()]);
    let about = "error: rule.yaml:5:1: rule 'check-much', policy default (hostile): ";
    refused_as(&output, &format!("{about}spec.policy.parameters.ppp"));
    let lines: Vec<_> = output.stderr.lines().collect();
    let (last, first) = lines.split_last().unwrap();
    let rest = "it found 48 further problems";
    assert_eq!(*last, about.replace(":5:1:", ":1:1:") + rest);
    assert_eq!(first.len(), 16);
    for line in first {
        let told = line.strip_prefix(about).unwrap();
        let (field, message) = told.split_once(": ").unwrap();
        assert_eq!((field.len(), message), (256, "x".repeat(512).as_str()));
    }
}

#[test]
fn parameters_that_the_default_policy_refuses() {
    let rule = format!(
        "{RULE}  policy:\n    name: default\n    parameters:\n      minReadyTime: 30\n      \
         a/b: {{}}\n      rearmOnReboot: true\n"
    );
    let refused = |rule: &str| {
        let output = eval(rule, NODE, &[]);
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
        output.stderr
    };
    let about = "rule 'agent', policy default: spec.policy.parameters";
    assert_eq!(
        refused(&rule),
        format!(
            "error: rule.yaml:15:7: {about}.a/b: the default policy has no such parameter; it has \
             maxHeartbeatAge, minReadyTime and rearmOnReboot\n\
             error: rule.yaml:14:7: {about}.minReadyTime: a duration is a string, such as \"30s\", \
             \"5m\" or \"1h30m\"\n"
        )
    );
    let rule = rule.replace("      minReadyTime: 30\n      a/b: {}\n", "");
    let stderr = refused(&rule);
    let expected =
        format!("error: rule.yaml:14:7: {about}.rearmOnReboot: only a bootstrap-only rule");
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn a_policy_that_fails_is_exit_status_3_with_the_result() {
    let rules = format!(
        "{}---\n{}",
        RULE.replace("name: agent", "name: panic"),
        RULE.replace("agent", "fine")
    );
    let node = NODE.replace("{pool: agent}", "{pool: agent, other: x}");
    let rules = rules.replace("{pool: fine}", "{other: x}");
    let output = eval(&rules, &node, &["--policy", &hostile(), "-ojson"]);
    assert_eq!(output.status, 3, "{}", output.stderr);
    let report = json(&output.stdout);
    let [fine, failed] = [&report["results"][0], &report["results"][1]];
    assert_eq!(
        (&fine["rule"], &fine["error"]),
        (&"fine".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&failed["rule"], &failed["action"]),
        (&"panic".into(), &"None".into())
    );
    assert_eq!(
        (&failed["error"]["kind"], &failed["reason"]),
        (&"Trapped".into(), &"Trapped".into())
    );
    assert!(!failed["error"]["message"].as_str().unwrap().is_empty());
}

#[test]
fn a_policy_that_fails_to_check_a_rule_is_exit_status_3() {
    let rule = RULE.replace("name: agent", "name: check-panics");
    let output = eval(&rule, NODE, &["--policy", &hostile()]);
    assert_eq!((output.status, output.stdout.as_str()), (3, ""));
    assert!(
        output.stderr.starts_with(
            "error: rule.yaml:1:1: rule 'check-panics', policy default (hostile): the policy failed when it checked the rule (Trapped): "
        ),
        "{}",
        output.stderr
    );
}

#[test]
fn compat_044_leader_election_outside_of_a_cluster_needs_a_namespace() {
    let file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    if std::path::Path::new(file).exists() {
        return; // this is a pod, which has one
    }
    let output = host(["run", "--leader-elect", "--kubeconfig=not-looked-at"]).unwrap();
    refused(
        &output,
        &format!(
            "error: leader election has no namespace: {file} cannot be read (No such file or directory \
             (os error 2)), so this is not a pod; give --leader-election-namespace"
        ),
    );
    let output = host(["run", "--leader-elect", "--leader-election-namespace=a/b"]).unwrap();
    assert_eq!(output.status, 2);
    let says = "error: --leader-election-namespace=a/b: this is no name of a namespace";
    assert!(output.stderr.starts_with(says), "{}", output.stderr);
}
