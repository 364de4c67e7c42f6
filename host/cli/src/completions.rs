//! `host completions`: completion of this command line in a shell.

use clap_complete::Shell;

use crate::exit::Exit;
use crate::{arguments, output};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  host completions bash > ~/.local/share/bash-completion/completions/host
  host completions zsh > ~/.zfunc/_host

Exit status:
  0  printed
  2  bad usage")]
pub struct Options {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub fn run(Options { shell }: Options) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::command(), "host", &mut script);
    output::result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
