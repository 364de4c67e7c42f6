//! Small and large policies, and limits of their own.

use std::sync::Arc;
use std::time::Duration;

use engine::{Class, LoadError, PolicyLimits};

use crate::components::{Parts, component};
use crate::{ENGINE, HOSTILE, bare, rule};

const MB: usize = 1 << 20;

#[test]
fn what_a_component_begins_with_decides_where_it_runs() {
    for (memory, module, class) in [
        ("1", "", Class::Small),
        ("128", "", Class::Small),
        ("129", "", Class::Large),
        ("2048", "", Class::Large),
        ("1", "(memory 1)", Class::Large),
        ("1", "(table 10000 funcref)", Class::Small),
        ("1", "(table 10001 funcref)", Class::Large),
    ] {
        let bytes = component(&Parts {
            memory,
            module,
            ..Parts::default()
        });
        let policy = ENGINE.load(&bytes).unwrap();
        assert_eq!(policy.class(), class, "{memory} pages, {module}");
        let verdict = policy.evaluate(&Arc::new(rule("any")), bare());
        assert_eq!(verdict.result.unwrap().reason, "Fine");
    }
}

fn given(deadline: Option<Duration>, memory: Option<usize>) -> PolicyLimits {
    PolicyLimits {
        deadline,
        memory,
        ..PolicyLimits::default()
    }
}

#[test]
fn what_a_policy_is_given_decides_as_well() {
    let millis = Duration::from_millis;
    for (limits, class) in [
        (given(None, None), Class::Small),
        (given(Some(millis(100)), Some(8 * MB)), Class::Small),
        (given(Some(millis(1)), Some(MB)), Class::Small),
        (given(Some(millis(101)), None), Class::Large),
        (given(None, Some(8 * MB + 1)), Class::Large),
        (given(None, Some(128 * MB)), Class::Large),
    ] {
        let policy = ENGINE.load_with(&HOSTILE, &limits, None).unwrap();
        assert_eq!(policy.class(), class, "{limits:?}");
    }
    let error = ENGINE.load_with(&HOSTILE, &given(None, Some(128 * MB + 1)), None);
    let error = error.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge(_)));
    assert_eq!(
        error.to_string(),
        "it needs more than a policy may have: it is given 134217729 bytes of memory, and this host \
         has 128 MiB for one policy"
    );
}

#[test]
fn its_own_limits_are_those_that_stop_it() {
    let fails = |name: &str, limits: PolicyLimits| {
        let policy = ENGINE.load_with(&HOSTILE, &limits, None).unwrap();
        let verdict = policy.evaluate(&Arc::new(rule(name)), bare());
        verdict.result.expect_err(name).message
    };
    for millis in [50, 150] {
        let message = fails("loop", given(Some(Duration::from_millis(millis)), None));
        assert_eq!(message, format!("it ran longer than {millis}ms"));
    }
    for memory in [MB, 32 * MB] {
        // Long enough for a busy machine.
        let message = fails(
            "allocate",
            given(Some(Duration::from_secs(20)), Some(memory)),
        );
        assert!(
            message.ends_with(&format!("{} MiB are allowed", memory / MB)),
            "{message}"
        );
    }
    // Less than it begins with is refused where it is loaded.
    let bytes = component(&Parts {
        memory: "32",
        ..Parts::default()
    });
    let error = ENGINE
        .load_with(&bytes, &given(None, Some(MB)), None)
        .unwrap_err();
    let sentence = "it begins with 2 MiB of memory; 1 MiB are allowed";
    assert!(error.to_string().ends_with(sentence), "{error}");
}

#[test]
fn several_memories_share_one_limit() {
    let bytes = component(&Parts {
        memory: "8",
        module: "(memory $second 8)",
        evaluate: "(drop (memory.grow (i32.const 16))) (drop (memory.grow $second (i32.const 16)))",
        ..Parts::default()
    });
    let evaluate = |memory: usize| {
        let policy = ENGINE
            .load_with(&bytes, &given(None, Some(memory)), None)
            .unwrap();
        policy.evaluate(&Arc::new(rule("any")), bare()).result
    };
    let pages = |pages: usize| pages << 16;
    assert_eq!(evaluate(pages(48)).unwrap().reason, "Fine");
    let failure = evaluate(pages(47)).unwrap_err();
    assert_eq!(failure.kind, "MemoryExceeded");
    let sentence = "it wanted 3 MiB of memory; 2.9375 MiB are allowed";
    assert_eq!(failure.message, sentence);
}

/// More pages than stay mapped between two evaluations, and fewer; the first of them has data of the module.
#[test]
fn what_a_large_policy_wrote_all_over_its_memory_is_gone() {
    for stride in [65_600, 262_200] {
        let evaluate = format!(
            "(local $at i32) (local.set $at (i32.const 192))
             (loop $next
               (if (i32.load (local.get $at)) (then (unreachable)))
               (i32.store (local.get $at) (i32.const 1))
               (local.set $at (i32.add (local.get $at) (i32.const {stride})))
               (br_if $next (i32.lt_u (local.get $at) (i32.const 67_000_000))))"
        );
        let bytes = component(&Parts {
            memory: "1024",
            evaluate: &evaluate,
            ..Parts::default()
        });
        let policy = ENGINE.load(&bytes).unwrap();
        assert_eq!(policy.class(), Class::Large);
        let rule = Arc::new(rule("any"));
        for _ in 0..20 {
            let verdict = policy.evaluate(&rule, bare());
            assert_eq!(verdict.result.unwrap().reason, "Fine");
        }
    }
}
