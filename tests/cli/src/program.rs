//! The program under test.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// A program of the workspace, and the variable with the path of a binary to test in its place.
struct Program {
    name: &'static str,
    variable: &'static str,
    built: OnceLock<Result<PathBuf, String>>,
}

static HOST: Program = Program::new("host", "HOST_BINARY");
static REPORTER: Program = Program::new("node-readiness-reporter", "REPORTER_BINARY");

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// The result.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

/// Says what a test does not look at, and why: also where the test passes, and what is printed by macros
/// is kept back.
pub fn not_tested(why: &str) {
    // Where nobody listens, nobody is told.
    let _ = writeln!(std::io::stderr(), "not tested: {why}");
}

/// The folder that the workspace is in.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Runs the program. Nothing of the caller's own cluster configuration reaches it.
pub fn host<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Output> {
    host_with(arguments, "", &[])
}

/// Runs the program with this on its standard input and these variables set.
pub fn host_with<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    input: &str,
    variables: &[(&str, &str)],
) -> Result<Output> {
    let mut command = command()?;
    command.args(arguments).envs(variables.iter().copied());
    output(command, input)
}

/// Runs the program in a folder.
pub fn host_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = command()?;
    command.current_dir(folder);
    command.args(arguments).envs(variables.iter().copied());
    output(command, "")
}

fn output(mut command: Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let output = std::thread::scope(|scope| {
        // A program that does not read its input closes it: no failure of the test.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    })?;
    Ok(Output {
        status: output
            .status
            .code()
            .context("the program was ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// A command of the program, to be completed.
pub fn command() -> Result<Command> {
    let mut command = Command::new(binary()?);
    for name in [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "HTTPS_PROXY",
        "https_proxy",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Path of the program. It is built once in a test process, as the test itself was built.
pub fn binary() -> Result<&'static Path> {
    HOST.path()
}

/// Path of the reporter, built as [`binary`] is.
pub fn reporter() -> Result<&'static Path> {
    REPORTER.path()
}

impl Program {
    const fn new(name: &'static str, variable: &'static str) -> Self {
        Self {
            name,
            variable,
            built: OnceLock::new(),
        }
    }

    fn path(&'static self) -> Result<&'static Path> {
        let build = || self.find().map_err(|error| format!("{error:#}"));
        match self.built.get_or_init(build) {
            Ok(path) => Ok(path),
            Err(error) => bail!("{error}"),
        }
    }

    fn find(&self) -> Result<PathBuf> {
        let Self { name, variable, .. } = self;
        if let Some(path) = std::env::var_os(variable) {
            let path = PathBuf::from(path);
            ensure!(
                path.is_file(),
                "{variable} names {}, which is no file",
                path.display()
            );
            // A test may run it in another folder.
            return Ok(path.canonicalize()?);
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "build",
                "--quiet",
                // Not `--package`: with the features of the whole workspace nothing is compiled twice.
                "--workspace",
                "--bin",
                name,
                "--message-format=json-render-diagnostics",
            ])
            .arg("--manifest-path")
            .arg(workspace().join("Cargo.toml"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // What cargo says of the package of this test. Build scripts watch it: with another package's they
        // would run again, and what depends on them would be compiled again.
        for (variable, _) in std::env::vars_os() {
            let of_package = [
                "CARGO_MANIFEST_",
                "CARGO_PKG_",
                "CARGO_CRATE_",
                "CARGO_BIN_",
            ];
            let text = variable.to_string_lossy();
            if of_package.iter().any(|prefix| text.starts_with(prefix)) {
                cargo.env_remove(variable);
            }
        }
        let output = cargo
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started")?;
        ensure!(output.status.success(), "cargo could not build the program");
        let messages = String::from_utf8(output.stdout)?;
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == *name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo built the program and did not say where")
    }
}
