//! Measurements: release builds, figures with ratios from one run, never a pass or a fail.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::Subcommand;

use crate::steps::{build, cargo, program, step, target_folder};
use crate::{image, setup};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// One fresh evaluation of the default policy, beside native Rust doing the same work.
    Engine {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The policies of examples/policies and `cel`: size, time to compile, p50, p99, memory, and p50 beside that of Rust,
    /// as a Markdown table.
    Policies,
    /// Fifty distinct policies in memory; ten rules on 5,000 nodes, evaluated on one core.
    Fleet,
    /// The default policy beside a hostile one.
    Hostile,
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
    /// One node after the other becomes ready on an idle cluster with the real scheduler, while a pod waits
    /// for it: how long until its taint is gone, and until the pod is bound.
    Release {
        /// How many nodes.
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
        /// Further arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Very many pods and a rule of the policy pods-ready: what the host keeps of them, how long until it knows them
    /// all, and how often the rule is evaluated when pods change.
    Pods {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What the gate at birth costs the API server: CPU time for each created node, with it and without it.
    Gate {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What the reporter takes of a node, beside a plain client making the same requests.
    Reporter {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// How long the webhook thinks about a rule beside a thousand others with the same taint.
    Webhook {
        /// Arguments of the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds and runs a benchmark.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    setup::wasm_target()?;
    if !matches!(bench, Bench::Reporter { .. }) {
        step("build", &mut build(true))?;
    }
    match bench {
        Bench::Engine { arguments } => {
            let mut command = Command::new(program("examples/engine-bench", true));
            step("bench engine", command.args(arguments))
        }
        Bench::Policies => {
            let output = Command::new(program("build-policies", true))
                .stderr(Stdio::inherit())
                .output()
                .context("build-policies cannot be started")?;
            ensure!(output.status.success(), "the policies cannot be built");
            let lines = String::from_utf8(output.stdout)?;
            let mut command = Command::new(program("examples/policies-bench", true));
            step(
                "bench policies",
                command.args(lines.lines().flat_map(|line| line.split('\t'))),
            )
        }
        Bench::Fleet => step(
            "bench fleet",
            Command::new(program("examples/policies-bench", true)).arg("fleet"),
        ),
        Bench::Hostile => step(
            "bench hostile",
            &mut Command::new(program("examples/hostile-bench", true)),
        ),
        Bench::Scale { nodes, arguments } => {
            let mut command = Command::new(program("scale", true));
            command.arg("--nodes").arg(nodes.to_string());
            step("bench scale", command.args(arguments))
        }
        Bench::Release { nodes, arguments } => {
            let mut command = Command::new(program("bench-release", true));
            command.arg("--nodes").arg(nodes.to_string());
            step("bench release", command.args(arguments))
        }
        Bench::Pods { arguments } => {
            let mut command = Command::new(program("bench-pods", true));
            step("bench pods", command.args(arguments))
        }
        Bench::Gate { arguments } => {
            let mut command = Command::new(program("bench-gate", true));
            step("bench gate", command.args(arguments))
        }
        Bench::Reporter { arguments } => reporter(arguments),
        Bench::Webhook { arguments } => {
            let mut command = Command::new(program("bench-webhook", true));
            step("bench webhook", command.args(arguments))
        }
    }
}

/// The program of the image, and a client that is built as it is.
fn reporter(arguments: &[String]) -> anyhow::Result<()> {
    let program = image::reporter()?;
    // It does not need wasmtime, so the rest of the workspace is not built.
    let mut build = cargo(&["build", "--profile", image::SMALL]);
    build.args(["--package", "cluster-tests", "--bin", "bench-reporter"]);
    step("build the benchmark", &mut build)?;
    let mut command = Command::new(target_folder().join(image::SMALL).join("bench-reporter"));
    command.env("REPORTER_BINARY", program);
    step("bench reporter", command.args(arguments))
}
