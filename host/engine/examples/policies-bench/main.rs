//! What a policy costs in each language: `policies-bench NAME PATH …` prints a table.
//!
//! Each policy is measured in a process of its own, hot, on one core: the rule and the node of engine-bench. Times
//! are the median of 7 rounds; compiling is done once, on one core, in a process of its own as the host does it. Memory
//! is what the process has more than before the policy was loaded.

#[expect(dead_code, reason = "engine-bench uses the rest")]
#[path = "../engine-bench/input.rs"]
mod input;
#[expect(dead_code, reason = "engine-bench uses the rest")]
#[path = "../engine-bench/meter.rs"]
mod meter;

use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Class, Compiler, Engine, Options, PolicyLimits, Task};

use meter::Times;

const ROUNDS: usize = 7;
const EVALUATIONS: usize = 20_000;
/// A policy of a large class takes up to a thousand times as long.
const LARGE_EVALUATIONS: usize = 500;

/// The process that compiles: this program again.
const COMPILE: &str = "compile";
const ONE: &str = "one";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [
            COMPILE,
            "--reservation",
            reservation,
            "--memory",
            memory,
            "--seconds",
            seconds,
        ] => {
            let task = Task {
                reservation: reservation.parse()?,
                memory: memory.parse()?,
                time: Duration::from_secs(seconds.parse()?),
            };
            Ok(task.run(io::stdin().lock(), io::stdout().lock())?)
        }
        [ONE, name, path] => one(name, path),
        [] => Err("give the name and the path of at least one policy".into()),
        policies => {
            let mut out = io::stdout().lock();
            writeln!(
                out,
                "| Policy | Class | Module | Compiled in | p50 | p99 | Memory |"
            )?;
            writeln!(out, "|---|---|---|---|---|---|---|")?;
            out.flush()?;
            for policy in policies.chunks(2) {
                let status = Command::new(env::current_exe()?)
                    .arg(ONE)
                    .args(policy)
                    .status()?;
                if !status.success() {
                    return Err(format!("{policy:?} cannot be measured").into());
                }
            }
            Ok(())
        }
    }
}

fn one(name: &str, path: &str) -> Result<(), Box<dyn Error>> {
    meter::pin()?;
    let bytes = fs::read(path)?;
    let engine = Engine::new(&Options::default())?;
    // The default policy has been here already: what the first evaluation of all takes is not this policy's.
    let rule = Arc::new(input::rule());
    let facts = input::facts();
    let default = engine
        .default_policy()?
        .evaluate(&rule, Box::new(facts.clone()));
    let before = meter::resident_kib()?;
    let begin = Instant::now();
    let compiler = Compiler::this_program(COMPILE);
    let policy = engine.load_with(&bytes, &PolicyLimits::default(), Some(&compiler))?;
    let compiled = begin.elapsed();
    let evaluate = || policy.evaluate(&rule, Box::new(facts.clone()));
    if evaluate().result != default.result {
        return Err(format!("{name} decides otherwise: {:?}", evaluate().result).into());
    }
    let evaluations = match policy.class() {
        Class::Small => EVALUATIONS,
        Class::Large => LARGE_EVALUATIONS,
    };
    let mut samples = vec![0.0; evaluations];
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        for sample in &mut samples {
            let begin = Instant::now();
            let verdict = black_box(evaluate());
            *sample = begin.elapsed().as_secs_f64() * 1e6;
            drop(verdict);
        }
        rounds.push(Times::of(&mut samples));
    }
    // The first one warms up.
    rounds.remove(0);
    let memory = meter::resident_kib()? - before;
    let median = |part: fn(&Times) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    let (p50, p99) = (median(|times| times.p50), median(|times| times.p99));
    writeln!(
        io::stdout().lock(),
        "| {name} | {class} | {size} | {compiled:.2} s | {p50} | {p99} | {memory:.1} MB |",
        class = policy.class(),
        size = kilobytes(bytes.len()),
        compiled = compiled.as_secs_f64(),
        p50 = time(p50),
        p99 = time(p99),
        memory = memory as f64 / 1024.0,
    )?;
    Ok(())
}

fn kilobytes(bytes: usize) -> String {
    let kilobytes = bytes as f64 / 1000.0;
    if kilobytes < 1000.0 {
        format!("{kilobytes:.1} kB")
    } else {
        format!("{:.1} MB", kilobytes / 1000.0)
    }
}

fn time(microseconds: f64) -> String {
    if microseconds < 1000.0 {
        format!("{microseconds:.1} µs")
    } else {
        format!("{:.2} ms", microseconds / 1000.0)
    }
}
