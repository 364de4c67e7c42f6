//! What the documentation of the guest SDK tells an author to write and to type, from nothing to a
//! policy that decides.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::fs;
use std::path::Path;
use std::process::Command;

use cli_tests::program::{host, workspace};
use cli_tests::tools::{self, WASM_TOOLS};

#[test]
fn the_documented_policy_is_built_by_the_documented_commands_and_decides() {
    let source = fs::read_to_string(workspace().join("guest-sdk/src/lib.rs")).unwrap();
    let docs: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .fold(String::new(), |docs, line| {
            docs + line.strip_prefix(' ').unwrap_or(line) + "\n"
        });
    let blocks = blocks(&docs);
    let block = |language: &str, having: &str| {
        let found = blocks
            .iter()
            .find(|(name, text)| name == language && text.contains(having));
        found
            .unwrap_or_else(|| panic!("no block {language:?} with {having:?}"))
            .1
            .clone()
    };
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("steady");
    run(folder.path(), "cargo new --lib steady --vcs none");

    let code = block("", "impl Policy for Steady");
    let (policy, test) = code.split_once("// Its unit test").unwrap();
    let (_, test) = test.split_once('\n').unwrap();
    let test = format!("#[test]\nfn documented() {{\n{test}}}\n");
    fs::write(project.join("src/lib.rs"), format!("{policy}{test}")).unwrap();
    let sdk = workspace().join("guest-sdk");
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let (head, _) = manifest.split_once("[dependencies]").unwrap();
    let documented = block("toml", "crate-type").replace("…/guest-sdk", sdk.to_str().unwrap());
    fs::write(project.join("Cargo.toml"), format!("{head}{documented}")).unwrap();
    fs::create_dir(project.join(".cargo")).unwrap();
    fs::write(
        project.join(".cargo/config.toml"),
        block("toml", "rustflags"),
    )
    .unwrap();
    // The lock file of the workspace: its versions are the ones that are here.
    fs::copy(workspace().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    fs::copy(
        workspace().join("rust-toolchain.toml"),
        project.join("rust-toolchain.toml"),
    )
    .unwrap();

    run(&project, "cargo test --quiet --lib");
    let mut built = false;
    for command in block("sh", "wasm-tools component new").lines() {
        let command = command.split('#').next().unwrap().trim();
        match command.split(' ').next().unwrap() {
            // The set-up of this repository has done it.
            "rustup" => {}
            "host" => {
                assert!(built, "the policy comes first");
                fs::write(project.join("rule.yaml"), RULE).unwrap();
                fs::write(project.join("node.yaml"), NODE).unwrap();
                let arguments = command.strip_prefix("host ").unwrap().split(' ');
                let paths = arguments.map(|argument| match argument.contains('.') {
                    true => project.join(argument).display().to_string(),
                    false => argument.to_owned(),
                });
                let now = ["--now", "2026-07-01T12:00:00Z"].map(str::to_owned);
                let output = host(paths.chain(now)).unwrap();
                assert_eq!((output.status, output.stderr.as_str()), (0, ""));
                assert!(output.stdout.contains("NotSteady"), "{}", output.stdout);
            }
            _ if command == "cargo install wasm-tools" => {
                WASM_TOOLS.folder().unwrap();
            }
            _ => {
                run(&project, command);
                built |= command.starts_with("wasm-tools");
            }
        }
    }
    assert!(built);
}

/// Ready for 29 s where 30 are wanted.
const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: worker-1, labels: {kubernetes.io/os: linux}}
status:
  conditions:
  - {type: Ready, status: 'True', lastTransitionTime: '2026-07-01T11:59:31Z'}
";
const RULE: &str = "
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata: {name: steady}
spec:
  conditions: [{type: Ready, requiredStatus: 'True'}]
  taint: {key: readiness.k8s.io/steady, effect: NoSchedule}
  enforcementMode: continuous
  nodeSelector: {matchLabels: {kubernetes.io/os: linux}}
";

/// The fenced blocks of a Markdown text: language and content.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut parts = text.split("```");
    parts.next();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (language, content) = block.split_once('\n').unwrap();
        blocks.push((language.to_owned(), content.to_owned()));
    }
    blocks
}

/// Runs a command as a shell would, with wasm-tools on the path.
fn run(folder: &Path, command: &str) {
    let output = tools::plain(Command::new("sh"))
        .args(["-ec", command])
        .current_dir(folder)
        .env("PATH", tools::path(&[WASM_TOOLS]).unwrap())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
