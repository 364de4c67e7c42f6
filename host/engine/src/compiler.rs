//! Compiling in a process of its own. Native code of a language's runtime takes seconds and hundreds of MB
//! to make, and there are components that want more: then that process ends, and this one goes on.

mod cache;
mod child;
mod room;

use std::ffi::OsString;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::native::Native;
use room::Container;

pub use cache::{Cache, CacheError};
pub use child::{Task, TaskError};

/// The exit status of the process where memory ended.
pub const NO_MEMORY: u8 = 3;

/// The exit status where the component cannot be compiled. What it printed then says why.
pub const NOT_COMPILED: u8 = 2;

/// The longest that such a process may say why it failed, in bytes.
const SENTENCE: u64 = 16 << 10;

/// Compiles policies in processes of their own.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// The arguments before those that say how it is to be done: `--reservation`, `--memory` and `--seconds`,
    /// each with a number.
    pub arguments: Vec<OsString>,
    /// The most memory that the process may take, in bytes; less where the container of this one has less left.
    /// Default: 1 GiB, three times what Python with its library takes.
    pub memory: u64,
    /// The most processor time that it may take, in whole seconds; it is ended after four times as long in any
    /// case. Default: 120 s.
    pub time: Duration,
    /// Where native code is kept.
    pub cache: Option<Cache>,
}

/// Why a process did not compile a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompilerError {
    /// It took all the memory that it may.
    #[error("compiling it takes more than the {} MiB of memory that {}", mib(*.limit), why(*.container))]
    Memory {
        /// How many bytes.
        limit: u64,
        /// The memory limit of this process's container, in bytes, if that is why there are no more.
        container: Option<u64>,
    },
    /// It took longer than it may.
    #[error(
        "compiling it takes more than the {limit:?} of processor time that there are for it, or four times as long in \
         all: take a smaller module, or give the host a machine that has less to do"
    )]
    Time {
        /// [`Compiler::time`]
        limit: Duration,
    },
    /// It cannot be started, or not be talked to.
    #[error("no process to compile it can be run: {0}")]
    Process(#[from] io::Error),
    /// It ended otherwise.
    #[error("the process that compiles it failed ({status}){said}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// What it said, if anything.
        said: String,
    },
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn why(container: Option<u64>) -> String {
    container.map_or_else(
        || "a process may take that compiles one".to_owned(),
        |limit| {
            let limit = mib(limit);
            format!("are left for it: give the container of the host more than {limit} MiB")
        },
    )
}

impl CompilerError {
    /// The CamelCase word for status reasons and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "CompileMemoryExceeded",
            Self::Time { .. } => "CompileTimeExceeded",
            Self::Process(_) | Self::Failed { .. } => "CompilerFailed",
        }
    }
}

/// Where the native code of a policy came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was compiled when this program was built.
    BuiltIn,
    /// It was compiled for this call.
    Compiled,
    /// It was kept from an earlier one.
    Cached,
    /// It was compiled although there is a cache, because of this.
    Recompiled(String),
    /// It was compiled, and could not be kept because of this.
    NotKept(String),
}

/// What came of compiling.
pub(crate) enum Compiled {
    Native(Native, Origin),
    /// The component is at fault.
    Refused(String),
}

impl Compiler {
    /// One that starts this program again, with this subcommand.
    pub fn this_program(subcommand: &str) -> Self {
        Self {
            // Whatever has become of the file since.
            program: "/proc/self/exe".into(),
            arguments: vec![subcommand.into()],
            memory: 1 << 30,
            time: Duration::from_secs(120),
            cache: None,
        }
    }

    /// The native code of a component with this digest, for settings that these bytes stand for.
    pub(crate) fn native(
        &self,
        component: &[u8],
        reservation: u64,
        bound: &[&[u8]],
    ) -> Result<Compiled, CompilerError> {
        let Some(cache) = &self.cache else {
            return self.compile(component, reservation, memory_file()?, Origin::Compiled);
        };
        let entry = cache.entry(bound);
        let mut origin = match entry.load() {
            Ok(Some(file)) => return Ok(Compiled::Native(Native::File(file), Origin::Cached)),
            Ok(None) => Origin::Compiled,
            Err(refused) => Origin::Recompiled(refused.to_string()),
        };
        match entry.create() {
            Ok((file, part)) => {
                let copy = file.try_clone()?;
                let compiled = self.compile(component, reservation, file, origin.clone())?;
                if let (Compiled::Native(..), Err(error)) = (&compiled, part.keep(copy)) {
                    origin = Origin::NotKept(error.to_string());
                }
                Ok(match compiled {
                    Compiled::Native(native, _) => Compiled::Native(native, origin),
                    refused @ Compiled::Refused(_) => refused,
                })
            }
            Err(error) => {
                let origin = Origin::NotKept(error.to_string());
                self.compile(component, reservation, memory_file()?, origin)
            }
        }
    }

    fn compile(
        &self,
        component: &[u8],
        reservation: u64,
        native: File,
        origin: Origin,
    ) -> Result<Compiled, CompilerError> {
        let (memory, container) = self.memory_for(component.len());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args(["--reservation", &reservation.to_string()])
            .args(["--memory", &memory.to_string()])
            .args(["--seconds", &self.time.as_secs().max(1).to_string()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(native.try_clone()?)
            .stderr(Stdio::piped())
            .spawn()?;
        let (status, said) = self.attend(&mut child, component)?;
        let signal = status.signal();
        let out_of_memory = || CompilerError::Memory {
            limit: memory,
            container,
        };
        let is = |signal: Option<i32>, name: Signal| signal == Some(name.as_raw());
        match status.code() {
            Some(0) => Ok(Compiled::Native(Native::File(native), origin)),
            Some(code) if code == i32::from(NOT_COMPILED) => {
                let sentence = said.strip_prefix("error: ").unwrap_or(&said);
                Ok(Compiled::Refused(sentence.to_owned()))
            }
            Some(code) if code == i32::from(NO_MEMORY) => Err(out_of_memory()),
            // What Rust says and does where an allocation fails.
            None if is(signal, Signal::ABORT) && said.contains("memory allocation of") => {
                Err(out_of_memory())
            }
            None if is(signal, Signal::XCPU) => Err(CompilerError::Time { limit: self.time }),
            _ => Err(CompilerError::Failed {
                status,
                said: if said.is_empty() {
                    said
                } else {
                    format!(": {said}")
                },
            }),
        }
    }

    /// How many bytes, and the limit of the container if that is what leaves no more.
    fn memory_for(&self, component: usize) -> (u64, Option<u64>) {
        match Container::of_this_process() {
            Some(container) if container.share(component) < self.memory => {
                (container.share(component), Some(container.limit))
            }
            _ => (self.memory, None),
        }
    }

    /// Gives it the component, and waits for its end: how it ended, and what it said.
    fn attend(
        &self,
        child: &mut Child,
        component: &[u8],
    ) -> Result<(ExitStatus, String), CompilerError> {
        let pipes = (child.stdin.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stderr)) = pipes else {
            return Err(io::Error::other("it has no pipes").into());
        };
        let said = thread::scope(|scope| {
            // One that ended before it has read everything says why itself.
            scope.spawn(move || stdin.write_all(component));
            let (sender, ended) = mpsc::channel();
            scope.spawn(move || {
                let mut said = Vec::new();
                let _ = stderr.by_ref().take(SENTENCE).read_to_end(&mut said);
                let _ = io::copy(&mut stderr, &mut io::sink());
                let _ = sender.send(said);
            });
            let said = ended.recv_timeout(self.time.saturating_mul(4));
            if said.is_err() {
                // Then its pipes end, and with them the threads.
                let _ = child.kill();
            }
            said
        });
        let status = child.wait()?;
        match said {
            Ok(said) => Ok((status, String::from_utf8_lossy(&said).trim().to_owned())),
            Err(_) => Err(CompilerError::Time { limit: self.time }),
        }
    }
}

/// What stands for the settings of an engine that native code depends on, and for wasmtime's version.
pub(crate) fn settings(engine: &wasmtime::Engine) -> [u8; 32] {
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}

/// Takes what is hashed; its own 64 bits are not used.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// A file in memory: what is not to be kept leaves no trace.
fn memory_file() -> io::Result<File> {
    Ok(memfd_create("policy", MemfdFlags::CLOEXEC)?.into())
}
