//! The program. What it does stands in the files of its subcommands.

mod arguments;
mod completions;
mod crd;
mod eval;
mod exit;
mod input;
mod output;
mod prefixes;
mod run;

fn main() -> std::process::ExitCode {
    arguments::run(std::env::args_os()).into()
}
