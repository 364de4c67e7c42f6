//! Measurements: release builds, figures with ratios from one run, never a pass or a fail.

use clap::Subcommand;

use crate::setup;
use crate::steps::{cargo, step};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// One fresh evaluation of the default policy, beside native Rust doing the same work.
    Engine {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Many nodes whose conditions are flipped at once, beside a plain client making the same number
    /// of writes.
    Scale {
        /// How many nodes.
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Further arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds and runs a benchmark.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    setup::wasm_target()?;
    match bench {
        Bench::Engine { arguments } => {
            let mut command = cargo(&[
                "run",
                "--release",
                "--package",
                "engine",
                "--example",
                "engine-bench",
                "--",
            ]);
            step("bench engine", command.args(arguments))
        }
        Bench::Scale { nodes, arguments } => {
            step(
                "build the host",
                &mut cargo(&["build", "--release", "--package", "host"]),
            )?;
            let mut command = cargo(&[
                "run",
                "--release",
                "--package",
                "cluster-tests",
                "--bin",
                "scale",
                "--",
            ]);
            command.arg("--nodes").arg(nodes.to_string());
            step("bench scale", command.args(arguments))
        }
    }
}
