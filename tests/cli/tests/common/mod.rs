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

use cli_tests::program::{Output, host_in};
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
