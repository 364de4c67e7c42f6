//! `host eval` with policies by name.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use cli_tests::program::{Output, host_in};
use common::{NODE, RULE, folder_with, hostile, json};

/// Two rules: `first` names no policy, `second` names `other`.
fn evaluate(policies: &[&str]) -> Output {
    let rule = |name: &str| RULE.replace("name: agent", &format!("name: {name}"));
    let second = rule("second").replace("/agent,", "/other,");
    let rules = format!("{}---\n{second}  policy: {{name: other}}\n", rule("first"));
    let folder = folder_with(&[("rules.yaml", &rules), ("node.yaml", NODE)]);
    let arguments = [
        "eval",
        "--rule",
        "rules.yaml",
        "--node",
        "node.yaml",
        "-ojson",
    ];
    host_in(folder.path(), &[&arguments, policies].concat(), &[]).unwrap()
}

/// The policies that decided about the two rules.
fn deciding(policies: &[&str]) -> [String; 2] {
    let output = evaluate(policies);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    let report = json(&output.stdout);
    [0, 1].map(|rule| {
        let name = &report["results"][rule]["policy"]["name"];
        name.as_str().unwrap().to_owned()
    })
}

#[test]
fn each_rule_is_decided_by_the_policy_that_it_names() {
    let hostile = hostile();
    let other = format!("other={hostile}");
    let own_default = format!("default={hostile}");
    assert_eq!(deciding(&["--policy", &other]), ["default", "hostile"]);
    let both = ["--policy", &other, "--policy", &own_default];
    assert_eq!(deciding(&both), ["hostile", "hostile"]);
    let both = ["--policy", &other, "--policy", &hostile];
    assert_eq!(deciding(&both), ["hostile", "hostile"]);
}

#[test]
fn a_policy_that_is_named_and_not_given() {
    let others = format!("others={}", hostile());
    for policies in [vec![], vec!["--policy", &others]] {
        let output = evaluate(&policies);
        assert_eq!((output.status, output.stdout.as_str()), (2, ""));
        let (_, error) = output.stderr.split_once("error: ").unwrap();
        assert_eq!(
            error,
            "rules.yaml:22:12: rule 'second': spec.policy.name: there is no policy \"other\"; \
             `host eval --policy other=FILE.wasm` gives it\n"
        );
    }
}

#[test]
fn a_policy_that_decides_nothing_is_told_of() {
    let hostile = hostile();
    let (other, third) = (format!("other={hostile}"), format!("third={hostile}"));
    let output = evaluate(&["--policy", &other, "--policy", &third]);
    assert_eq!(output.status, 0);
    let note = format!("note: {hostile} decides nothing: no given rule has the policy third\n");
    assert_eq!(output.stderr, note);
    let output = evaluate(&["--policy", &other, "--policy", &other]);
    assert_eq!(output.status, 2);
    assert_eq!(
        output.stderr,
        "error: --policy gives two policies for other\n"
    );
}
