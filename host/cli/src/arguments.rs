//! The command line.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::Exit;
use crate::input::BadInput;
use crate::{
    cleanup, compile_policy, completions, crd, eval, gate, inspect, output, pull, push, run,
};

/// Holds Kubernetes nodes back by a taint until they are ready, as a sandboxed policy decides.
#[derive(Debug, Parser)]
#[command(
    name = "host",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Options>),
    Eval(eval::Options),
    Inspect(inspect::Options),
    Push(push::Options),
    Pull(pull::Options),
    Crd(crd::Options),
    Gate(gate::Options),
    Cleanup(cleanup::Options),
    Completions(completions::Options),
    CompilePolicy(compile_policy::Options),
}

/// The program of the Go controller's image, which knows nothing but to run.
const MANAGER: &str = "manager";

/// Parses the arguments, and does what they say.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = as_manager(arguments.into_iter().collect());
    let arguments = run::go_flags::normalize(&command(), arguments);
    let cli = command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, a usage error to stderr. A closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::BadInput
            } else {
                Exit::Success
            };
        }
    };
    let done = match cli.command {
        Command::Run(options) => run::run(*options),
        Command::Eval(options) => eval::run(options),
        Command::Inspect(options) => inspect::run(options),
        Command::Push(options) => push::run(options),
        Command::Pull(options) => pull::run(options),
        Command::Crd(options) => crd::run(options),
        Command::Gate(options) => gate::run(options),
        Command::Cleanup(options) => cleanup::run(options),
        Command::Completions(options) => completions::run(options),
        Command::CompilePolicy(options) => compile_policy::run(&options),
    };
    done.unwrap_or_else(|error| {
        match error.downcast_ref::<BadInput>() {
            Some(BadInput(problems)) => problems.iter().for_each(output::error),
            None => output::error(format_args!("{error:#}")),
        }
        Exit::BadInput
    })
}

/// Called by the name `manager`, the program is `host run`: a Deployment of the Go controller needs
/// no more than another image.
fn as_manager(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(Path::new);
    if program.and_then(Path::file_name) == Some(MANAGER.as_ref()) {
        arguments.insert(1, "run".into());
    }
    arguments
}

/// The command line's definition.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    #[test]
    fn compat_043_by_the_name_manager_it_runs() {
        for (given, expected) in [
            ("/manager --leader-elect", "/manager run --leader-elect"),
            ("manager", "manager run"),
            ("/host crd", "/host crd"),
            ("/manager/host crd", "/manager/host crd"),
        ] {
            let arguments = given.split(' ').map(OsString::from).collect();
            let arguments = super::as_manager(arguments);
            assert_eq!(arguments.join(" ".as_ref()), expected);
        }
        assert!(super::as_manager(Vec::new()).is_empty());
    }

    #[test]
    fn the_definition_is_sound() {
        super::command().debug_assert();
    }

    #[test]
    fn every_subcommand_says_how_it_exits_and_gives_an_example() {
        for command in super::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Exit status:"), "{}", command.get_name());
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }
}
