//! The guide's two rules on nodes as kubectl saves them, in every form in which they can be given.
//!
//! The files in `fixtures/guide` are what kubectl printed: `nodes.yaml` with the managed fields,
//! `nodes.json`, one node alone, and a rule as the API server stored it.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;

use cli_tests::program::{Output, host, host_with, workspace};
use common::{fixture, folder_with, json};
use serde_json::Value;

const NOW: &str = "2026-07-01T12:00:00Z";

const NRR: &str = "nrr-variant/security-agent-readiness-rule.yaml";
const NPD: &str = "npd-variant/security-agent-readiness-rule-npd.yaml";
const NPD_PLAIN: &str = "npd-variant/security-agent-readiness-rule-npd-plain.yaml";

fn rule(file: &str) -> String {
    let path = workspace()
        .join("examples/security-agent-readiness")
        .join(file);
    path.display().to_string()
}

/// Node, action, taint before and after, completion.
fn outcomes(output: &Output) -> Vec<String> {
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let results = json(&output.stdout)["results"].as_array().unwrap().clone();
    let line = |result: &Value| {
        let taint = &result["taint"];
        let completed = if result["completeBootstrap"] == true {
            " completed"
        } else {
            ""
        };
        format!(
            "{} {} {}-{}{completed}",
            word(&result["node"]),
            word(&result["action"]),
            word(&taint["before"]),
            word(&taint["after"])
        )
    };
    results.iter().map(line).collect()
}

fn eval(rule: &str, nodes: &str, input: &str) -> Vec<String> {
    let arguments = [
        "eval", "--rule", rule, "--node", nodes, "--now", NOW, "-o", "json",
    ];
    outcomes(&host_with(arguments, input, &[]).unwrap())
}

const OPTION_A: [&str; 3] = [
    "kind-worker None Present-Present",
    "kind-worker2 RemoveTaint Present-Absent completed",
    "kind-worker3 AddTaint Absent-Present",
];

const OPTION_B: [&str; 3] = [
    "kind-worker None Present-Present",
    "kind-worker2 RemoveTaint Present-Absent",
    "kind-worker3 AddTaint Absent-Present",
];

#[test]
fn option_a_holds_until_the_agent_is_ready_and_completes() {
    assert_eq!(eval(&rule(NRR), &fixture("guide/nodes.yaml"), ""), OPTION_A);
}

#[test]
fn option_b_holds_while_the_problem_is_there() {
    for file in [NPD, NPD_PLAIN] {
        assert_eq!(
            eval(&rule(file), &fixture("guide/nodes.yaml"), ""),
            OPTION_B,
            "{file}"
        );
    }
}

#[test]
fn a_rule_as_the_api_server_stored_it_says_the_same() {
    assert_eq!(
        eval(
            &fixture("guide/rule-saved.yaml"),
            &fixture("guide/nodes.yaml"),
            ""
        ),
        OPTION_A
    );
}

#[test]
fn json_standard_input_and_single_objects_say_the_same() {
    let (yaml, as_json) = (fixture("guide/nodes.yaml"), fixture("guide/nodes.json"));
    let rules = rule(NRR);
    assert_eq!(eval(&rules, &as_json, ""), OPTION_A);
    assert_eq!(
        eval(&rules, "-", &fs::read_to_string(yaml).unwrap()),
        OPTION_A
    );
    assert_eq!(
        eval(&rules, "-", &fs::read_to_string(as_json).unwrap()),
        OPTION_A
    );
    let rule = fs::read_to_string(fixture("guide/rule-saved.yaml")).unwrap();
    assert_eq!(
        eval("-", &fixture("guide/kind-worker2.yaml"), &rule),
        OPTION_A[1..2]
    );
}

#[test]
fn a_folder_several_documents_and_several_files_say_the_same() {
    let list = json(&fs::read_to_string(fixture("guide/nodes.json")).unwrap());
    let items = list["items"].as_array().unwrap();
    let yaml = |node: &Value| serde_saphyr::to_string(node).unwrap();
    let documents = format!("---\n{}---\n{}", yaml(&items[0]), yaml(&items[1]));
    let folder = folder_with(&[
        ("a.yaml", &documents),
        ("b.json", &items[2].to_string()),
        ("c.yml", &yaml(&items[3])),
        ("notes.txt", "not: [a node"),
    ]);
    let path = folder.path().display().to_string();
    assert_eq!(eval(&rule(NRR), &path, ""), OPTION_A);

    let at = |file: &str| folder.path().join(file).display().to_string();
    let [a, b, c] = ["a.yaml", "b.json", "c.yml"].map(at);
    let rules = rule(NRR);
    let many = [
        "eval", "--rule", &rules, "--node", &a, &b, "--node", &c, "-ojson",
    ];
    assert_eq!(outcomes(&host(many).unwrap()), OPTION_A);
}

#[test]
fn a_list_of_its_own_kind_says_the_same() {
    let mut list = json(&fs::read_to_string(fixture("guide/nodes.json")).unwrap());
    // As the API server answers: the kind stands at the list alone, and the metadata before it.
    for node in list["items"].as_array_mut().unwrap() {
        let node = node.as_object_mut().unwrap();
        node.remove("kind");
        node.remove("apiVersion");
    }
    let items = &list["items"];
    let raw = format!(
        r#"{{"kind":"NodeList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":{items}}}"#
    );
    assert_eq!(eval(&rule(NRR), "-", &raw), OPTION_A);

    let rule = fs::read_to_string(fixture("guide/rule-saved.yaml")).unwrap();
    let rules = rule.replace(
        "apiVersion: v1\n",
        "apiVersion: readiness.node.x-k8s.io/v1alpha1\n",
    );
    let rules = rules.replace("kind: List", "kind: NodeReadinessRuleList");
    assert_eq!(eval("-", &fixture("guide/nodes.yaml"), &rules), OPTION_A);
}

/// More than what a YAML parser is ready for that only knows configuration files.
#[test]
fn thousands_of_nodes_can_be_given_as_yaml() {
    let saved = fs::read_to_string(fixture("guide/nodes.yaml")).unwrap();
    let (_, rest) = saved.split_once("items:\n").unwrap();
    let (items, _) = rest.split_once("kind: List\n").unwrap();
    let mut list = "apiVersion: v1\nitems:\n".to_owned();
    for index in 0..500 {
        for name in [
            "kind-control-plane",
            "kind-worker3",
            "kind-worker2",
            "kind-worker",
        ] {
            // Longest first, so that each node gets a name of its own.
            let node = items
                .split("- apiVersion: v1\n  kind: Node")
                .find(|item| item.contains(&format!("\n    name: {name}\n")));
            let node = node.unwrap().replace(
                &format!("    name: {name}\n"),
                &format!("    name: {name}-{index}\n"),
            );
            list.push_str("- apiVersion: v1\n  kind: Node");
            list.push_str(&node);
        }
    }
    list.push_str("kind: List\nmetadata:\n  resourceVersion: \"\"\n");
    let outcomes = eval(&rule(NRR), "-", &list);
    assert_eq!(outcomes.len(), 1500);
    assert_eq!(
        outcomes
            .iter()
            .filter(|line| line.contains(" RemoveTaint "))
            .count(),
        500
    );
}
