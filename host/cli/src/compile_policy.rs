//! `host compile-policy`: the process in which the host compiles a policy. Not for people.

use std::io;
use std::time::Duration;

use engine::{Compiler, NO_MEMORY, NOT_COMPILED, Task, TaskError};

use crate::exit::Exit;
use crate::output;

/// Its name.
const SUBCOMMAND: &str = "compile-policy";

/// Compile a policy: the host starts itself with this, so that a large policy cannot take its memory.
///
/// Reads a component from standard input, and writes native code to standard output.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_long_help = HELP)]
pub struct Options {
    /// Address space of the policy's memory, in bytes
    #[arg(long, value_name = "BYTES")]
    reservation: u64,

    /// The most memory that this process may take, in bytes
    #[arg(long, value_name = "BYTES")]
    memory: u64,

    /// The most processor time that this process may take
    #[arg(long, value_name = "SECONDS")]
    seconds: u64,
}

const HELP: &str = "\
Native code from here is good for nothing but the host that started this: no host loads native code \
that another one made.

Examples:
  host compile-policy --reservation 16777216 --memory 1073741824 --seconds 120 \\
    < policy.wasm > code

Exit status:
  0  compiled
  2  bad usage, or the component cannot be compiled
  3  there is not enough memory
Beyond its time, and mostly beyond its memory, the process is ended by a signal.";

/// The host's compiler: this program again.
pub fn compiler() -> Compiler {
    Compiler::this_program(SUBCOMMAND)
}

/// Compiles.
pub fn run(options: &Options) -> anyhow::Result<Exit> {
    let Options {
        reservation,
        memory,
        seconds,
    } = *options;
    let task = Task {
        reservation,
        memory,
        time: Duration::from_secs(seconds),
    };
    // Other programs that compile can give other answers than this one's own exit statuses.
    const { assert!(Exit::BadInput as u8 == NOT_COMPILED && Exit::PolicyFailed as u8 == NO_MEMORY) };
    Ok(match task.run(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Exit::Success,
        Err(TaskError::Memory) => Exit::PolicyFailed,
        Err(error) => {
            output::error(error);
            Exit::BadInput
        }
    })
}
