//! What a policy costs in each language: `policies-bench NAME PATH …` prints a table. What many policies and many
//! nodes cost: `policies-bench fleet`.
//!
//! Each policy is measured in a process of its own, hot, on one core: the rule and the node of engine-bench. Times
//! are the median of 7 rounds; compiling is done once, on one core, in a process of its own as the host does it. Memory
//! is what the process has more than before the policy was loaded. The last column is p50 beside that of `rust` in
//! the same run. The policy `cel` asks the same by an expression.

mod fleet;
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
use std::path::Path;
use std::process::{self, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Class, Compiler, Engine, Options, PolicyLimits, Task};
use planner::rule::Rule;
use planner::verdict::Verdict;
use serde_json::{Value, json};

use meter::Times;

const ROUNDS: usize = 7;
const EVALUATIONS: usize = 20_000;
/// A policy of a large class takes up to a thousand times as long.
const LARGE_EVALUATIONS: usize = 500;

/// The process that compiles: this program again.
const COMPILE: &str = "compile";
const ONE: &str = "one";

const FLEET: &str = "fleet";

/// What the other rows are compared with.
const RUST: &str = "rust";
/// The policy whose rule has an expression.
const CEL: &str = "cel";
const EXPRESSION: &str = "conditionIs('readiness.example.com/network', 'True') \
     && conditionIs('readiness.example.com/storage', 'True') \
     && conditionIs('readiness.example.com/gpu-driver-broken', 'False') && conditionIs('Ready', 'True')";

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
        [ONE, name, path] => one(name, Path::new(path)),
        [FLEET] => fleet::run(),
        [] => Err("give the name and the path of at least one policy, or `fleet`".into()),
        policies => table(policies),
    }
}

fn table(policies: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| Policy | Class | Module | Compiled in | p50 | p99 | Memory | p50, Rust = 1 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    let cel = guest_builder::path("cel-policy")?.display().to_string();
    let mut of_rust = None;
    for policy in policies.chunks(2).chain([[CEL, &cel].as_slice()]) {
        out.flush()?;
        let output = Command::new(env::current_exe()?)
            .arg(ONE)
            .args(policy)
            .stderr(process::Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{policy:?} cannot be measured").into());
        }
        let row: Value = serde_json::from_slice(&output.stdout)?;
        let p50 = row["p50"].as_f64().unwrap_or_default();
        if row["name"] == RUST {
            of_rust = Some(p50);
        }
        let ratio = of_rust.map_or("–".into(), |rust| format!("{:.1}", p50 / rust));
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| row[field].as_f64().unwrap_or_default();
        writeln!(
            out,
            "| {name} | {class} | {size} | {compiled:.2} s | {p50} | {p99} | {memory:.1} MB | {ratio} |",
            name = text("name"),
            class = text("class"),
            size = kilobytes(number("bytes")),
            compiled = number("compiled"),
            p50 = time(p50),
            p99 = time(number("p99")),
            memory = number("memory"),
        )?;
    }
    Ok(())
}

/// Of the rule of engine-bench, asked in the way of this policy.
fn rule(name: &str) -> Arc<Rule> {
    let rule = input::rule();
    let parameters = match name {
        CEL => json!({ "expression": EXPRESSION }).to_string(),
        _ => String::new(),
    };
    Arc::new(Rule { parameters, ..rule })
}

/// Do both say the same of the taint, and for the same reason where the policy is the same in another language?
fn agree(name: &str, found: &Verdict, default: &Verdict) -> bool {
    match (&found.result, &default.result) {
        (Ok(found), Ok(default)) if name == CEL => found.taint == default.taint,
        (found, default) => found == default,
    }
}

fn one(name: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    meter::pin()?;
    let bytes = fs::read(path)?;
    let engine = Engine::new(&Options::default())?;
    // The default policy has been here already: what the first evaluation of all takes is not this policy's.
    let facts = input::facts();
    let default = engine
        .default_policy()?
        .evaluate(&Arc::new(input::rule()), Box::new(facts.clone()));
    let rule = rule(name);
    let before = meter::resident_kib()?;
    let begin = Instant::now();
    let compiler = Compiler::this_program(COMPILE);
    let policy = engine.load_with(&bytes, &PolicyLimits::default(), Some(&compiler))?;
    let compiled = begin.elapsed();
    let evaluate = || policy.evaluate(&rule, Box::new(facts.clone()));
    if !agree(name, &evaluate(), &default) {
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
    let row = json!({
        "name": name,
        "class": policy.class().to_string(),
        "bytes": bytes.len(),
        "compiled": compiled.as_secs_f64(),
        "p50": p50,
        "p99": p99,
        "memory": memory as f64 / 1024.0,
    });
    Ok(writeln!(io::stdout().lock(), "{row}")?)
}

fn kilobytes(bytes: f64) -> String {
    let kilobytes = bytes / 1000.0;
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
