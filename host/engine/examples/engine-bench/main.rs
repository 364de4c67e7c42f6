//! What an evaluation costs: the default policy in the sandbox, beside native Rust doing the same.
//!
//! ```sh
//! cargo run --release -p engine --example engine-bench [-- --json]
//! ```
//!
//! Times in microseconds, hot loop, pinned to one core, the median of 7 rounds of 20,000.
//! Recording of questions and answers is included, on both sides.

mod input;
mod meter;
mod native;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use engine::{Engine, Options, Policy};
use planner::question::NodeAnswers;
use planner::rule::Rule;
use planner::verdict::Verdict;
use serde_json::json;

use meter::{Times, allocations, resident_kib};

#[global_allocator]
static ALLOCATOR: meter::Counting = meter::Counting;

const ROUNDS: usize = 7;
const EVALUATIONS: usize = 20_000;
const COLD: usize = 300;
/// More than the caches of any processor that this is run on.
const CACHES: usize = 32 << 20;
const WARM_UP: usize = 10_000;
const MANY: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let as_json = match env::args().nth(1).as_deref() {
        None => false,
        Some("--json") => true,
        Some(other) => return Err(format!("unknown argument {other}; there is --json").into()),
    };
    meter::pin()?;

    let begin = Instant::now();
    let engine = Engine::new(&Options::default())?;
    let engine_ms = ms(begin);
    let begin = Instant::now();
    let policy = engine.default_policy()?;
    let first_load_ms = ms(begin);
    if !policy.is_precompiled() {
        return Err("the default policy was not compiled at build time".into());
    }
    let load_ms = median(
        (0..100)
            .map(|_| {
                let begin = Instant::now();
                black_box(engine.default_policy()).map(|_| ms(begin))
            })
            .collect::<Result<_, _>>()?,
    );

    let rule = Arc::new(input::rule());
    let facts = input::facts();
    let sandboxed = || policy.evaluate(&rule, Box::new(facts.clone()));
    let native = || native::evaluate(&rule, Box::new(facts.clone()));
    if sandboxed() != native() {
        return Err("the native code does not do the same work".into());
    }

    let (full_rule, full_facts) = (Arc::new(input::rule_with_parameters()), input::rebooted());
    let with_parameters = || policy.evaluate(&full_rule, Box::new(full_facts.clone()));
    if !matches!(with_parameters().result, Ok(decision) if decision.complete_bootstrap) {
        return Err("with all parameters the node is not ready".into());
    }

    let hot = measure(sandboxed);
    let hot_parameters = measure(with_parameters);
    let hot_native = measure(native);
    // Before anything that takes memory for other ends.
    let peak_kib = meter::peak_kib()?;
    let cold = Times::of(&mut cold(sandboxed));
    let allocations_each = allocations(|| drop(black_box(sandboxed())));
    let allocations_native = allocations(|| drop(black_box(native())));
    let compile_ms = median(
        (0..20)
            .map(|_| {
                let begin = Instant::now();
                black_box(engine.load(engine::DEFAULT_POLICY)).map(|_| ms(begin))
            })
            .collect::<Result<_, _>>()?,
    );
    let drift = drift(&engine, &policy, &rule, &facts)?;

    let ratio = hot.p50 / hot_native.p50;
    let report = json!({
        "unit": "microseconds",
        "rounds": ROUNDS,
        "evaluations": EVALUATIONS,
        "nodeBytes": input::size(),
        "sandboxed": { "p50": rounded(hot.p50), "p99": rounded(hot.p99), "allocations": allocations_each },
        "allParameters": { "p50": rounded(hot_parameters.p50), "p99": rounded(hot_parameters.p99) },
        "native": { "p50": rounded(hot_native.p50), "p99": rounded(hot_native.p99), "allocations": allocations_native },
        "ratio": rounded(ratio),
        "cold": { "p50": rounded(cold.p50), "p99": rounded(cold.p99) },
        "engineMs": rounded(engine_ms),
        "firstLoadMs": rounded(first_load_ms),
        "loadMs": rounded(load_ms),
        "compileMs": rounded(compile_ms),
        "peakRssKib": peak_kib,
        "rssDriftKib": drift,
    });
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{report:#}")?;
        return Ok(());
    }
    let mut row =
        |name: &str, value: String, goal: &str| writeln!(out, "{name:<52}{value:>14}  {goal}");
    let us = |value: f64| format!("{value:.2} µs");
    row("evaluation, hot, p50", us(hot.p50), "goal ≤ 8 µs")?;
    row("evaluation, hot, p99", us(hot.p99), "goal ≤ 15 µs")?;
    row(
        "with all parameters, after a reboot, p50",
        us(hot_parameters.p50),
        "goal ≤ 8 µs",
    )?;
    row(
        "with all parameters, after a reboot, p99",
        us(hot_parameters.p99),
        "goal ≤ 15 µs",
    )?;
    row("the same in native Rust, p50", us(hot_native.p50), "")?;
    row("the same in native Rust, p99", us(hot_native.p99), "")?;
    row("sandboxed / native, p50", format!("{ratio:.1}"), "")?;
    row(
        "evaluation, cold (32 MiB touched before), p50",
        us(cold.p50),
        "",
    )?;
    row("evaluation, cold, p99", us(cold.p99), "")?;
    row("allocations, sandboxed", allocations_each.to_string(), "")?;
    row("allocations, native", allocations_native.to_string(), "")?;
    row("engine ready", format!("{engine_ms:.2} ms"), "")?;
    row(
        "default policy ready, first time",
        format!("{first_load_ms:.2} ms"),
        "goal ≤ 2 ms",
    )?;
    row(
        "default policy ready, median",
        format!("{load_ms:.2} ms"),
        "",
    )?;
    row(
        "a policy of its size compiled, median",
        format!("{compile_ms:.1} ms"),
        "goal ≤ 50 ms",
    )?;
    row(
        "peak RSS",
        format!("{:.1} MB", peak_kib as f64 / 1024.0),
        "",
    )?;
    row(
        "RSS drift, 100,000 evaluations, half failing",
        format!("{:+.2} MB", drift as f64 / 1024.0),
        "goal ± 2 MB",
    )?;
    Ok(())
}

/// The median round of each figure.
fn measure(evaluate: impl Fn() -> Verdict) -> Times {
    let mut samples = vec![0.0; EVALUATIONS];
    let rounds: Vec<Times> = (0..=ROUNDS)
        .map(|_| {
            for sample in &mut samples {
                let begin = Instant::now();
                let verdict = black_box(evaluate());
                *sample = begin.elapsed().as_secs_f64() * 1e6;
                drop(verdict);
            }
            Times::of(&mut samples)
        })
        .skip(1)
        .collect();
    Times {
        p50: median(rounds.iter().map(|times| times.p50).collect()),
        p99: median(rounds.iter().map(|times| times.p99).collect()),
    }
}

fn cold(evaluate: impl Fn() -> Verdict) -> Vec<f64> {
    let mut memory = vec![0_u8; CACHES];
    (0..COLD)
        .map(|_| {
            memory.iter_mut().step_by(64).for_each(|byte| *byte ^= 1);
            black_box(&mut memory);
            let begin = Instant::now();
            drop(black_box(evaluate()));
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect()
}

/// By how much the resident memory changes. Every other evaluation fails: by an error of the
/// policy, or by a trap.
fn drift(
    engine: &Engine,
    policy: &Policy,
    rule: &Arc<Rule>,
    facts: &NodeAnswers,
) -> Result<i64, Box<dyn Error>> {
    let hostile = engine.load(&std::fs::read(guest_builder::path("hostile-guest")?)?)?;
    let named = |name: &str, change: fn(&mut Rule)| {
        let mut rule = Rule::clone(rule);
        rule.name = name.into();
        change(&mut rule);
        Arc::new(rule)
    };
    let error = named("error", |rule| rule.requirements.clear());
    let panic = named("read-then-panic", |_| {});
    let run = |count: usize| -> Result<(), Box<dyn Error>> {
        for index in 0..count {
            let facts = Box::new(facts.clone());
            let verdict = match index % 4 {
                0 | 2 => policy.evaluate(rule, facts),
                1 => policy.evaluate(&error, facts),
                _ => hostile.evaluate(&panic, facts),
            };
            if verdict.result.is_ok() != (index % 2 == 0) {
                return Err(format!("evaluation {index}: {:?}", verdict.result).into());
            }
        }
        Ok(())
    };
    run(WARM_UP)?;
    let before = resident_kib()?;
    run(MANY)?;
    Ok(resident_kib()? - before)
}

fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

/// To nanoseconds, where the unit is microseconds: there is no more to know.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
