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

use cli_tests::program::{Output, host};
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
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Runs `host eval` on a rule and a node from files named `rule.yaml` and `node.yaml`, with more
/// arguments; the folder's path is taken out of what it says.
pub fn eval(rule: &str, node: &str, more: &[&str]) -> Output {
    let folder = folder_with(&[("rule.yaml", rule), ("node.yaml", node)]);
    let at = |file: &str| folder.path().join(file).display().to_string();
    let [rule, node] = [at("rule.yaml"), at("node.yaml")];
    let mut output = host(
        ["eval", "--rule", &rule, "--node", &node]
            .iter()
            .chain(more),
    )
    .unwrap();
    output.stderr = output
        .stderr
        .replace(&format!("{}/", folder.path().display()), "");
    output
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
