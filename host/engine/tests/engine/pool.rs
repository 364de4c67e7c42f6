//! Many calls at once, and a machine without address space for a pool.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use engine::{Engine, Limits, Options, Policy};

use crate::{ENGINE, bare, hostile, rule, small};

#[test]
fn engines_and_policies_go_anywhere() {
    fn anywhere<T: Clone + Send + Sync + 'static>() {}
    anywhere::<Engine>();
    anywhere::<Policy>();
}

#[test]
fn memory_comes_from_a_pool() {
    assert!(ENGINE.is_pooled());
}

#[test]
fn more_calls_than_slots_wait_for_their_turn() {
    let options = small(|small| small.slots = 2);
    let policy = hostile(&Engine::new(&options).unwrap());
    let threads: Vec<_> = (0..8)
        .map(|index| {
            let policy = policy.clone();
            thread::spawn(move || {
                for _ in 0..50 {
                    // Every other thread fails: a failure gives its slot back as well.
                    let name = if index % 2 == 0 { "fine" } else { "panic" };
                    let verdict = policy.evaluate(&Arc::new(rule(name)), bare());
                    match verdict.result {
                        Ok(decision) => assert_eq!(decision.reason, "Fine"),
                        Err(failure) => assert_eq!(failure.kind, "Trapped"),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn without_address_space_for_a_pool_it_works_all_the_same() {
    // Of 16 MiB each: more than a processor can address.
    let options = small(|small| small.slots = 1 << 24);
    let engine = Engine::new(&options).unwrap();
    assert!(!engine.is_pooled());
    assert!(engine.default_policy().unwrap().is_precompiled());
    let policy = hostile(&engine);
    for (name, kind) in [("fine", None), ("allocate", Some("MemoryExceeded"))] {
        let verdict = policy.evaluate(&Arc::new(rule(name)), bare());
        assert_eq!(verdict.result.err().map(|failure| failure.kind), kind);
    }
}

#[test]
fn with_large_memories_the_default_policy_is_compiled_at_the_start() {
    let options = small(|small| {
        (small.memory, small.slots) = (32 << 20, 4);
        // To touch all of it takes a busy machine more than the default.
        small.deadline = Duration::from_secs(20);
    });
    let engine = Engine::new(&options).unwrap();
    let policy = engine.default_policy().unwrap();
    assert!(!policy.is_precompiled());
    assert_eq!(policy.digest(), ENGINE.default_policy().unwrap().digest());
    let failure = hostile(&engine).evaluate(&Arc::new(rule("allocate")), bare());
    let message = failure.result.unwrap_err().message;
    assert!(message.ends_with("; 32 MiB are allowed"), "{message}");
}

#[test]
fn no_option_is_too_much_or_too_little() {
    for (deadline, memory, slots) in [
        (Duration::ZERO, 0, 0),
        (Duration::MAX, usize::MAX, 1),
        (Duration::MAX, usize::MAX, u32::MAX),
    ] {
        let limits = Limits {
            deadline,
            memory,
            slots,
        };
        let options = Options {
            small: limits.clone(),
            large: limits,
        };
        let engine = Engine::new(&options).unwrap();
        match engine.default_policy() {
            Ok(policy) => drop(policy.evaluate(&Arc::new(rule("any")), bare())),
            Err(error) => assert_eq!(memory, 0, "{error}"),
        }
    }
}

#[test]
fn a_policy_outlives_its_engine() {
    let policy = {
        let engine = Engine::new(&Options::default()).unwrap();
        hostile(&engine)
    };
    let verdict = policy.evaluate(&Arc::new(rule("loop")), bare());
    assert_eq!(verdict.result.unwrap_err().kind, "DeadlineExceeded");
}
