//! Each way in which an input can be wrong: a sentence on standard error that says what, where and
//! what to do, nothing on standard output, and the right exit status.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use cli_tests::program::{Output, host, host_with};
use common::{NODE, RULE, eval, folder_with, hostile, json};

/// Bad usage or bad input.
#[track_caller]
fn refused(output: &Output, expected: &str) {
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.trim_end(), expected);
}

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
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with("error: rule.yaml:9:40: rule 'agent': spec.taint.value: no node can be given \"not ok!\": "),
        "{}",
        output.stderr
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
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with("error: rule.yaml:5:7: "),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("5 |   name: agent\n"),
        "{}",
        output.stderr
    );

    let output = eval(RULE, &NODE.replace("  labels", " labels"), &[]);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with("error: node.yaml:5:2: "),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("5 |  labels: {pool: agent}\n"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_json_syntax_error() {
    let folder = folder_with(&[
        ("rule.yaml", RULE),
        ("node.json", "{\n  \"kind\": \"Node\",\n}"),
    ]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    let output = host([
        "eval",
        "--rule",
        &at("rule.yaml"),
        "--node",
        &at("node.json"),
    ])
    .unwrap();
    refused(
        &output,
        &format!("error: {}:3:1: trailing comma", at("node.json")),
    );
}

#[test]
fn what_is_not_text() {
    let folder = folder_with(&[("rule.yaml", RULE)]);
    let node = folder.path().join("node.yaml");
    // As some shells save: UTF-16.
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(NODE.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(&node, utf16).unwrap();
    let [rule, node] =
        [folder.path().join("rule.yaml"), node].map(|path| path.display().to_string());
    let output = host(["eval", "--rule", &rule, "--node", &node]).unwrap();
    refused(
        &output,
        &format!(
            "error: {node} is not text in UTF-8: byte 1 cannot be read; some shells save as UTF-16"
        ),
    );
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
    let (folder, empty) = (
        folder_with(&[("rule.yaml", RULE)]),
        folder_with(&[("notes.txt", "")]),
    );
    let rule = folder.path().join("rule.yaml").display().to_string();
    let empty = empty.path().display().to_string();
    refused(
        &host(["eval", "--rule", &rule, "--node", &empty]).unwrap(),
        &format!(
            "error: the folder {empty} has no file that ends in .yaml, .yml or .json: name a folder with such files, or the files themselves"
        ),
    );
}

#[test]
fn nothing_in_a_file() {
    let list = "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
    for nothing in ["", "# only a comment\n", "---\n---\n", list] {
        let problem = |output: Output| {
            assert_eq!(
                (output.status, output.stdout.as_str()),
                (2, ""),
                "{nothing:?}"
            );
            output.stderr.replace('\n', "")
        };
        assert!(problem(eval(RULE, nothing, &[])).starts_with("error: there is no Node in "));
        assert!(
            problem(eval(nothing, NODE, &[]))
                .starts_with("error: there is no NodeReadinessRule in ")
        );
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
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.wasm");
    std::fs::write(&file, bytes).unwrap();
    let mut output = eval(RULE, NODE, &["--policy", &file.display().to_string()]);
    output.stderr = output
        .stderr
        .replace(&format!("{}/", folder.path().display()), "");
    output
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
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with(
            "error: policy.wasm cannot be used as a policy: it is a core WebAssembly module, not a component: "
        ),
        "{}",
        output.stderr
    );
}

#[test]
fn a_policy_that_needs_wasi() {
    let wasi = r#"(component (import "wasi:cli/environment@0.2.0"
        (instance (export "get-arguments" (func (result (list string)))))))"#;
    let output = policy(&wat::parse_str(wasi).unwrap());
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with("error: policy.wasm cannot be used as a policy: it needs WASI (wasi:cli/environment@0.2.0)"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_policy_of_another_contract_version() {
    let other = r#"(component (import "node-readiness:policy/node@0.9.0"
        (instance (export "tainted" (func (result bool))))))"#;
    let output = policy(&wat::parse_str(other).unwrap());
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with(
            "error: policy.wasm cannot be used as a policy: it was built against node-readiness:policy@0.9.0, and this host speaks "
        ),
        "{}",
        output.stderr
    );
}

#[test]
fn a_policy_that_is_not_there() {
    let output = eval(RULE, NODE, &["--policy", "no-such-policy.wasm"]);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output
            .stderr
            .starts_with("error: the policy no-such-policy.wasm cannot be read: "),
        "{}",
        output.stderr
    );
}

#[test]
fn a_rule_that_does_not_suit_its_policy() {
    let rule = RULE.replace("name: agent", "name: check-finds");
    let output = eval(&rule, NODE, &["--policy", &hostile()]);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.starts_with(
            "error: rule.yaml:1:1: rule 'check-finds', policy hostile: parameters/zone: "
        ),
        "{}",
        output.stderr
    );
    assert!(
        !output.stderr.contains('\u{1b}'),
        "what a policy writes must not reach the terminal raw"
    );
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
            "error: rule.yaml:1:1: rule 'check-panics', policy hostile: the policy failed when it checked the rule (Trapped): "
        ),
        "{}",
        output.stderr
    );
}

/// A kubeconfig whose API server nobody serves: no test is ever given a port of the system's own.
fn unreachable() -> (String, String) {
    let server = "https://127.0.0.1:1".to_owned();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    (server, kubeconfig)
}

#[test]
fn a_missing_kubeconfig() {
    let folder = folder_with(&[("rule.yaml", RULE)]);
    let rule = folder.path().join("rule.yaml").display().to_string();
    let home = folder.path().display().to_string();
    for arguments in [
        vec![
            "eval",
            "--rule",
            &rule,
            "--kubeconfig",
            "no-such-kubeconfig",
        ],
        vec![
            "run",
            "--health-probe-bind-address=0",
            "-kubeconfig",
            "no-such-kubeconfig",
        ],
    ] {
        let output = host(&arguments).unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(
            output
                .stderr
                .starts_with("error: kubeconfig no-such-kubeconfig: "),
            "{}",
            output.stderr
        );
        assert!(
            output.stderr.contains("No such file or directory"),
            "{}",
            output.stderr
        );
    }
    for arguments in [
        vec!["eval", "--rule", &rule],
        vec!["run", "--health-probe-bind-address=0"],
    ] {
        let output = host_with(&arguments, "", &[("HOME", &home)]).unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(
            output.stderr.starts_with("error: no cluster: "),
            "{}",
            output.stderr
        );
        assert!(
            output
                .stderr
                .contains("give --kubeconfig, set KUBECONFIG, or run in a cluster"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn an_unreachable_api_server() {
    let (server, kubeconfig) = unreachable();
    let folder = folder_with(&[("rule.yaml", RULE), ("kubeconfig", &kubeconfig)]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    let [rule, kubeconfig] = [at("rule.yaml"), at("kubeconfig")];
    for arguments in [
        vec!["eval", "--rule", &rule, "--kubeconfig", &kubeconfig],
        vec![
            "run",
            "--health-probe-bind-address=0",
            "--kubeconfig",
            &kubeconfig,
        ],
    ] {
        let output = host(&arguments).unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        let says = format!("error: the API server at {server}/ cannot be used: ");
        assert!(output.stderr.contains(&says), "{}", output.stderr);
        assert!(output.stderr.contains("refused"), "{}", output.stderr);
    }
}

#[test]
fn a_flag_of_run_that_asks_for_what_is_not_there() {
    let output = host(["run", "-leader-elect", "--metrics-bind-address", ":8443"]).unwrap();
    refused(
        &output,
        "error: --leader-elect: this version does not have leader election: leave it out and run one replica\n\
         error: --metrics-bind-address: this version does not have metrics: leave it out, or give 0",
    );
}
