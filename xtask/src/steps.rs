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
    // What cargo says of this package. Build scripts watch it: with another package's they would run
    // again, and what depends on them would be compiled again.
    for (name, _) in std::env::vars_os() {
        let of_package = [
            "CARGO_MANIFEST_",
            "CARGO_PKG_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
        ];
        let text = name.to_string_lossy();
        if of_package.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds every program. Always of the whole workspace: with the same features everywhere there is
/// one copy of each dependency to compile, and wasmtime is a large one.
pub(crate) fn build() -> Command {
    cargo(&["build", "--workspace", "--bins", "--examples"])
}

/// Where everything is built.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where a program of the workspace is built.
pub(crate) fn program(name: &str) -> PathBuf {
    target_folder().join("debug").join(name)
}

/// Is there such a program?
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
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
    step("build", &mut build())?;
    let mut demo = Command::new(program("demo"));
    demo.current_dir(root());
    if keep {
        demo.arg("--keep");
    }
    step("demo", &mut demo)
}
