//! Builds a policy of this workspace to a component, with cargo in a target folder of its own.
//!
//! For the build script of the host, which embeds the default policy, and for tests and benches.
//! It is no part of any program.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What policies are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// `[profile.policy]` of the root manifest.
const PROFILE: &str = "policy";

/// A stack of 64 KiB instead of Rust's 1 MiB: what is touched has to be cleared after each
/// evaluation.
const FLAGS: &str = "-Clink-arg=-zstack-size=65536";

/// How many files this process began to write.
static PARTS: AtomicUsize = AtomicUsize::new(0);

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target's standard library is not there.
    #[error(
        "a policy cannot be built because Rust's {TARGET} target is missing: \
         `rustup target add {TARGET}` installs it"
    )]
    MissingTarget,
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Which one.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// Cargo failed.
    #[error("cargo could not build {package} for {TARGET}:\n{output}")]
    Cargo {
        /// The package.
        package: String,
        /// What cargo wrote.
        output: String,
    },
    /// The module is not a policy.
    #[error("the module of {package} does not make a component: {message}")]
    Component {
        /// The package.
        package: String,
        /// Why not.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The root of this workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Builds a package of this workspace, and gives the path of its component. Fast where nothing
/// changed: for tests and benches.
///
/// # Errors
///
/// As [`build`].
pub fn path(package: &str) -> Result<PathBuf, Error> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace().join("target"),
        |target| workspace().join(target),
    );
    let folder = target.join("guests");
    let component = build(package, &folder)?;
    let path = folder.join(format!("{package}.wasm"));
    // Tests run in several processes and threads: none may see half a file, nor take another's away.
    let number = PARTS.fetch_add(1, Ordering::Relaxed);
    let part = folder.join(format!("{package}.{}.{number}.part", id()));
    fs::write(&part, component)
        .and_then(|()| fs::rename(&part, &path))
        .map_err(file(&path))?;
    Ok(path)
}

/// Builds a package of this workspace in this target folder, and gives its component.
///
/// # Errors
///
/// Where the target is not installed, the package does not compile, or is no policy.
pub fn build(package: &str, target: &Path) -> Result<Vec<u8>, Error> {
    require_target()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--lib", "--package", package])
        .args(["--target", TARGET, "--profile", PROFILE])
        .arg("--manifest-path")
        .arg(workspace().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    for (name, _) in env::vars_os() {
        if is_for_the_outer_build(&name) {
            cargo.env_remove(name);
        }
    }
    // Ranks above every other place that flags can come from.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS);
    let output = cargo.output().map_err(start("cargo"))?;
    if !output.status.success() {
        return Err(Error::Cargo {
            package: package.into(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let module = target
        .join(TARGET)
        .join(PROFILE)
        .join(format!("{}.wasm", package.replace('-', "_")));
    let module = fs::read(&module).map_err(file(&module))?;
    component(&module).map_err(|message| Error::Component {
        package: package.into(),
        message,
    })
}

/// As `wasm-tools component new` does.
fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Cargo's own message about a missing target is a page of errors about a missing `core`.
fn require_target() -> Result<(), Error> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(start("rustc"))?;
    let folder = String::from_utf8_lossy(&output.stdout);
    if Path::new(folder.trim()).is_dir() {
        Ok(())
    } else {
        Err(Error::MissingTarget)
    }
}

/// Is this variable about the build that runs us? Its flags, target, profile and wrapper (which is
/// Clippy's driver under `cargo clippy`) are not those of a policy. What says where packages come
/// from and how cargo prints stays.
fn is_for_the_outer_build(name: &OsStr) -> bool {
    const KEEP: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROP: [&str; 10] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "MAKEFLAGS",
        "TARGET",
        "OPT_LEVEL",
        "PROFILE",
        "DEBUG",
        "OUT_DIR",
    ];
    let Some(name) = name.to_str() else {
        return false;
    };
    DROP.contains(&name)
        || name.starts_with("CARGO_") && !KEEP.iter().any(|keep| name.starts_with(keep))
}

fn start(program: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Start {
        program: program.into(),
        source,
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::File { path, source }
}
