//! What a fresh machine lacks.

use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{root, step};

/// Policies are compiled for it. `rust-toolchain.toml` names it, but rustup does not always follow.
pub(crate) fn wasm_target() -> anyhow::Result<()> {
    target("wasm32-unknown-unknown")
}

/// Installs the standard library of a target, if it is missing.
pub(crate) fn target(target: &str) -> anyhow::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root())
        .output()
        .context("rustc cannot be started")?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && std::path::Path::new(&folder).is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).current_dir(root());
    if let Err(error) = step(&format!("install the target {target}"), &mut rustup) {
        bail!(
            "{error:#}; install the Rust target {target}, by `rustup target add {target}` or your system's packages"
        );
    }
    Ok(())
}
