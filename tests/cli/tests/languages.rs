//! The same policy in six languages: each passes the cases of the default policy that need no parameters.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write as _;
use std::path::PathBuf;

use cli_tests::cases::{Case, Eval, load_all, play};
use cli_tests::languages::{ALL, Built};
use cli_tests::program::{host, workspace};
use cli_tests::tools;
use serde_json::{Value, json};

/// Of a language that can be built here.
fn built(folder: &str) -> Option<PathBuf> {
    let language = ALL
        .iter()
        .find(|language| language.folder == folder)
        .unwrap();
    match language.build().unwrap_or_else(|error| panic!("{error:#}")) {
        Built::Policy(policy) => Some(policy),
        Built::Missing(what) => {
            // Past the test harness, which shows what a test prints only when it fails.
            let note = format!("NOT RUN: the policy in {folder} was not tested: no {what}\n");
            std::io::stderr().write_all(note.as_bytes()).unwrap();
            None
        }
    }
}

/// Those whose rules give no parameters.
fn cases() -> Vec<Case> {
    let mut cases = load_all().unwrap();
    cases.retain(|case| {
        let mut documents = case.steps.iter().flat_map(|step| &step.documents);
        documents.all(|document| document.value["spec"]["policy"].is_null())
    });
    cases
}

fn passes(folder: &str) {
    let Some(policy) = built(folder) else { return };
    let cache = tools::cache().unwrap();
    let mut failures = Vec::new();
    for case in cases() {
        let played = Eval::with_policy(&policy, &cache).and_then(|mut eval| play(&case, &mut eval));
        if let Err(error) = played {
            failures.push(format!("{error:#}"));
        }
    }
    assert!(failures.is_empty(), "{folder}:\n{}", failures.join("\n"));
    is_told_apart(folder, &policy);
}

/// It is this policy that decided, and it takes no parameters.
fn is_told_apart(folder: &str, policy: &std::path::Path) {
    let example = workspace().join("examples/security-agent-readiness");
    let cache = tools::cache().unwrap();
    let parameters = tempfile::tempdir().unwrap();
    let rule = example.join("nrr-variant/security-agent-readiness-rule.yaml");
    let with = std::fs::read_to_string(&rule).unwrap();
    let with = with.replacen(
        "spec:",
        "spec:\n  policy: {name: default, parameters: {a: 1}}",
        1,
    );
    let strict = parameters.path().join("rule.yaml");
    std::fs::write(&strict, with).unwrap();
    let eval = |rule: &std::path::Path| {
        let nodes = example.join("nodes.yaml");
        let arguments = [
            ("--rule", rule),
            ("--node", &nodes),
            ("--policy", policy),
            ("--policy-cache", &cache),
        ];
        let arguments = arguments.map(|(name, path)| [name.to_owned(), path.display().to_string()]);
        let first = ["eval", "-o", "json"].map(str::to_owned);
        host(first.into_iter().chain(arguments.into_iter().flatten())).unwrap()
    };
    let output = eval(&rule);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{folder}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let identity = &report["results"][0]["policy"];
    assert_eq!(identity["name"], json!("conditions"), "{folder}");
    assert_eq!(identity["version"], json!("1.0.0"), "{folder}");
    let output = eval(&strict);
    assert_eq!(output.status, 2, "{folder}: {}", output.stderr);
    assert!(
        output.stderr.contains("takes no parameters"),
        "{folder}: {}",
        output.stderr
    );
}

#[test]
fn most_cases_need_no_parameters() {
    let all = load_all().unwrap().len();
    let without = cases().len();
    assert!(
        without < all && without * 10 > all * 8,
        "{without} of {all}"
    );
}

/// What their README tells to type.
#[test]
fn the_readme_tells_what_is_tested() {
    let root = workspace();
    let readme = std::fs::read_to_string(root.join("examples/policies/README.md")).unwrap();
    for tool in [tools::WASM_TOOLS, tools::WIT_BINDGEN] {
        assert!(readme.contains(&tool.install()), "{}", tool.install());
    }
    for language in ALL {
        let row = format!("[{0}]({0}/README.md)", language.folder);
        assert!(readme.contains(&row), "{row}");
    }
    let (_, block) = readme.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut commands = block.lines();
    assert_eq!(commands.next(), Some("examples/policies/go/build.sh"));
    let eval = commands
        .next()
        .and_then(|line| line.strip_prefix("host "))
        .unwrap();
    let Some(policy) = built("go") else { return };
    let policy = policy.display().to_string();
    let arguments = eval.split(' ').map(|argument| match argument {
        // As built for the tests.
        "examples/policies/go/build/policy.wasm" => policy.clone(),
        file if file.contains('/') => root.join(file).display().to_string(),
        other => other.to_owned(),
    });
    let output = host(arguments).unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    assert!(
        output.stdout.contains("BootstrapCompleted"),
        "{}",
        output.stdout
    );
}

#[test]
fn rust_passes_the_cases_of_the_default_policy() {
    passes("rust");
}

#[test]
fn c_passes_the_cases_of_the_default_policy() {
    passes("c");
}

#[test]
fn assemblyscript_passes_the_cases_of_the_default_policy() {
    passes("assemblyscript");
}

#[test]
fn go_passes_the_cases_of_the_default_policy() {
    passes("go");
}

#[test]
fn javascript_passes_the_cases_of_the_default_policy() {
    passes("javascript");
}

#[test]
fn python_passes_the_cases_of_the_default_policy() {
    passes("python");
}
