//! Tools that authors of policies use, as they are told to install them. They are built once, and kept in the
//! user's cache.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A crate with a program of the same name.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    name: &'static str,
    version: &'static str,
    program: &'static str,
    /// Only what the documentation uses: all of it takes four times as long.
    features: &'static str,
}

/// The line of wasm-tools that is tested.
pub const WASM_TOOLS: Tool = Tool {
    name: "wasm-tools",
    version: "1.258.0",
    program: "wasm-tools",
    features: "component",
};

/// The line of wit-bindgen that the guest SDK builds on.
pub const WIT_BINDGEN: Tool = Tool {
    name: "wit-bindgen-cli",
    version: "0.61.0",
    program: "wit-bindgen",
    features: "c,go",
};

impl Tool {
    /// What an author types to get it.
    pub fn install(&self) -> String {
        let Self { name, version, .. } = self;
        format!("cargo install {name} --version {version} --locked")
    }

    /// The folder that has it.
    ///
    /// # Errors
    ///
    /// Where it is not there and cannot be installed.
    pub fn folder(&self) -> Result<PathBuf> {
        let Self {
            name,
            version,
            program,
            features,
        } = self;
        let root = cache()?.join(format!("{program}-{version}"));
        let folder = root.join("bin");
        if folder.join(program).is_file() {
            return Ok(folder);
        }
        fs::create_dir_all(&root)?;
        // One process installs it, others wait.
        let lock = File::create(root.join("lock"))?;
        lock.lock()?;
        if !folder.join(program).is_file() {
            let output = plain(Command::new("cargo"))
                .args(["install", name, "--version", version, "--locked"])
                .args(["--no-default-features", "--features", features, "--root"])
                .arg(&root)
                .output()
                .context("cargo cannot be started")?;
            ensure!(
                output.status.success(),
                "cargo cannot install {name}:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(folder)
    }
}

/// Where what is slow to build is kept.
///
/// # Errors
///
/// Where there is no place for it.
pub fn cache() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|folder| folder.is_absolute());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home);
    let cache = cache.context("set HOME, or XDG_CACHE_HOME to an absolute path")?;
    Ok(cache.join("node-readiness-host"))
}

/// `PATH` with the folders of these before it.
///
/// # Errors
///
/// Where one of them cannot be installed.
pub fn path(tools: &[Tool]) -> Result<OsString> {
    let mut folders = Vec::new();
    for tool in tools {
        folders.push(tool.folder()?);
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    Ok(env::join_paths(folders)?)
}

/// A command for another project: what cargo tells this process is not meant for it.
pub fn plain(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let keep = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR"];
        let is_kept = keep.iter().any(|keep| text.starts_with(keep));
        if text.starts_with("CARGO_") && !is_kept || text == "RUSTFLAGS" {
            command.env_remove(&name);
        }
    }
    command
}
