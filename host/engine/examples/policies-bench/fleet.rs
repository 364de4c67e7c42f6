//! What many policies take of memory, and many nodes of time.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use engine::{Compiler, Engine, Options, Policy, PolicyLimits};
use planner::facts::Node;
use planner::question::NodeAnswers;
use planner::rule::Rule;

use crate::{COMPILE, ROUNDS, input, meter};

const POLICIES: usize = 50;
const NODES: usize = 5_000;
const RULES: usize = 10;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    meter::pin()?;
    let engine = Engine::new(&Options::default())?;
    let mut out = io::stdout().lock();
    let (one, all) = memory(&engine)?;
    writeln!(
        out,
        "one policy beside the default one: {one:+.1} MB; {POLICIES} distinct ones: {more:+.1} MB more than one, goal ≤ 20",
        more = all - one,
    )?;
    let seconds = sweep(&engine.default_policy()?)?;
    let each = seconds * 1e6 / (NODES * RULES) as f64;
    writeln!(
        out,
        "{NODES} nodes × {RULES} rules on one core: {seconds:.2} s of evaluation, goal ≤ 1; {each:.1} µs each"
    )?;
    Ok(())
}

/// What one small policy takes, and what all of them take, in megabytes. Each is asked once.
fn memory(engine: &Engine) -> Result<(f64, f64), Box<dyn Error>> {
    let module = fs::read(guest_builder::path("default-policy")?)?;
    let compiler = Compiler::this_program(COMPILE);
    let rule = Arc::new(input::rule());
    let ask = |policy: &Policy| drop(black_box(policy.evaluate(&rule, Box::new(input::facts()))));
    ask(&engine.default_policy()?);
    let before = meter::resident_kib()?;
    let mut policies = Vec::new();
    let mut one = 0.0;
    for number in 0..POLICIES {
        let module = distinct(&module, u8::try_from(number)?);
        let policy = engine.load_with(&module, &PolicyLimits::default(), Some(&compiler))?;
        ask(&policy);
        policies.push(policy);
        if number == 0 {
            one = (meter::resident_kib()? - before) as f64 / 1024.0;
        }
    }
    policies.iter().for_each(ask);
    let all = (meter::resident_kib()? - before) as f64 / 1024.0;
    Ok((one, all))
}

/// The same component with another digest: a custom section of the name `n` is added. Nothing of what is compiled is
/// shared between two digests.
fn distinct(module: &[u8], number: u8) -> Vec<u8> {
    let mut module = module.to_vec();
    module.extend([0, 3, 1, b'n', number]);
    module
}

/// Seconds that evaluating each rule on each node takes, each in a fresh sandbox: the median of the rounds.
fn sweep(policy: &Policy) -> Result<f64, Box<dyn Error>> {
    let rules: Vec<Arc<Rule>> = (0..RULES)
        .map(|number| {
            let name = format!("rule-{number}");
            Arc::new(Rule {
                name,
                ..input::rule()
            })
        })
        .collect();
    let nodes: Vec<NodeAnswers> = (0..NODES)
        .map(|number| {
            let facts = input::facts();
            let node = Node {
                name: format!("worker-{number:04}"),
                ..Node::clone(&facts.node)
            };
            NodeAnswers {
                node: Arc::new(node),
                ..facts
            }
        })
        .collect();
    let mut rounds = Vec::new();
    // The first one warms up.
    for _ in 0..=ROUNDS {
        let begin = Instant::now();
        for node in &nodes {
            for rule in &rules {
                let verdict = black_box(policy.evaluate(rule, Box::new(node.clone())));
                if let Err(error) = verdict.result {
                    return Err(format!("{error:?}").into());
                }
            }
        }
        rounds.push(begin.elapsed().as_secs_f64());
    }
    rounds.remove(0);
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}
