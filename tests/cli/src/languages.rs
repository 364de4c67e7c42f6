//! The policies of `examples/policies`, built by their own commands and kept in the user's cache: a second
//! clone, and a second run, find them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::program::workspace;
use crate::tools::{self, Tool, WASM_TOOLS, WIT_BINDGEN};

/// A folder of `examples/policies`.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// Its name.
    pub folder: &'static str,
    /// Tools that are installed for it.
    tools: &'static [Tool],
    /// Commands that must succeed on a machine where it can be built. The first program of each is named where it
    /// is missing.
    needs: &'static [&'static [&'static str]],
    /// Where it is built from beside its folder and the contract.
    sources: &'static [&'static str],
}

/// All of them.
pub const ALL: [Language; 6] = [
    Language {
        folder: "rust",
        tools: &[WASM_TOOLS],
        needs: &[&["cargo", "--version"]],
        sources: &["guest-sdk/src", "guest-sdk/Cargo.toml", "Cargo.toml"],
    },
    Language {
        folder: "c",
        tools: &[WASM_TOOLS, WIT_BINDGEN],
        needs: &[],
        sources: &[],
    },
    Language {
        folder: "assemblyscript",
        tools: &[WASM_TOOLS],
        needs: &[NODE, NPM],
        sources: &[],
    },
    Language {
        folder: "go",
        tools: &[WASM_TOOLS, WIT_BINDGEN],
        needs: &[&["go", "version"]],
        sources: &[],
    },
    Language {
        folder: "javascript",
        tools: &[],
        needs: &[NODE, NPM],
        sources: &[],
    },
    Language {
        folder: "python",
        tools: &[],
        needs: &[PYTHON],
        sources: &[],
    },
];

const NODE: &[&str] = &["node", "--version"];
const NPM: &[&str] = &["npm", "--version"];
const PYTHON: &[&str] = &["python3", "-c", "import ensurepip, venv"];

/// The C compiler of a machine that has none for WebAssembly.
const ZIG: &str = "ziglang==0.16.0";

/// What came of building one.
#[derive(Debug)]
pub enum Built {
    /// The component.
    Policy(PathBuf),
    /// This machine lacks what stands here.
    Missing(String),
}

impl Language {
    /// Builds it, if that was not done before. Says on standard error what takes long.
    ///
    /// # Errors
    ///
    /// Where this machine has all that is needed, and it cannot be built.
    pub fn build(&self) -> Result<Built> {
        let folder = tools::cache()?.join("policies").join(self.key()?);
        let policy = folder.join(format!("{}.wasm", self.folder));
        if policy.is_file() {
            return Ok(Built::Policy(policy));
        }
        let missing = self.needs.iter().find(|command| !works(command));
        if let Some([program, ..]) = missing {
            return Ok(Built::Missing((*program).to_owned()));
        }
        fs::create_dir_all(&folder)?;
        // Two tests may want it at the same time.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        if policy.is_file() {
            return Ok(Built::Policy(policy));
        }
        let out = folder.join("build");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)?;
        let Some(compiler) = self.compiler(&out)? else {
            return Ok(Built::Missing("clang with lld, or python3".to_owned()));
        };
        let script = examples().join(self.folder).join("build.sh");
        let mut command = tools::plain(Command::new(&script));
        command
            .env("OUT", &out)
            .env("PATH", tools::path(self.tools)?)
            .env_remove("CC")
            .stdin(Stdio::null());
        if let Some(compiler) = compiler {
            command.env("CC", compiler);
        }
        let output = command.output();
        let output = output.with_context(|| format!("{} cannot be started", script.display()))?;
        ensure!(
            output.status.success(),
            "{} failed:\n{}{}",
            script.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::rename(out.join("policy.wasm"), &policy)?;
        // Compilers and libraries: 100 MB for some.
        fs::remove_dir_all(&out)?;
        Ok(Built::Policy(policy))
    }

    /// The value of `CC`, where one is needed and the default does not do; none where there is no compiler.
    fn compiler(&self, out: &Path) -> Result<Option<Option<String>>> {
        let clang = [
            "sh",
            "-c",
            "clang --target=wasm32 -E -x c /dev/null && wasm-ld --version",
        ];
        if self.folder != "c" || works(&clang) {
            return Ok(Some(None));
        }
        if !works(PYTHON) {
            return Ok(None);
        }
        let folder = out.join("zig");
        let python = folder.join("bin/python");
        for command in [
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
            Command::new(&python).args(["-m", "pip", "install", "--quiet", ZIG]),
        ] {
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success(),
                "{ZIG} cannot be installed:\n{said}"
            );
        }
        let python = python.display();
        Ok(Some(Some(format!(
            "{python} -m ziglang cc --target=wasm32-freestanding"
        ))))
    }

    /// Of all that it is built from.
    fn key(&self) -> Result<String> {
        let mut files = Vec::new();
        collect(&examples().join(self.folder), &mut files)?;
        for source in ["wit"].iter().chain(self.sources) {
            collect(&workspace().join(source), &mut files)?;
        }
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            let bytes = fs::read(&file)?;
            let name = file.strip_prefix(workspace())?.to_string_lossy();
            for part in [name.as_bytes(), &bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.update(format!("{:?}{ZIG}", self.tools));
        let digest = hash.finalize();
        Ok(digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }
}

fn examples() -> PathBuf {
    workspace().join("examples/policies")
}

/// All files, but not what was built.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if !["build", "target"].contains(&entry.file_name().to_string_lossy().as_ref()) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn works(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else {
        return false;
    };
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
