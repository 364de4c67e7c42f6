//! Builds the policies of `examples/policies` and prints a line for each: its language, a tab, its path.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for xtask"
)]

use cli_tests::languages::{ALL, Built};

fn main() -> anyhow::Result<()> {
    for language in ALL {
        match language.build()? {
            Built::Policy(path) => println!("{}\t{}", language.folder, path.display()),
            Built::Missing(what) => eprintln!("{}: left out: no {what}", language.folder),
        }
    }
    Ok(())
}
