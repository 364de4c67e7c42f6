//! The second README command. The quick checks first.

use crate::steps::{cargo, step};
use crate::{codegen, setup, walls};

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
    step(
        "tests",
        cargo(&["test", "--workspace"]).env("PATH", path_with(&setup::wasm_tools()?)?),
    )
}

fn path_with(folder: &std::path::Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
