//! The engine with real components: the default policy, a hostile one, and some written by hand.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod beyond;
mod classes;
mod compiler;
mod components;
mod corpus;
mod default;
mod limits;
mod load;
mod pool;

use std::fs;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use engine::{Engine, Limits, Options, Policy};
use planner::Timestamp;
use planner::facts::{Condition, Node, Observed};
use planner::question::{Completion, NodeAnswers};
use planner::rule::{
    DEFAULT_POLICY, Effect, Enforcement, Matching, Requirement, Rule, Status, TaintId,
};

/// One for all tests: they run in parallel, as evaluations do.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&Options::default()).unwrap());

/// For what is decided, however long that takes on a machine with much else to do.
static PATIENT: LazyLock<Engine> = LazyLock::new(|| {
    Engine::new(&small(|limits| limits.deadline = Duration::from_secs(10))).unwrap()
});

static HOSTILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = guest_builder::path("hostile-guest").unwrap_or_else(|error| panic!("{error}"));
    fs::read(path).unwrap()
});

/// Other limits for small policies.
fn small(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.small);
    options
}

fn hostile(engine: &Engine) -> Policy {
    engine.load(&HOSTILE).unwrap()
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// Requires `Ready=True`, continuously.
fn rule(name: &str) -> Rule {
    Rule {
        name: name.into(),
        uid: String::new(),
        created: None,
        terminating: false,
        dry_run: false,
        taint: TaintId {
            key: "readiness.k8s.io/test".into(),
            effect: Effect::NoSchedule,
        },
        taint_value: None,
        requirements: vec![Requirement {
            condition: "Ready".into(),
            required: Status::True,
            fallback: None,
        }],
        matching: Matching::AllOf,
        enforcement: Enforcement::Continuous,
        policy: DEFAULT_POLICY.into(),
        parameters: String::new(),
        suspended: false,
        replaces: None,
        budget: None,
    }
}

fn condition(name: &str, status: &str) -> Condition {
    Condition {
        name: name.into(),
        status: Observed::parse(status),
        reason: String::new(),
        changed: None,
        heartbeat: None,
    }
}

fn answers(node: Node, completion: Completion) -> Box<NodeAnswers> {
    Box::new(NodeAnswers {
        node: Arc::new(node),
        related: Default::default(),
        taint: rule("any").taint,
        completion,
        rebooted: None,
        now: now(),
    })
}

/// A node that shows nothing.
fn bare() -> Box<NodeAnswers> {
    answers(Node::default(), Completion::None)
}
