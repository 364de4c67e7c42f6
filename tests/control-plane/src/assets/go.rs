//! Building the programs with the Go toolchain.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::environment::Environment;
use super::{POLL_INTERVAL, PROGRESS_INTERVAL, elapsed, key};
use crate::process::{Lifetime, Process, command, find_program};

/// A folder with a go.mod that pins one upstream module and all it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name beside the manifest of this crate.
    pub(super) folder: &'static str,
    /// The upstream module; the version that go.mod requires of it is the version built.
    pub(super) path: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// The name of the binary.
    pub(super) name: &'static str,
    pub(super) module: Module,
    /// Its main package.
    pub(super) package: &'static str,
}

/// A Go toolchain that is new enough for the modules.
#[derive(Debug)]
pub(super) struct Go {
    program: PathBuf,
    /// The output of `go version`: toolchain and platform.
    version: String,
    modules: PathBuf,
    /// What is wanted of it, as a sentence lists it.
    wanted: String,
}

/// The other way to have these programs.
fn without_go(wanted: &str) -> String {
    format!("or set KUBEBUILDER_ASSETS to a folder that has {wanted}")
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

impl Go {
    pub(super) fn find(
        environment: &Environment,
        modules: &Path,
        wanted: &[&str],
    ) -> anyhow::Result<Self> {
        let needed = needed_go(&go_mod(modules, super::KUBERNETES)?)?;
        let wanted = listed(wanted);
        let without_go = without_go(&wanted);
        let Some(program) = find_program(&environment.path, "go") else {
            bail!(
                "there is no `go` on the PATH to build {wanted} from source: install Go {needed} or newer, \
                 {without_go}"
            );
        };
        // Asked inside the module, where GOTOOLCHAIN=auto switches to what go.mod wants.
        let output = go_command(&program, &modules.join(super::KUBERNETES.folder))
            .arg("version")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            bail!(
                "`{} version` failed ({}): {}\nrepair the Go installation, {without_go}",
                program.display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim(),
            );
        }
        // A development build of Go has no such number; let the build decide.
        if let Some(found) = toolchain_version(&version)
            && found < needed
        {
            bail!(
                "building {wanted} from source takes Go {needed} or newer, and {} is Go {found}: install \
                 Go {needed}, {without_go}",
                program.display(),
            );
        }
        Ok(Self {
            program,
            version,
            modules: modules.to_path_buf(),
            wanted,
        })
    }

    /// The folder of an upstream module, as it is published.
    pub(super) fn fetched(&self, module: Module) -> anyhow::Result<PathBuf> {
        let output = go_command(&self.program, &self.modules.join(module.folder))
            .args(["mod", "download", "-json", module.path])
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let folder = told["Dir"].as_str().map(PathBuf::from);
        folder.with_context(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            let error = told["Error"].as_str().unwrap_or(&error);
            format!("module {} cannot be fetched: {error}", module.path)
        })
    }

    /// What the built programs depend on, as the name of a folder.
    pub(super) fn key(&self, modules: &[Module]) -> anyhow::Result<String> {
        let mut parts = vec![self.version.clone()];
        for module in modules {
            parts.push(go_mod(&self.modules, *module)?);
            let folder = self.modules.join(module.folder);
            parts.push(read(&folder.join("go.sum"))?);
            // A program of our own.
            let source = folder.join("main.go");
            if source.exists() {
                parts.push(read(&source)?);
            }
            parts.extend(flags(&module_version(&self.modules, *module)?));
        }
        Ok(key::key(parts.iter().map(String::as_bytes)))
    }

    /// Builds one program into `folder`. It appears there complete or not at all.
    pub(super) fn build(
        &self,
        program: &Program,
        folder: &Path,
        position: &str,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<()> {
        let Program {
            name,
            module,
            package,
        } = program;
        let version = module_version(&self.modules, *module)?;
        let unfinished = folder.join(format!(".{name}.unfinished"));
        let log = folder.join(format!("{name}.log"));
        // Go refuses to write over half a file that a killed build left there.
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", unfinished.display()));
        }
        let mut build = go_command_for(
            command(&self.program, Lifetime::OfThisProcess),
            &self.modules.join(module.folder),
        );
        build.args(["build", "-v", "-o"]).arg(&unfinished);
        build.args(flags(&version)).arg(package);

        let start = Instant::now();
        let mut process = Process::spawn("go build", build, &log)?;
        let mut next_report = Duration::ZERO;
        let status = loop {
            if let Some(status) = process.exit_status()? {
                break status;
            }
            if start.elapsed() >= next_report {
                // `-v` prints a line for each package that had to be compiled.
                let output = fs::read_to_string(&log).unwrap_or_default();
                let packages = output
                    .lines()
                    .filter(|line| !line.starts_with("go: "))
                    .count();
                progress(&format!(
                    "building {name} {version} from source ({position}): {}, {packages} packages compiled",
                    elapsed(start),
                ));
                next_report += PROGRESS_INTERVAL;
            }
            sleep(POLL_INTERVAL);
        };
        if !status.success() {
            bail!(
                "building {name} {version} failed ({status}). Go needs the network once, to fetch the modules, \
                 and about 4 GB of disk; {}. The end of {}:\n{}",
                without_go(&self.wanted),
                log.display(),
                process.log_tail(),
            );
        }
        let finished = folder.join(name);
        fs::rename(&unfinished, &finished).with_context(|| {
            format!(
                "cannot rename {} to {}",
                unfinished.display(),
                finished.display()
            )
        })?;
        progress(&format!("built {name} {version} in {}", elapsed(start)));
        Ok(())
    }
}

/// The flags of `go build`. Version numbers are stamped in as the release scripts of Kubernetes
/// do: clients and the API server both report them. The linker ignores them for etcd, which
/// has no such variables. A published module does not say which commit it was, and a date
/// would make two builds differ.
fn flags(version: &str) -> [String; 3] {
    let mut numbers = version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let stamps: String = [
        ("gitVersion", version),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitCommit", "unknown"),
        ("gitTreeState", "clean"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ]
    .iter()
    .map(|(name, value)| format!(" -X k8s.io/component-base/version.{name}={value}"))
    .collect();
    [
        "-trimpath".to_owned(),
        "-ldflags".to_owned(),
        format!("-s -w{stamps}"),
    ]
}

fn go_command(program: &Path, module: &Path) -> Command {
    go_command_for(Command::new(program), module)
}

/// The developer's own settings must not change what is built under one key.
fn go_command_for(mut go: Command, module: &Path) -> Command {
    go.current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOEXPERIMENT");
    go
}

fn go_mod(modules: &Path, module: Module) -> anyhow::Result<String> {
    read(&modules.join(module.folder).join("go.mod"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The version of the upstream module, from the line of go.mod that requires it.
fn module_version(modules: &Path, module: Module) -> anyhow::Result<String> {
    let text = go_mod(modules, module)?;
    required_version(&text, module.path).with_context(|| {
        format!(
            "{}/go.mod requires no version of {}: add `require {} vX.Y.Z`",
            modules.join(module.folder).display(),
            module.path,
            module.path,
        )
    })
}

fn required_version(go_mod: &str, path: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word == "require");
        let version = (words.next()? == path).then(|| words.next())??;
        version.starts_with('v').then(|| version.to_owned())
    })
}

/// A version of Go: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GoVersion(u32, u32, u32);

impl std::fmt::Display for GoVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

impl GoVersion {
    /// `1.26.8`, `1.26`, `1.27rc1` (which counts as 1.27).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            part[..digits.unwrap_or(part.len())].parse().ok()
        });
        Some(Self(
            numbers.next()??,
            numbers.next()??,
            numbers.next().flatten().unwrap_or(0),
        ))
    }
}

/// The `go` line of a go.mod.
fn needed_go(go_mod: &str) -> anyhow::Result<GoVersion> {
    go_mod
        .lines()
        .find_map(|line| GoVersion::parse(line.strip_prefix("go ")?.trim()))
        .context("kubernetes/go.mod has no `go` line")
}

/// The version in what `go version` prints.
fn toolchain_version(output: &str) -> Option<GoVersion> {
    let word = output.strip_prefix("go version go")?;
    GoVersion::parse(word.split_whitespace().next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        let version = |line| toolchain_version(line).unwrap();
        assert_eq!(
            version("go version go1.26.8 linux/amd64"),
            GoVersion(1, 26, 8)
        );
        assert_eq!(
            version("go version go1.27rc1 linux/arm64"),
            GoVersion(1, 27, 0)
        );
        assert!(version("go version go1.9 linux/amd64") < GoVersion(1, 26, 0));
        assert_eq!(
            toolchain_version("go version devel go1.28-1234 linux/amd64"),
            None
        );
    }

    #[test]
    fn the_version_comes_from_the_line_that_requires_the_module() {
        let text = "tool k8s.io/kubernetes/cmd/kubectl\n\
                    require (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n\
                    replace k8s.io/api => k8s.io/api v0.36.3\n";
        assert_eq!(
            required_version(text, "k8s.io/kubernetes").as_deref(),
            Some("v1.36.3")
        );
        assert_eq!(required_version(text, "k8s.io/api"), None);
        let single = "require k8s.io/kubernetes v1.35.0";
        assert_eq!(
            required_version(single, "k8s.io/kubernetes").as_deref(),
            Some("v1.35.0")
        );
    }

    #[test]
    fn the_stamped_version_is_the_required_one() {
        let [_, _, linker] = flags("v1.36.3");
        for stamp in ["gitVersion=v1.36.3", "gitMajor=1", "gitMinor=36"] {
            assert!(linker.contains(&format!("version.{stamp} ")), "{linker}");
        }
    }
}
