//! Measurements: release builds, figures with ratios from one run, never a pass or a fail.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::Subcommand;

use crate::steps::{cargo, step, target_folder};
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

/// Builds what a benchmark needs, and runs it.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    setup::wasm_target()?;
    match bench {
        Bench::Engine { arguments } => measure("engine", "examples/engine-bench", arguments),
        Bench::Policies => {
            let output = Command::new(built("build-policies")?)
                .stderr(Stdio::inherit())
                .output()
                .context("build-policies cannot be started")?;
            ensure!(output.status.success(), "the policies cannot be built");
            let lines = String::from_utf8(output.stdout)?;
            let policies = lines.lines().flat_map(|line| line.split('\t'));
            measure("policies", "examples/policies-bench", policies)
        }
        Bench::Fleet => measure("fleet", "examples/policies-bench", ["fleet"]),
        Bench::Hostile => measure("hostile", "examples/hostile-bench", [""; 0]),
        Bench::Scale { nodes, arguments } => {
            built("host")?;
            measure("scale", "scale", for_nodes(*nodes, arguments))
        }
        Bench::Release { nodes, arguments } => {
            built("host")?;
            measure("release", "bench-release", for_nodes(*nodes, arguments))
        }
        Bench::Pods { arguments } => {
            built("host")?;
            measure("pods", "bench-pods", arguments)
        }
        Bench::Gate { arguments } => {
            built("host")?;
            measure("gate", "bench-gate", arguments)
        }
        Bench::Reporter { arguments } => reporter(arguments),
        Bench::Webhook { arguments } => {
            built("host")?;
            measure("webhook", "bench-webhook", arguments)
        }
    }
}

fn for_nodes(nodes: usize, arguments: &[String]) -> Vec<String> {
    let nodes = ["--nodes".to_owned(), nodes.to_string()];
    nodes.iter().chain(arguments).cloned().collect()
}

/// Builds a program of the workspace as it is released. No other, which would take minutes each to be linked.
fn built(name: &str) -> anyhow::Result<PathBuf> {
    let what = match name.strip_prefix("examples/") {
        Some(example) => ["--example", example],
        None => ["--bin", name],
    };
    let mut build = cargo(&["build", "--workspace", "--release"]);
    step(&format!("build {name}"), build.args(what))?;
    Ok(target_folder().join("release").join(name))
}

fn measure<S: AsRef<OsStr>>(
    what: &str,
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<()> {
    let mut command = Command::new(built(name)?);
    step(&format!("bench {what}"), command.args(arguments))
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
