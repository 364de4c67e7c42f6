//! The tests of the workspace that prove a promise.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::promises::is_proof;
use crate::steps::{cargo, root};

/// A test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Proof {
    program: Program,
    /// Its full name: `module::function`.
    path: String,
    pub(super) ignored: bool,
    /// Does it run against a real API server?
    pub(super) on_a_cluster: bool,
}

/// A program of tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    /// `package/target`.
    name: String,
    executable: PathBuf,
    /// The folder of its package: tests run there.
    folder: PathBuf,
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Failed,
}

impl Proof {
    /// The name of its function.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program.name, self.path)
    }
}

/// Builds all tests, and finds those that prove something.
pub(super) fn find() -> anyhow::Result<Vec<Proof>> {
    let mut proofs = Vec::new();
    for program in programs()? {
        let ignored = listed(&program, &["--ignored"])?;
        let on_a_cluster = program.folder.ends_with("tests/cluster");
        for path in listed(&program, &[])? {
            let proof = Proof {
                program: program.clone(),
                ignored: ignored.contains(&path),
                path,
                on_a_cluster,
            };
            if is_proof(proof.name()) {
                proofs.push(proof);
            }
        }
    }
    ensure!(!proofs.is_empty(), "no test was found");
    proofs.sort();
    Ok(proofs)
}

fn programs() -> anyhow::Result<Vec<Program>> {
    let output = cargo(&[
        "test",
        "--workspace",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ])
    .stderr(Stdio::inherit())
    .output()?;
    ensure!(output.status.success(), "the tests cannot be built");
    let mut programs = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed no JSON")?;
        let is_test = message["profile"]["test"] == true;
        let (Some(executable), true) = (message["executable"].as_str(), is_test) else {
            continue;
        };
        let manifest = message["manifest_path"].as_str().unwrap_or_default();
        let folder = Path::new(manifest).parent().unwrap_or(Path::new("/"));
        let package = folder.strip_prefix(root().canonicalize()?);
        let package = package.unwrap_or(folder).display();
        programs.push(Program {
            name: format!(
                "{package}/{}",
                message["target"]["name"].as_str().unwrap_or_default()
            ),
            executable: executable.into(),
            folder: folder.to_owned(),
        });
    }
    Ok(programs)
}

fn listed(program: &Program, more: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = start(program).arg("--list").args(more).output()?;
    ensure!(output.status.success(), "{} lists no tests", program.name);
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// As `cargo test` starts it.
fn start(program: &Program) -> Command {
    let mut command = Command::new(&program.executable);
    command
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder);
    command
}

/// Runs these tests, and no others.
pub(super) fn run(proofs: &[Proof]) -> anyhow::Result<BTreeMap<Proof, Outcome>> {
    let mut by_program: BTreeMap<&Program, Vec<&Proof>> = BTreeMap::new();
    for proof in proofs.iter().filter(|proof| !proof.ignored) {
        by_program.entry(&proof.program).or_default().push(proof);
    }
    let mut outcomes = BTreeMap::new();
    for (program, proofs) in by_program {
        println!("== {}", program.name);
        let mut child = start(program)
            .arg("--exact")
            .args(proofs.iter().map(|proof| &proof.path))
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.executable.display()))?;
        let mut passed = Vec::new();
        for line in child
            .stdout
            .take()
            .map(BufReader::new)
            .into_iter()
            .flat_map(BufRead::lines)
        {
            let line = line?;
            println!("{line}");
            passed.extend(
                line.strip_prefix("test ")
                    .and_then(|line| line.strip_suffix(" ... ok"))
                    .map(str::to_owned),
            );
        }
        child.wait()?;
        // One that says nothing, as when the program is killed, has failed.
        outcomes.extend(proofs.into_iter().map(|proof| {
            let ok = passed.contains(&proof.path);
            (
                proof.clone(),
                if ok { Outcome::Ok } else { Outcome::Failed },
            )
        }));
    }
    Ok(outcomes)
}
