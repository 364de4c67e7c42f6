//! `cargo xtask`: demo, test, codegen and benchmarks, each one command on a fresh machine.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod bench;
mod codegen;
mod compat;
mod image;
mod setup;
mod steps;
mod test;
mod walls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the security agent guide live, with the real scheduler. Builds what is missing first: 10 to
    /// 25 minutes on a fresh machine, under a minute from then on.
    Demo {
        /// Leave it running, and print how to use kubectl on it.
        #[arg(long)]
        keep: bool,
    },
    /// Run all tests: format, lints, walls, generated files, unit, property, CLI and cluster tests.
    Test,
    /// Write the generated files.
    Codegen {
        /// Write nothing; fail if a file is not as it would be written.
        #[arg(long)]
        check: bool,
    },
    /// Check that no crate depends on what it must not know.
    Walls,
    /// Print what docs/compatibility.md promises, with the tests that prove it and how they went; fail
    /// where there is none.
    Compat {
        /// Only find the tests, and run none.
        #[arg(long)]
        list: bool,
    },
    /// Build the static programs of the images into target/image, and OCI layouts where buildah is there.
    Image {
        /// amd64 or arm64.
        #[arg(long, default_value = "amd64")]
        architecture: String,
        /// Take `host` and `node-readiness-reporter` from this folder, and build nothing.
        #[arg(long)]
        programs: Option<PathBuf>,
    },
    /// Measure.
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Demo { keep } => steps::demo(keep),
        Command::Test => test::run(),
        Command::Codegen { check } => codegen::run(check),
        Command::Walls => walls::check(),
        Command::Compat { list } => compat::run(list),
        Command::Image {
            architecture,
            programs,
        } => image::run(&architecture, programs.as_deref()),
        Command::Bench { what } => bench::run(&what),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
