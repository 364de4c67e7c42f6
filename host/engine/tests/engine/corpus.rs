//! Hostile modules, one after the other, beside a policy that must not notice. What takes too long or too much
//! to compile stands in the tests of the program, and how long things take in `cargo xtask bench hostile`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use engine::{Engine, LoadError, Policy};

use crate::components::{Parts, component};
use crate::{HOSTILE, bare, rule, small};

/// What must come of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is not loaded: [`LoadError::as_str`].
    Refused(&'static str),
    /// Its first call fails: the kind of failure.
    Trial(&'static str),
    /// `check` fails.
    Check(&'static str),
    /// `evaluate` fails.
    Evaluate(&'static str),
    /// It does no harm.
    Fine,
}

use End::{Check, Evaluate, Fine, Refused, Trial};

/// A module, and the rule to evaluate with it.
struct Module {
    what: &'static str,
    bytes: Vec<u8>,
    rule: &'static str,
    end: End,
}

fn bytes(what: &'static str, bytes: Vec<u8>, end: End) -> Module {
    Module {
        what,
        bytes,
        rule: "any",
        end,
    }
}

fn text(what: &'static str, text: &str, end: End) -> Module {
    bytes(what, wat::parse_str(text).expect(what), end)
}

fn parts(what: &'static str, parts: Parts<'_>, end: End) -> Module {
    bytes(what, component(&parts), end)
}

/// The guest that misbehaves as its rule is named.
fn guest(rule: &'static str, end: End) -> Module {
    Module {
        what: rule,
        bytes: HOSTILE.clone(),
        rule,
        end,
    }
}

const LOOP: &str = "(loop (br 0))";
const FOREVER: &str = "(func $f (loop (br 0)))";
const ASK: &str =
    r#"(import "node-readiness:policy/node@0.1.0" "tainted" (func $ask (result i32)))"#;
const NAME: &str = r#"(import "node-readiness:policy/rule@0.1.0" "name" (func $name (param i32)))"#;
const DEEP: &str = "(func $f (param i32) (result i32)
    (i32.add (call $f (i32.add (local.get 0) (i32.const 1))) (local.get 0)))";

/// What is no policy.
fn not_loaded() -> Vec<Module> {
    let good = component(&Parts::default());
    let third = good.len() / 3;
    vec![
        bytes("nothing", Vec::new(), Refused("NotWasm")),
        bytes(
            "garbage",
            b"#!/bin/sh\nrm -rf /\n".repeat(1000),
            Refused("NotWasm"),
        ),
        bytes(
            "an ELF file",
            b"\x7fELF\x02\x01\x01\0".repeat(100),
            Refused("NotWasm"),
        ),
        bytes(
            "truncated early",
            good[..third].to_vec(),
            Refused("CompileFailed"),
        ),
        bytes(
            "truncated late",
            good[..good.len() - 1].to_vec(),
            Refused("CompileFailed"),
        ),
        bytes(
            "garbage behind it",
            [&good[..], &[0xff; 64]].concat(),
            Refused("CompileFailed"),
        ),
        text("a core module", "(module)", Refused("CoreModule")),
        bytes("100 MB", huge(), Refused("TooLarge")),
        text(
            "WASI",
            r#"(component (import "wasi:cli/exit@0.2.6" (instance)))"#,
            Refused("NeedsWasi"),
        ),
        text(
            "facts that it may not read",
            r#"(component (import "node-readiness:policy/secrets@0.1.0" (instance)))"#,
            Refused("UnknownImport"),
        ),
        text(
            "a function of its own name",
            r#"(component (import "system" (func (param "command" string))))"#,
            Refused("UnknownImport"),
        ),
        text(
            "another contract",
            r#"(component (import "node-readiness:policy/node@7.0.0" (instance)))"#,
            Refused("OtherContract"),
        ),
        text("no exports", "(component)", Refused("NoPolicy")),
        text(
            "an export that is no interface",
            r#"(component
                 (core module $m (func (export "f")))
                 (core instance $i (instantiate $m))
                 (func $f (canon lift (core func $i "f")))
                 (instance $d (export "evaluate" (func $f)))
                 (export "node-readiness:policy/decide@0.1.0" (instance $d)))"#,
            Refused("WrongSignature"),
        ),
        bytes("nested a thousandfold", nested(1000), Refused("NoPolicy")),
        bytes(
            "a policy with a thousand others in it",
            [&good[..], &section(4, &nested(1000))].concat(),
            Fine,
        ),
        parts(
            "a decision of another shape",
            Parts {
                contract: &[("reason: string,", "reason: u64,")],
                ..Parts::default()
            },
            Refused("WrongSignature"),
        ),
        parts(
            "all the memory there is",
            Parts {
                memory: "65536",
                ..Parts::default()
            },
            Refused("TooLarge"),
        ),
        parts(
            "a table of ten million",
            Parts {
                module: "(table 10000000 funcref)",
                ..Parts::default()
            },
            Refused("TooLarge"),
        ),
        text("a hundred instances", &instances(100), Refused("TooLarge")),
        text(
            "ten thousand instances",
            &instances(10_000),
            Refused("CompileFailed"),
        ),
    ]
}

/// What fails before it is a policy.
fn not_tried() -> Vec<Module> {
    let describe = |what, module, describe, end| {
        parts(
            what,
            Parts {
                module,
                describe,
                ..Parts::default()
            },
            end,
        )
    };
    let start = "(func $s (loop (br 0))) (start $s)";
    vec![
        describe(
            "a start that never ends",
            start,
            "",
            Trial("DeadlineExceeded"),
        ),
        describe(
            "a start that traps",
            "(func $s unreachable) (start $s)",
            "",
            Trial("Trapped"),
        ),
        describe("describe traps", "", "unreachable", Trial("Trapped")),
        describe("describe never ends", "", LOOP, Trial("DeadlineExceeded")),
        describe(
            "describe divides by zero",
            "",
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            Trial("Trapped"),
        ),
        describe(
            "describe recurses",
            DEEP,
            "(drop (call $f (i32.const 0)))",
            Trial("StackOverflow"),
        ),
        describe(
            "describe wants memory",
            "",
            "(drop (memory.grow (i32.const 60000)))",
            Trial("MemoryExceeded"),
        ),
        describe(
            "a name of 4 GB",
            "",
            "(i32.store (i32.const 4) (i32.const -1))",
            Trial("WrongAbi"),
        ),
        describe(
            "a name of a megabyte and more",
            "",
            "(drop (memory.grow (i32.const 40))) (i32.store (i32.const 4) (i32.const 2000000))",
            Trial("OutputTooLarge"),
        ),
        describe(
            "a name with a newline",
            "",
            "(i32.store8 (i32.const 129) (i32.const 10))",
            Refused("InvalidDescription"),
        ),
        parts(
            "describe asks",
            Parts {
                imports: ASK,
                describe: "(drop (call $ask))",
                ..Parts::default()
            },
            Trial("QuestionNotAllowed"),
        ),
    ]
}

/// What fails when it is asked.
fn not_answering() -> Vec<Module> {
    let evaluate = |what, module, evaluate, end| {
        parts(
            what,
            Parts {
                module,
                evaluate,
                ..Parts::default()
            },
            end,
        )
    };
    let realloc = |what, realloc, end| {
        parts(
            what,
            Parts {
                imports: NAME,
                evaluate: "(call $name (i32.const 1024))",
                realloc,
                ..Parts::default()
            },
            end,
        )
    };
    let post = |what, body: &str, end| {
        let post = format!(
            r#"(func (export "cabi_post_node-readiness:policy/decide@0.1.0#evaluate") (param i32) {body})"#
        );
        parts(
            what,
            Parts {
                module: &post,
                ..Parts::default()
            },
            end,
        )
    };
    let check = |what, check, end| {
        parts(
            what,
            Parts {
                imports: ASK,
                check,
                ..Parts::default()
            },
            end,
        )
    };
    vec![
        check("check traps", "unreachable", Check("Trapped")),
        check("check never ends", LOOP, Check("DeadlineExceeded")),
        check(
            "check asks about the node",
            "(drop (call $ask))",
            Check("QuestionNotAllowed"),
        ),
        evaluate("evaluate traps", "", "unreachable", Evaluate("Trapped")),
        evaluate(
            "a call that never ends",
            FOREVER,
            "(call $f)",
            Evaluate("DeadlineExceeded"),
        ),
        evaluate(
            "tail calls that never end",
            "(func $f (return_call $f))",
            "(call $f)",
            Evaluate("DeadlineExceeded"),
        ),
        evaluate(
            "filling its memory for ever",
            "",
            "(drop (memory.grow (i32.const 100)))
             (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 6553600)) (br 0))",
            Evaluate("DeadlineExceeded"),
        ),
        evaluate(
            "memory page by page",
            "",
            "(loop (drop (memory.grow (i32.const 1))) (br 0))",
            Evaluate("MemoryExceeded"),
        ),
        evaluate(
            "a table without end",
            "(table $t 1 funcref)",
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0))",
            Evaluate("MemoryExceeded"),
        ),
        evaluate(
            "native stack",
            DEEP,
            "(drop (call $f (i32.const 0)))",
            Evaluate("StackOverflow"),
        ),
        evaluate(
            "a wild pointer",
            "",
            "(drop (i32.load (i32.const -4)))",
            Evaluate("Trapped"),
        ),
        evaluate(
            "an empty place of a table",
            "(table $t 1 funcref) (type $t0 (func))",
            "(call_indirect $t (type $t0) (i32.const 0))",
            Evaluate("Trapped"),
        ),
        evaluate(
            "four thousand million findings",
            "",
            "(i32.store (i32.const 92) (i32.const -1))",
            Evaluate("WrongAbi"),
        ),
        evaluate(
            "an action that does not exist",
            "",
            "(i32.store8 (i32.const 68) (i32.const 77))",
            Evaluate("WrongAbi"),
        ),
        evaluate(
            "a result that is neither",
            "",
            "(i32.store8 (i32.const 64) (i32.const 2))",
            Evaluate("WrongAbi"),
        ),
        evaluate(
            "a reason beyond its memory",
            "",
            "(i32.store (i32.const 72) (i32.const 0x7fffffff))",
            Evaluate("WrongAbi"),
        ),
        realloc("no memory for the host", "unreachable", Evaluate("Trapped")),
        realloc(
            "memory for the host outside",
            "(i32.const -8)",
            Evaluate("WrongAbi"),
        ),
        realloc(
            "memory for the host without end",
            "(loop (br 0)) (i32.const 0)",
            Evaluate("DeadlineExceeded"),
        ),
        realloc(
            "questions while the host writes",
            "(call $name (i32.const 1024)) (i32.const 4096)",
            Evaluate("Trapped"),
        ),
        post(
            "a trap when all is said",
            "unreachable",
            Evaluate("Trapped"),
        ),
        post(
            "no end when all is said",
            LOOP,
            Evaluate("DeadlineExceeded"),
        ),
        guest("loop", Evaluate("DeadlineExceeded")),
        guest("loop-asking", Evaluate("DeadlineExceeded")),
        guest("allocate", Evaluate("MemoryExceeded")),
        guest("allocate-at-once", Evaluate("MemoryExceeded")),
        guest("recurse", Evaluate("StackOverflow")),
        guest("recurse-with-frames", Evaluate("Trapped")),
        guest("panic", Evaluate("Trapped")),
        guest("error", Evaluate("PolicyError")),
        guest("error-huge", Evaluate("OutputTooLarge")),
        guest("ask-many", Evaluate("TooManyQuestions")),
        guest("ask-long", Evaluate("TooManyQuestions")),
        guest("ask-huge", Evaluate("OutputTooLarge")),
        guest("huge-message", Evaluate("OutputTooLarge")),
        guest("long-message", Evaluate("InvalidDecision")),
        guest("many-findings", Evaluate("InvalidDecision")),
        guest("complete-present", Evaluate("InvalidDecision")),
        guest("check-panics", Check("Trapped")),
        guest("check-many", Check("InvalidProblem")),
        guest("count", Fine),
        guest("control-characters", Fine),
    ]
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component of 100 MB, nearly all of it a section without a meaning.
fn huge() -> Vec<u8> {
    let mut named = b"\x01x".to_vec();
    named.resize(100 << 20, 0);
    [COMPONENT, &section(0, &named)].concat()
}

/// A component in a component in a component …
fn nested(depth: usize) -> Vec<u8> {
    (1..depth).fold(COMPONENT.to_vec(), |inner, _| {
        [COMPONENT, &section(4, &inner)].concat()
    })
}

/// Its number, its size, and what is in it.
fn section(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number][..], &leb128(bytes.len() as u32), bytes].concat()
}

/// In four bytes, however small.
fn leb128(value: u32) -> [u8; 4] {
    [0, 1, 2, 3].map(|index| {
        let more = if index < 3 { 0x80 } else { 0 };
        (value >> (7 * index)) as u8 & 0x7f | more
    })
}

fn instances(count: usize) -> String {
    let instances = "(core instance (instantiate $m))".repeat(count);
    format!(
        r#"(component
             (core module $m (func (export "f")))
             {instances}
             (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $d (export "describe" (func $f)))
             (export "node-readiness:policy/decide@0.1.0" (instance $d)))"#
    )
}

fn load(engine: &Engine, bytes: &[u8]) -> Result<Policy, End> {
    engine.load(bytes).map_err(|error| match error {
        LoadError::Trial(failure) => Trial(failure.kind),
        error => Refused(error.as_str()),
    })
}

fn end(engine: &Engine, module: &Module) -> End {
    let policy = match load(engine, &module.bytes) {
        Ok(policy) => policy,
        Err(end) => return end,
    };
    let rule = Arc::new(rule(module.rule));
    if let Err(failure) = policy.check(&rule) {
        return Check(failure.kind);
    }
    match policy.evaluate(&rule, bare()).result {
        Ok(_) => Fine,
        Err(failure) => Evaluate(failure.kind),
    }
}

#[test]
fn every_hostile_module_ends_in_its_typed_error_beside_a_policy_that_goes_on() {
    // A busy machine must not end the good one.
    let engine = Engine::new(&small(|small| small.deadline = Duration::from_millis(400))).unwrap();
    let corpus = [not_loaded(), not_tried(), not_answering()];
    let corpus: Vec<_> = corpus.into_iter().flatten().collect();
    assert!(corpus.len() >= 70, "{}", corpus.len());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let policy = engine.default_policy().unwrap();
            let rule = Arc::new(rule("good"));
            let mut count = 0_u64;
            while !done.load(SeqCst) {
                let decision = policy.evaluate(&rule, bare()).result.unwrap();
                assert_eq!(decision.reason, "ConditionsNotMet");
                count += 1;
            }
            count
        });
        let mut wrong = Vec::new();
        for module in &corpus {
            // Twice: the first time must leave nothing behind.
            for _ in 0..2 {
                let end = end(&engine, module);
                if end != module.end {
                    wrong.push(format!(
                        "{}: {end:?} instead of {:?}",
                        module.what, module.end
                    ));
                }
            }
        }
        done.store(true, SeqCst);
        let count = beside.join().unwrap();
        assert!(count > corpus.len() as u64, "{count} evaluations beside");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// A policy with one bit wrong anywhere is refused, fails, or decides; nothing worse.
#[test]
fn no_damage_takes_the_host_down() {
    let good = component(&Parts::default());
    let engine = Engine::new(&small(|small| small.slots = 4)).unwrap();
    for (index, bit) in (0..good.len()).step_by(3).zip((0..8).cycle()) {
        let mut bytes = good.clone();
        bytes[index] ^= 1 << bit;
        let module = self::bytes("damaged", bytes, Fine);
        let _ = end(&engine, &module);
    }
}
