//! What the documentation of the guest SDK tells an author to write and to type, from nothing to a
//! policy that decides.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_tests::program::{host, workspace};

/// The line of wasm-tools that is tested; it is built once and kept in the user's cache.
const WASM_TOOLS: &str = "1.258.0";

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
            _ if command == "cargo install wasm-tools" => install_wasm_tools(),
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
metadata: {name: worker-1}
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
  nodeSelector: {}
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

fn tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    cache
        .join("node-readiness-host")
        .join(format!("wasm-tools-{WASM_TOOLS}"))
}

fn install_wasm_tools() {
    let folder = tools();
    if folder.join("bin/wasm-tools").is_file() {
        return;
    }
    let folder = folder.to_str().unwrap();
    // Only what the documentation uses: all of it takes four times as long.
    let features = "--no-default-features --features component";
    run(
        Path::new("/"),
        &format!(
            "cargo install wasm-tools --version {WASM_TOOLS} --locked {features} --root {folder}"
        ),
    );
}

/// Runs a command as a shell would, with wasm-tools on the path.
fn run(folder: &Path, command: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&path));
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(paths).unwrap())
        // What cargo tells this test's own process is not meant for another project.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
