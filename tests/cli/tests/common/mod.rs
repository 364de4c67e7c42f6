//! What the tests of the command line share.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

use std::fs;
use std::path::Path;

use cli_tests::cases::{Eval, compare, load_folder, play};
use cli_tests::program::{Output, host_in, workspace};
use serde_json::Value;
use tempfile::TempDir;

/// A rule that is sound.
pub const RULE: &str = "\
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata:
  name: agent
spec:
  conditions:
  - {type: example.com/AgentReady, requiredStatus: \"True\"}
  enforcementMode: continuous
  taint: {key: readiness.k8s.io/agent, value: pending, effect: NoSchedule}
  nodeSelector: {matchLabels: {pool: agent}}
";

/// A node that it selects, and that is not ready.
pub const NODE: &str = "\
apiVersion: v1
kind: Node
metadata:
  name: worker
  labels: {pool: agent}
status:
  conditions:
  - {type: example.com/AgentReady, status: \"False\"}
";

/// Path of a file below `fixtures`.
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    path.display().to_string()
}

/// A temporary folder with these files.
pub fn folder_with(files: &[(&str, &str)]) -> TempDir {
    folder_of(files)
}

fn folder_of<C: AsRef<[u8]>>(files: &[(&str, C)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Runs the program in a temporary folder with these files.
pub fn host_among<C: AsRef<[u8]>>(files: &[(&str, C)], arguments: &[&str]) -> Output {
    host_in(folder_of(files).path(), arguments, &[]).unwrap()
}

/// Runs `host eval` on a rule and a node from files named `rule.yaml` and `node.yaml`, with more
/// arguments.
pub fn eval(rule: &str, node: &str, more: &[&str]) -> Output {
    let arguments = ["eval", "--rule", "rule.yaml", "--node", "node.yaml"];
    host_among(
        &[("rule.yaml", rule), ("node.yaml", node)],
        &[arguments.as_slice(), more].concat(),
    )
}

/// Bad usage or bad input, and this is all that is said.
#[track_caller]
pub fn refused(output: &Output, expected: &str) {
    refused_as(output, expected);
    assert_eq!(output.stderr.trim_end(), expected);
}

/// Bad usage or bad input, and what is said begins so.
#[track_caller]
pub fn refused_as(output: &Output, beginning: &str) {
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.starts_with(beginning), "{}", output.stderr);
}

/// Path of the policy that misbehaves as the name of the rule tells it to.
pub fn hostile() -> String {
    guest_builder::path("hostile-guest")
        .unwrap()
        .display()
        .to_string()
}

/// Parses what must be JSON.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The rule, with this policy of the box and these parameters for it.
pub fn rule_with(policy: &str, parameters: &str) -> String {
    format!("{RULE}  policy: {{name: {policy}, parameters: {parameters}}}\n")
}

/// What that policy says at the beginning of 2026-01-02, with the rule's condition met, and these objects beside
/// the node.
pub fn decided(policy: &str, parameters: &str, objects: &[&str]) -> Output {
    let node = NODE.replace("status: \"False\"", "status: \"True\"");
    let all: Vec<_> = [&*node].iter().chain(objects).copied().collect();
    let built_in = format!("{policy}=builtin:{policy}");
    let more = ["-ojson", "--now", "2026-01-02T00:00:00Z"];
    let more = [&more[..], &["--policy", &built_in]].concat();
    eval(&rule_with(policy, parameters), &all.join("\n---\n"), &more)
}

/// The cases of a policy of the box, which expect something, go through `host eval`.
pub fn every_case_passes(policy: &str) {
    let folder = workspace().join(format!("policies/{policy}/cases"));
    let cases = load_folder(&folder).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let named = Eval::with_named(policy, format!("builtin:{policy}").as_ref());
        if let Err(error) = named.and_then(|mut eval| play(case, &mut eval)) {
            failures.push(format!("{error:#}"));
        }
        for step in &case.steps {
            let nothing = compare(&step.expect, &Default::default(), &Default::default());
            assert!(!nothing.is_empty(), "{}", case.name);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases.len() >= 2);
}
