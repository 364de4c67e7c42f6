//! The result of `host eval`, in each of its forms.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use cli_tests::program::{host, host_with, workspace};
use common::{NODE, RULE, fixture, folder_with, json};
use serde_json::Value;

/// What differs from build to build.
fn stable(text: &str) -> String {
    let report: Value = serde_json::from_str(text).unwrap();
    let policy = &report["results"][0]["policy"];
    let digest = policy["digest"].as_str().unwrap();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 7 + 64,
        "{digest}"
    );
    let version = format!("\"version\": {}", policy["version"]);
    text.replace(digest, "sha256:DIGEST")
        .replace(&version, "\"version\": \"VERSION\"")
}

#[test]
fn the_json_is_as_documented() {
    let [rule, node] = [
        fixture("guide/rule-saved.yaml"),
        fixture("guide/nodes.yaml"),
    ];
    let output = host([
        "eval",
        "--rule",
        &rule,
        "--node",
        &node,
        "--now",
        "2026-07-01T12:00:00Z",
        "-o",
        "json",
    ])
    .unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(stable(&output.stdout));
}

#[test]
fn every_field_that_is_printed_is_documented() {
    let documentation = fs::read_to_string(workspace().join("docs/eval-output.md")).unwrap();
    let mut fields = BTreeSet::new();
    for (rule, node) in [
        (RULE.to_owned(), NODE.to_owned()),
        (dry(RULE), NODE.to_owned()),
        (loops(), NODE.to_owned()),
    ] {
        let folder = folder_with(&[("rule.yaml", &rule), ("node.yaml", &node)]);
        let at = |file: &str| folder.path().join(file).display().to_string();
        let mut arguments = vec!["eval".to_owned(), "--rule".to_owned(), at("rule.yaml")];
        arguments.extend(["--node".to_owned(), at("node.yaml"), "-ojson".to_owned()]);
        if rule.contains("name: loop") {
            arguments.extend(["--policy".to_owned(), common::hostile()]);
        }
        let report = json(&host(&arguments).unwrap().stdout);
        collect(&report, &mut fields);
    }
    // Keys that come from the input and not from the program.
    fields.retain(|field| !field.contains('/'));
    assert!(
        fields.contains("dryRunAction") && fields.contains("error"),
        "{fields:?}"
    );
    let missing: Vec<_> = fields
        .iter()
        .filter(|field| !documentation.contains(&format!("`{field}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/eval-output.md does not name {missing:?}"
    );
}

fn dry(rule: &str) -> String {
    format!("{rule}  dryRun: true\n")
}

fn loops() -> String {
    RULE.replace("name: agent", "name: loop")
}

fn collect(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                fields.insert(key.clone());
                collect(value, fields);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}

#[test]
fn the_yaml_says_the_same_as_the_json() {
    let [rule, node] = [
        fixture("guide/rule-saved.yaml"),
        fixture("guide/nodes.yaml"),
    ];
    let print = |format: &str| {
        let now = "2026-07-01T12:00:00Z";
        host([
            "eval", "--rule", &rule, "--node", &node, "--now", now, "--output", format,
        ])
        .unwrap()
        .stdout
    };
    let yaml: Value = serde_saphyr::from_str(&print("yaml")).unwrap();
    assert_eq!(yaml, json(&print("json")));
}

#[test]
fn the_table_has_a_line_for_each_result_and_says_why() {
    let [rule, node] = [
        fixture("guide/rule-saved.yaml"),
        fixture("guide/nodes.yaml"),
    ];
    let output = host(["eval", "--rule", &rule, "--node", &node]).unwrap();
    insta::assert_snapshot!(output.stdout);
    assert!(output.stdout.lines().all(|line| line == line.trim_end()));
}

#[test]
fn the_table_shows_what_a_dry_run_would_do() {
    let folder = folder_with(&[("rule.yaml", &dry(RULE)), ("node.yaml", NODE)]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    let output = host([
        "eval",
        "--rule",
        &at("rule.yaml"),
        "--node",
        &at("node.yaml"),
    ])
    .unwrap();
    let line = output.stdout.lines().nth(1).unwrap();
    assert!(
        line.contains(" Absent ") && line.contains(" None (dry run: AddTaint) "),
        "{line}"
    );
}

#[test]
fn a_selector_that_matches_no_node_is_a_note_and_no_failure() {
    let folder = folder_with(&[
        ("rule.yaml", RULE),
        ("node.yaml", &NODE.replace("pool: agent", "pool: other")),
    ]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    for (format, nothing) in [("table", ""), ("json", "\"results\": []")] {
        let output = host([
            "eval",
            "--rule",
            &at("rule.yaml"),
            "--node",
            &at("node.yaml"),
            "-o",
            format,
        ])
        .unwrap();
        assert_eq!(output.status, 0);
        assert!(output.stdout.contains(nothing) && output.stdout.is_empty() == nothing.is_empty());
        assert_eq!(
            output.stderr,
            "note: rule agent selects none of the given nodes\n"
        );
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_whatever_its_order() {
    let other = RULE
        .replace("name: agent", "name: b")
        .replace("io/agent,", "io/b,");
    let second = NODE.replace("name: worker", "name: a-worker");
    let rules = [format!("{RULE}---\n{other}"), format!("{other}---\n{RULE}")];
    let nodes = [
        format!("{NODE}---\n{second}"),
        format!("{second}---\n{NODE}"),
    ];
    let print = |order: usize| {
        let folder = folder_with(&[("rule.yaml", &rules[order]), ("node.yaml", &nodes[order])]);
        let at = |file: &str| folder.path().join(file).display().to_string();
        let now = "2026-07-01T12:00:00Z";
        host([
            "eval",
            "--rule",
            &at("rule.yaml"),
            "--node",
            &at("node.yaml"),
            "--now",
            now,
            "-ojson",
        ])
        .unwrap()
    };
    let [one, two] = [print(0), print(1)];
    assert_eq!(one.status, 0, "{}", one.stderr);
    assert_eq!(json(&one.stdout)["results"].as_array().unwrap().len(), 4);
    assert_eq!(one.stdout, two.stdout);
}

#[test]
fn what_a_node_carries_for_rules_that_were_not_given_is_left_alone() {
    let record = r#"[{"key":"readiness.k8s.io/other","effect":"NoSchedule","ruleUID":"gone","rule":"other","since":"2026-01-01T00:00:00Z","reason":"ConditionsNotMet"}]"#;
    let annotation = format!(
        "labels: {{pool: agent}}\n  annotations: {{readiness.node.x-k8s.io/taint-owners: '{record}'}}"
    );
    let taint = "\nspec:\n  taints: [{key: readiness.k8s.io/other, effect: NoSchedule}]\nstatus:";
    let node = NODE
        .replace("labels: {pool: agent}", &annotation)
        .replace("\nstatus:", taint);
    let folder = folder_with(&[("rule.yaml", RULE), ("node.yaml", &node)]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    let output = host([
        "eval",
        "--rule",
        &at("rule.yaml"),
        "--node",
        &at("node.yaml"),
        "-ojson",
    ])
    .unwrap();
    let report = json(&output.stdout);
    assert_eq!(
        report["changes"][0]["addTaints"][0]["key"],
        "readiness.k8s.io/agent"
    );
    assert_eq!(
        report["changes"][0]["removeTaints"],
        Value::Array(vec![]),
        "{}",
        output.stderr
    );
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::io::Read;
    use std::process::Stdio;
    // More than a pipe holds, so that the program is writing when the pipe closes.
    let nodes: String = (0..500)
        .map(|n| NODE.replace("worker", &format!("worker-{n}")) + "---\n")
        .collect();
    let folder = folder_with(&[("rule.yaml", RULE), ("nodes.yaml", &nodes)]);
    let mut child = cli_tests::program::command()
        .unwrap()
        .args(["eval", "-ojson", "--rule"])
        .arg(folder.path().join("rule.yaml"))
        .arg("--node")
        .arg(folder.path().join("nodes.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_definitions_are_printed_as_they_lie_in_the_repository() {
    for (command, file) in [
        ("crd nodereadinessrules", "crds/nodereadinessrules.yaml"),
        ("crd readinesspolicies", "crds/readinesspolicies.yaml"),
        ("crd", "deploy/kustomize/base/crd.yaml"),
    ] {
        let output = host(command.split(' ')).unwrap();
        let file = fs::read_to_string(workspace().join(file)).unwrap();
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert_eq!(output.stdout, file);
    }
}

#[test]
fn a_completion_script_names_the_subcommands() {
    let output = host_with(["completions", "bash"], "", &[]).unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.contains("--health-probe-bind-address"));
}

/// One annotation on any rule, as in a cluster.
#[test]
fn where_every_rule_is_frozen_nothing_would_be_done() {
    let frozen = RULE.replace(
        "  name: agent",
        "  name: other\n  annotations: {readiness.node.x-k8s.io/freeze-all: why}",
    );
    let files = [
        ("a.yaml", RULE),
        ("b.yaml", frozen.as_str()),
        ("n.yaml", NODE),
    ];
    let folder = folder_with(&files);
    let arguments = [
        "eval", "--rule", "a.yaml", "b.yaml", "--node", "n.yaml", "-o", "json",
    ];
    let output = cli_tests::program::host_in(folder.path(), &arguments, &[]).unwrap();
    let report = json(&output.stdout);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result["action"], "None");
    }
    assert_eq!(results[0]["reason"], "Frozen");
    assert_eq!(report["changes"], json("[]"));
}

/// What `spec.replaces` does not do is told beside the result.
#[test]
fn a_rule_that_replaces_itself_or_one_that_was_not_given_is_told() {
    for (name, said) in [
        (
            "agent",
            "warning: rule 'agent': spec.replaces names the rule itself",
        ),
        (
            "other",
            "note: rule 'agent' replaces rule 'other', which was not given",
        ),
    ] {
        let rule = format!("{}\n  replaces: {name}\n", RULE.trim_end());
        let folder = folder_with(&[("a.yaml", rule.as_str()), ("n.yaml", NODE)]);
        let arguments = ["eval", "--rule", "a.yaml", "--node", "n.yaml"];
        let output = cli_tests::program::host_in(folder.path(), &arguments, &[]).unwrap();
        assert!(
            output.status == 0 && output.stderr.contains(said),
            "{}",
            output.stderr
        );
    }
}

/// The webhook refuses it; a file has no webhook.
#[test]
fn a_rule_that_selects_every_node_is_told() {
    for selector in ["{}", "{matchLabels: {}}", "{matchExpressions: []}"] {
        let rule = RULE.replace("{matchLabels: {pool: agent}}", selector);
        let folder = folder_with(&[("a.yaml", rule.as_str()), ("n.yaml", NODE)]);
        let arguments = ["eval", "--rule", "a.yaml", "--node", "n.yaml"];
        let output = cli_tests::program::host_in(folder.path(), &arguments, &[]).unwrap();
        let told = "warning: rule 'agent': spec.nodeSelector is empty and selects every node";
        assert!(
            output.status == 0 && output.stderr.starts_with(told),
            "{selector}: {}",
            output.stderr
        );
    }
}
