//! What a hostile policy costs the one beside it: the default policy on one core, alone and while each kind of
//! misbehaviour goes on in another thread.
//!
//! ```sh
//! cargo run --release -p engine --example hostile-bench
//! ```
//!
//! p50 is the median of 7 rounds of 20,000. The longest evaluation of the hostile policy is compared with its deadline plus
//! two ticks of the clock that ends it.

#[expect(dead_code, reason = "engine-bench uses the rest")]
#[path = "../engine-bench/input.rs"]
mod input;
#[expect(dead_code, reason = "engine-bench uses the rest")]
#[path = "../engine-bench/meter.rs"]
mod meter;

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use engine::{Engine, Options, Policy};

use meter::Times;

const ROUNDS: usize = 7;
const EVALUATIONS: usize = 20_000;
/// Of the clock that ends a call: a tenth of the deadline.
const TICK: Duration = Duration::from_millis(10);

/// Names of rules that the hostile guest misbehaves for.
const KINDS: [&str; 9] = [
    "fine",
    "loop",
    "loop-asking",
    "allocate",
    "recurse",
    "panic",
    "ask-many",
    "ask-huge",
    "huge-message",
];

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(&Options::default())?;
    let good = engine.default_policy()?;
    let hostile = engine.load(&fs::read(guest_builder::path("hostile-guest")?)?)?;
    let deadline = Options::default().small.deadline;
    let mut out = io::stdout().lock();
    let alone = p50(&good);
    let before = meter::resident_kib()?;
    writeln!(
        out,
        "{:<14}{:>12}{:>8}{:>16}{:>14}",
        "beside", "p50, µs", "ratio", "evaluations", "longest, ms"
    )?;
    writeln!(out, "{:<14}{alone:>12.2}{:>8}", "nothing", "1.00")?;
    for kind in KINDS {
        let done = AtomicBool::new(false);
        let (beside, (count, longest)) = thread::scope(|scope| {
            let other = scope.spawn(|| misbehave(&hostile, kind, &done));
            let beside = p50(&good);
            done.store(true, SeqCst);
            (beside, other.join().unwrap_or_default())
        });
        let ratio = beside / alone;
        let longest = longest.as_secs_f64() * 1e3;
        writeln!(
            out,
            "{kind:<14}{beside:>12.2}{ratio:>8.2}{count:>16}{longest:>14.1}"
        )?;
    }
    let most = (deadline + TICK * 2).as_secs_f64() * 1e3;
    let drift = (meter::resident_kib()? - before) as f64 / 1024.0;
    writeln!(out, "goals: ratio ≤ 1.5, longest ≤ {most:.0} ms")?;
    writeln!(out, "resident memory, after all of it: {drift:+.2} MB")?;
    Ok(())
}

/// Of the default policy, in microseconds.
fn p50(policy: &Policy) -> f64 {
    let rule = Arc::new(input::rule());
    let facts = input::facts();
    let mut samples = vec![0.0; EVALUATIONS];
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            for sample in &mut samples {
                let begin = Instant::now();
                drop(black_box(policy.evaluate(&rule, Box::new(facts.clone()))));
                *sample = begin.elapsed().as_secs_f64() * 1e6;
            }
            Times::of(&mut samples).p50
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Until told to stop: how often, and the longest time that it took.
fn misbehave(policy: &Policy, kind: &str, done: &AtomicBool) -> (u64, Duration) {
    let mut rule = input::rule();
    rule.name = kind.into();
    let rule = Arc::new(rule);
    let facts = input::facts();
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !done.load(SeqCst) {
        let begin = Instant::now();
        drop(black_box(policy.evaluate(&rule, Box::new(facts.clone()))));
        longest = longest.max(begin.elapsed());
        count += 1;
    }
    (count, longest)
}
