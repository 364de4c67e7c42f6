//! A policy that misbehaves as its rule's name says. With any other name it behaves.
#![expect(clippy::panic, reason = "this is how it misbehaves")]

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use guest_sdk::{Decision, Description, Facts, Finding, Policy, Problem, Rule, Status};

/// The policy.
#[derive(Debug)]
pub struct Hostile;

guest_sdk::export!(Hostile);

/// Hidden state: how often this instance was called.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Longer than a status shows.
const VERSION: &str = "1.2.3-a.version.that.is.longer.than.the.64.bytes.of.it.that.a.table.shows";

impl Policy for Hostile {
    fn describe() -> Description {
        Description::new("hostile", VERSION)
            .parameters(r#"{"type":"object"}"#)
            .domain("zone", &["a", "b\u{202e}"])
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        match rule.name().as_str() {
            "check-finds" => vec![Problem::new("/zone", "no such\n\u{1b}[31mzone")],
            // As much as the contract allows.
            "check-much" => {
                let path = format!("/{}", "p".repeat(1000));
                vec![Problem::new(path.as_str(), "x".repeat(1024)); 64]
            }
            "check-many" => vec![Problem::new("", "again"); 65],
            "check-path" => vec![Problem::new("zone", "not a pointer")],
            "check-long" => vec![Problem::new("", "x".repeat(1025))],
            "check-panics" => panic!("as told"),
            "check-asks" => {
                ask_about_the_node();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let fine = || Decision::absent("Fine");
        let node = &facts.node;
        let calls = CALLS.fetch_add(1, Relaxed);
        Ok(match facts.rule.name().as_str() {
            // Time
            "loop" => loop {
                black_box(0);
            },
            "loop-asking" => loop {
                black_box(node.tainted());
            },
            // Memory and stack
            "allocate" => loop {
                black_box(vec![1_u8; 1 << 16]);
            },
            "allocate-at-once" => fine().message(black_box(vec![1_u8; 1 << 30]).len().to_string()),
            "recurse" => fine().message(recurse(1, black_box(0)).to_string()),
            "recurse-with-frames" => fine().message(recurse_with_frames(1).to_string()),
            // Traps and errors
            "panic" => panic!("as told"),
            "read-then-panic" => {
                node.has_condition("A");
                node.label("zone");
                panic!("as told")
            }
            "error" => return Err("no\nidea".into()),
            "error-empty" => return Err(" \n".to_owned()),
            "error-long" => return Err("x".repeat(1025)),
            "error-huge" => return Err("x".repeat(2 << 20)),
            // Questions
            "ask-many" => ask_many(facts),
            "ask-long" => {
                for index in 0..10 {
                    node.label(&format!("{index}{}", "x".repeat(50_000)));
                }
                fine()
            }
            "ask-huge" => {
                node.label(&"x".repeat(2 << 20));
                fine()
            }
            "ask-twice" => {
                let first = node.condition_is("A", Status::True, Duration::ZERO);
                let other = node.condition_is("A", Status::False, Duration::ZERO);
                let again = node.condition_is("A", Status::True, Duration::ZERO);
                fine().message(format!("{first} {other} {again}"))
            }
            "ask-everything" => ask_everything(facts),
            // Decisions
            "huge-message" => fine().message("x".repeat(2 << 20)),
            "long-message" => fine().message("x".repeat(1025)),
            "longest-message" => fine().message("x".repeat(1024)),
            "control-characters" => {
                let text = "one\ntwo\u{1b}[31m three \u{202e}four\u{200b}\u{2067}\u{feff}.";
                let finding = Finding::other("five\r\u{202e}", true);
                fine().message(text).findings(vec![finding])
            }
            "no-reason" => Decision::absent(""),
            "lower-reason" => Decision::absent("fine"),
            "spaced-reason" => Decision::absent("Quite Fine"),
            "long-reason" => Decision::absent("R".repeat(65)),
            "longest-reason" => Decision::absent("R".repeat(64)),
            "complete-present" => Decision::present("Held").complete_bootstrap(),
            "complete-keep" => Decision::keep("Kept").complete_bootstrap(),
            "many-findings" => fine().findings(vec![Finding::requirement(0, true); 65]),
            "most-findings" => fine().findings(vec![Finding::requirement(0, true); 64]),
            "no-such-requirement" => fine().findings(vec![Finding::requirement(1, true)]),
            "long-subject" => fine().findings(vec![Finding::other("x".repeat(257), true)]),
            "other-subject" => fine().findings(vec![Finding::other("pods app=driver", false)]),
            // Against what it sees
            "turn" if node.tainted() => fine(),
            "turn" => Decision::present("Held"),
            // State
            "count" => fine().message(calls.to_string()),
            _ => fine(),
        })
    }
}

/// Takes native stack, and none of the module's own.
#[inline(never)]
fn recurse(depth: u64, end: u64) -> u64 {
    if depth == end {
        return 0;
    }
    // Nothing that could become a loop.
    recurse(depth + 1, end).rotate_left(3).wrapping_mul(5) ^ depth
}

/// Takes the module's own stack, which ends before the native one.
#[inline(never)]
fn recurse_with_frames(depth: u64) -> u64 {
    let mut frame = [depth; 256];
    black_box(&mut frame);
    if depth == black_box(0) {
        return 0;
    }
    recurse_with_frames(depth + 1) + frame[7]
}

fn ask_many(facts: &Facts) -> Decision {
    let mut milliseconds = 0;
    loop {
        milliseconds += 1;
        facts.node.older_than(Duration::from_millis(milliseconds));
    }
}

fn ask_everything(facts: &Facts) -> Decision {
    let Facts {
        node,
        rule,
        bootstrap,
        time,
        // Its operators grant it no more than what is about the node.
        pods: _,
        lease: _,
        csi: _,
        devices: _,
        daemon_sets: _,
    } = facts;
    let minute = Duration::from_secs(60);
    let answers = format!(
        "{} {} {} {:?} {:?} {} {} {} {} {} {:?} {:?} {} | {} {:?} {:?} {:?} {} | {:?} {} {}",
        node.has_condition("Ready"),
        node.condition_is("Ready", Status::True, minute),
        node.heartbeat_within("Ready", minute),
        node.condition("Ready"),
        node.condition_reason("Ready"),
        node.tainted(),
        node.has_taint("k", guest_sdk::Effect::NoExecute),
        node.unschedulable(),
        node.older_than(minute),
        node.allocatable_at_least("example.com/gpu", 8),
        node.label("l"),
        node.annotation("a"),
        node.name(),
        rule.name(),
        rule.requirements(),
        rule.matching(),
        rule.enforcement(),
        rule.parameters(),
        bootstrap.completed(),
        time.reached(minute),
        time.reached(Duration::MAX),
    );
    Decision::absent("Fine").message(answers)
}

#[cfg(target_arch = "wasm32")]
fn ask_about_the_node() {
    // The SDK has no way to do this: straight to what it is made of.
    guest_sdk::__guest::bindings::node_readiness::policy::node::tainted();
}

#[cfg(not(target_arch = "wasm32"))]
fn ask_about_the_node() {}
