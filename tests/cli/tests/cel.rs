//! The policy `cel`, as a rule has it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use cli_tests::cases::{Eval, load_folder, play};
use cli_tests::program::{Output, workspace};
use cli_tests::tools;
use common::{NODE, RULE, eval, json};

/// As `--policy` takes it.
fn policy() -> String {
    let path = guest_builder::path("cel-policy").unwrap();
    format!("cel={}", path.display())
}

/// What the policy says of a node, with this expression in YAML.
fn with(expression: &str, more: &[&str]) -> Output {
    let rule = format!(
        "{RULE}  policy:\n    name: cel\n    parameters:\n      expression: {expression}\n"
    );
    let cache = tools::cache().unwrap().display().to_string();
    let policy = policy();
    let given = ["--policy", &policy, "--policy-cache", &cache];
    eval(&rule, NODE, &[&given, more].concat())
}

#[test]
fn every_case_passes() {
    let policy = policy();
    let cache = tools::cache().unwrap();
    let cases = load_folder(&workspace().join("policies/cel/cases")).unwrap();
    assert!(cases.len() >= 2);
    for case in cases {
        let mut eval = Eval::with_policy(Path::new(&policy), &cache).unwrap();
        play(&case, &mut eval).unwrap();
    }
}

#[test]
fn an_expression_that_is_refused_is_told_with_its_places() {
    let output = with("true && node.ready", &[]);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    assert_eq!(
        output.stderr,
        "error: rule.yaml:14:7: rule 'agent', policy cel: spec.policy.parameters.expression: line 1, \
         column 9: unknown variable 'node'; what is known of a node is asked by functions, such as \
         conditionIs('Ready', 'True')\n"
    );
    let output = with("\"conditionIs('Ready', 'True'\"", &[]);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""));
    let place = "spec.policy.parameters.expression: line 1, column 28: ";
    assert!(output.stderr.contains(place), "{}", output.stderr);
}

/// The kind of error with which an expression ends.
fn fails(expression: &str) -> String {
    let output = with(expression, &["-ojson"]);
    assert_eq!(output.status, 3, "{}", output.stderr);
    let report = json(&output.stdout);
    let kind = report["results"][0]["error"]["kind"].as_str();
    kind.unwrap().to_owned()
}

#[test]
fn what_an_expression_costs_is_bounded() {
    let hundred = format!("[{}1]", "1,".repeat(99));
    let mut slow = String::from("\"");
    for name in ["a", "b", "c", "d"] {
        write!(slow, "{hundred}.all({name}, ").unwrap();
    }
    slow += "a + b + c + d > 0))))\"";
    // Which of the two limits it meets first is a matter of the machine.
    let kind = fails(&slow);
    assert!(
        ["DeadlineExceeded", "MemoryExceeded"].contains(&kind.as_str()),
        "{kind}"
    );
    for expression in ["\"label('pool') + ''\"", "\"int(label('pool')) > 0\""] {
        assert_eq!(fails(expression), "PolicyError", "{expression}");
    }
}

#[test]
fn an_expression_that_turns_with_the_taint_that_follows_from_it_changes_nothing() {
    for expression in [
        "tainted()",
        "\"hasTaint('readiness.k8s.io/agent', 'NoSchedule')\"",
    ] {
        assert_eq!(fails(expression), "TaintFlaps", "{expression}");
    }
    for expression in ["\"!tainted()\"", "\"hasTaint('other', 'NoSchedule')\""] {
        let output = with(expression, &["-ojson"]);
        assert_eq!(output.status, 0, "{expression}: {}", output.stdout);
    }
}

/// As deep as is allowed, in each way in which an expression can be deep, it fits into the policy's stack.
#[test]
fn the_deepest_expression_can_be_evaluated() {
    let nested = |open: &str, middle: &str, close: &str, times: usize| {
        format!("\"{}{middle}{}\"", open.repeat(times), close.repeat(times))
    };
    for (expression, deeper) in [
        (
            nested("[1].all(x, ", "true", ")", 7),
            nested("[1].all(x, ", "true", ")", 30),
        ),
        (
            nested("!(true && ", "true", ")", 10),
            nested("!(true && ", "true", ")", 30),
        ),
        (
            "\"[[[[[[[[1]]]]]]]] == []\"".to_owned(),
            nested("[", "1", "]", 40),
        ),
        (
            format!("\"1{} > 0\"", " + 1".repeat(21)),
            format!("\"1{} > 0\"", " + 1".repeat(30)),
        ),
    ] {
        let output = with(&expression, &["-ojson"]);
        assert_eq!(
            output.status, 0,
            "{expression}: {}{}",
            output.stderr, output.stdout
        );
        let output = with(&deeper, &[]);
        assert_eq!(output.status, 2, "{deeper}: {}", output.stderr);
        assert!(
            output.stderr.contains("nested too deeply"),
            "{}",
            output.stderr
        );
    }
}
