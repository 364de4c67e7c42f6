//! Running programs, and saying so.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::setup;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `cargo` with these arguments, at the root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a step with its output where the user sees it, and says how long it took.
pub(crate) fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    println!("== {what}");
    let started = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    if !status.success() {
        bail!("{what} failed ({status}); the command was: {command:?}");
    }
    println!("== {what}: done in {} s", started.elapsed().as_secs());
    Ok(())
}

/// The first README command.
pub(crate) fn demo(keep: bool) -> anyhow::Result<()> {
    setup::wasm_target()?;
    step(
        "build the host",
        &mut cargo(&["build", "--package", "host"]),
    )?;
    step(
        "build the demo",
        &mut cargo(&["build", "--package", "cluster-tests", "--bin", "demo"]),
    )?;
    let mut demo = cargo(&[
        "run",
        "--quiet",
        "--package",
        "cluster-tests",
        "--bin",
        "demo",
        "--",
    ]);
    if keep {
        demo.arg("--keep");
    }
    step("demo", &mut demo)
}
