//! The program. What it does stands in the files of its subcommands.

mod arguments;
mod cleanup;
mod compile_policy;
mod completions;
mod crd;
mod eval;
mod exit;
mod gate;
mod input;
mod inspect;
mod module;
mod output;
mod prefixes;
mod pull;
mod push;
mod run;

/// musl's own allocator doubles what a decision costs.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    arguments::run(std::env::args_os()).into()
}

/// For what is asked once.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")
}
