//! What a fresh machine lacks.

use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{root, step};

const TARGET: &str = "wasm32-unknown-unknown";

/// Policies are compiled for it. `rust-toolchain.toml` names it, but rustup does not always follow.
pub(crate) fn wasm_target() -> anyhow::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root())
        .output()
        .context("rustc cannot be started")?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && std::path::Path::new(&folder).is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(root());
    if let Err(error) = step("install the wasm target", &mut rustup) {
        bail!(
            "{error:#}; install the Rust target {TARGET}, by `rustup target add {TARGET}` or your system's packages"
        );
    }
    Ok(())
}
