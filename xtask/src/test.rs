//! The second README command. The quick checks first.

use crate::steps::{cargo, step};
use crate::{codegen, compat, setup, walls};

/// Runs everything that must hold.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::wasm_target()?;
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    walls::check()?;
    step(
        "lints",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]),
    )?;
    codegen::run(true)?;
    compat::run(true)?;
    step("tests", &mut cargo(&["test", "--workspace"]))
}
