//! The other side: what the process does that compiles one policy.

use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};

use crate::config;

/// What a process that compiles a policy is told.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Address space of the policy's memory, in bytes: native code depends on it.
    pub reservation: u64,
    /// The most memory that this process may take, in bytes.
    pub memory: u64,
    /// The most processor time.
    pub time: Duration,
}

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The component is damaged, or needs a WebAssembly feature that is not given.
    #[error("{0}")]
    Component(String),
    /// It does not fit into the memory of this process.
    #[error("no memory left")]
    Memory,
    /// This process could not be limited, or what it reads from or writes to failed.
    #[error(transparent)]
    Process(#[from] io::Error),
}

impl Task {
    /// Reads a component, and writes its native code. Limits this process for good: it is to do nothing else.
    ///
    /// # Errors
    ///
    /// Where there is no native code. Beyond its time the process is ended by a signal, and where memory ends
    /// mostly as well.
    pub fn run(&self, mut component: impl Read, mut native: impl Write) -> Result<(), TaskError> {
        self.limit()?;
        let mut bytes = Vec::new();
        component.read_to_end(&mut bytes)?;
        let mut config = config::config(self.reservation);
        // Its memory is what is limited, and the host's other work comes first.
        config.parallel_compilation(false);
        let compiled = wasmtime::Engine::new(&config)
            .and_then(|engine| engine.precompile_component(&bytes))
            .map_err(|error| task_error(&error))?;
        native.write_all(&compiled)?;
        Ok(native.flush()?)
    }

    fn limit(&self) -> io::Result<()> {
        let Self { memory, time, .. } = *self;
        let limit = |resource, most| {
            let most = Some(most);
            let limit = Rlimit {
                current: most,
                maximum: most,
            };
            setrlimit(resource, limit).map_err(io::Error::from)
        };
        // Whoever started this one has no use for it after its own end.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        nice(10)?;
        // Not the address space: this program's own code is in that, and of files.
        limit(Resource::Data, memory)?;
        // What it writes is no larger than what it has in memory.
        limit(Resource::Fsize, memory)?;
        limit(Resource::Core, 0)?;
        let seconds = time.as_secs().max(1);
        // The signal of the first says what happened; that of the second only ends it.
        let limit = Rlimit {
            current: Some(seconds),
            maximum: Some(seconds + 1),
        };
        Ok(setrlimit(Resource::Cpu, limit)?)
    }
}

fn task_error(error: &wasmtime::Error) -> TaskError {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let no_memory = |cause: &io::Error| cause.kind() == io::ErrorKind::OutOfMemory;
    if causes.into_iter().any(no_memory) {
        TaskError::Memory
    } else {
        TaskError::Component(format!("{error:#}"))
    }
}
