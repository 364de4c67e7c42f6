//! Each way in which a component cannot serve as a policy, and the sentence that says so.

use std::sync::Arc;

use engine::{Engine, FailureKind, LoadError};

use crate::components::{Parts, component};
use crate::{ENGINE, bare, hostile, rule, small};

fn refused(bytes: &[u8]) -> LoadError {
    match ENGINE.load(bytes) {
        Ok(policy) => panic!("loaded {policy:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_policy_written_by_hand_works() {
    let bytes = component(&Parts::default());
    let policy = ENGINE.load(&bytes).unwrap();
    assert_eq!((policy.name(), policy.version()), ("hand", "1.0.0"));
    assert_eq!(policy.imports(), []);
    let verdict = policy.evaluate(&Arc::new(rule("any")), bare());
    assert_eq!(verdict.result.unwrap().reason, "Fine");
}

#[test]
fn a_policy_says_who_it_is() {
    let policy = hostile(&ENGINE);
    assert_eq!(policy.name(), "hostile");
    let version = policy.version();
    assert!(
        version.starts_with("1.2.3-a.version.") && version.ends_with(".shows"),
        "{version}"
    );
    assert_eq!(policy.parameters(), r#"{"type":"object"}"#);
    assert_eq!(policy.domains()[0].key, "zone");
    assert_eq!(policy.domains()[0].values, ["a", "b "], "nothing unseen");
    assert!(!policy.is_precompiled());
    // The digest is of the bytes, in the form of a registry.
    let (algorithm, hex) = policy.digest().split_once(':').unwrap();
    assert_eq!((algorithm, hex.len()), ("sha256", 64));
    assert_ne!(policy.digest(), ENGINE.default_policy().unwrap().digest());
}

#[test]
fn bytes_that_are_not_webassembly() {
    for bytes in [&b""[..], b"hello", b"\x7fELF", b"(component)", b"\0asm"] {
        let error = refused(bytes);
        let is_wasm = bytes == b"\0asm";
        assert!(matches!(error, LoadError::NotWasm) != is_wasm, "{error}");
    }
    assert_eq!(refused(b"hello").to_string(), "it is not WebAssembly");
}

#[test]
fn a_core_module() {
    let error = refused(&wat::parse_str("(module)").unwrap());
    assert!(matches!(error, LoadError::CoreModule { needs_wasi: false }));
    assert!(error.to_string().contains("wasm-tools component new"));
    let text = r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#;
    let error = refused(&wat::parse_str(text).unwrap());
    assert!(
        error
            .to_string()
            .contains("--adapt wasi_snapshot_preview1="),
        "{error}"
    );
}

#[test]
fn a_damaged_component() {
    let whole = component(&Parts::default());
    let error = refused(&whole[..whole.len() / 2]);
    assert!(matches!(error, LoadError::Compile(_)), "{error}");
}

#[test]
fn a_component_that_needs_wasi() {
    let wasi = |interfaces: &[&str]| {
        let imports = interfaces.iter().map(|name| {
            format!(r#"(import "{name}" (instance (export "f" (func (result (list string))))))"#)
        });
        let text = format!("(component {})", imports.collect::<String>());
        refused(&wat::parse_str(text).unwrap()).to_string()
    };
    let error = wasi(&["wasi:cli/environment@0.2.6"]);
    let begin = "it needs WASI (wasi:cli/environment@0.2.6), which no policy is given. Rust: ";
    assert!(error.starts_with(begin), "{error}");
    for advice in [
        "wasm32-unknown-unknown",
        "--stub-wasi",
        "--adapt wasi_snapshot_preview1=",
    ] {
        assert!(error.contains(advice), "{error}");
    }
    // Ours beside it changes nothing.
    let ours = "node-readiness:policy/node@0.1.0";
    let error = wasi(&[
        ours,
        "wasi:io/error@0.2.6",
        "wasi:io/poll@0.2.6",
        "acme:clock/now",
    ]);
    assert!(
        error.starts_with("it needs WASI (wasi:io/error@0.2.6 and 1 more), "),
        "{error}"
    );
}

#[test]
fn a_component_that_needs_something_unknown() {
    for (text, name) in [
        (
            r#"(component (import "acme:clock/now@1.0.0" (instance (export "now" (func (result u64))))))"#,
            "acme:clock/now@1.0.0",
        ),
        (r#"(component (import "now" (func (result u64))))"#, "now"),
        (
            r#"(component (import "node-readiness:policy/secrets@0.1.0" (instance (export "any" (func (result bool))))))"#,
            "node-readiness:policy/secrets@0.1.0",
        ),
    ] {
        let error = refused(&wat::parse_str(text).unwrap());
        assert!(matches!(error, LoadError::UnknownImport { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_component_that_is_no_policy() {
    let error = refused(&wat::parse_str("(component)").unwrap());
    assert_eq!(
        error.to_string(),
        "it is not a readiness policy: it does not export node-readiness:policy/decide@0.1.0"
    );
}

#[test]
fn another_contract() {
    for version in ["0.2.0", "1.1.0", "0.1.0-alpha"] {
        let package = format!("package node-readiness:policy@{version};");
        let bytes = component(&Parts {
            contract: &[("package node-readiness:policy@0.1.0;", &package)],
            version,
            ..Parts::default()
        });
        let error = refused(&bytes);
        assert!(matches!(error, LoadError::OtherContract { .. }), "{error}");
        let sentence = format!(
            "it was built against node-readiness:policy@{version}, \
             and this host speaks node-readiness:policy@0.1.0"
        );
        assert!(error.to_string().starts_with(&sentence), "{error}");
    }
    // Known by an import alone, too.
    let text = r#"(component (import "node-readiness:policy/node@0.2.0" (instance
        (export "tainted" (func (result bool))))))"#;
    let error = refused(&wat::parse_str(text).unwrap());
    assert!(matches!(error, LoadError::OtherContract { .. }), "{error}");
}

const PATCH: [(&str, &str); 2] = [
    (
        "package node-readiness:policy@0.1.0;",
        "package node-readiness:policy@0.1.7;",
    ),
    (
        "tainted: func() -> bool;",
        "tainted: func() -> bool; rebooted: func() -> bool;",
    ),
];

#[test]
fn a_newer_patch_loads_unless_it_asks_something_new() {
    let asks = |function| {
        format!(
            r#"(import "node-readiness:policy/node@0.1.7" "{function}"
                 (func $ask (result i32)))"#
        )
    };
    let load = |function| {
        let bytes = component(&Parts {
            contract: &PATCH,
            version: "0.1.7",
            imports: &asks(function),
            evaluate: "(drop (call $ask))",
            ..Parts::default()
        });
        ENGINE.load(&bytes)
    };
    let policy = load("tainted").unwrap();
    assert_eq!(
        policy.imports()[0].interface,
        "node-readiness:policy/node@0.1.7"
    );
    assert_eq!(policy.imports()[0].functions, ["tainted"]);
    let verdict = policy.evaluate(&Arc::new(rule("any")), bare());
    assert_eq!(verdict.result.unwrap().reason, "Fine");
    assert_eq!(verdict.reads.len(), 1);

    let error = load("rebooted").unwrap_err();
    assert_eq!(
        error.to_string(),
        "it asks rebooted of node-readiness:policy/node@0.1.7, which node-readiness:policy@0.1.0 \
         does not have: it needs a newer host"
    );
}

#[test]
fn exports_and_imports_of_another_type() {
    let imports = r#"(import "node-readiness:policy/node@0.1.0" "tainted"
                       (func $ask (result i32)))"#;
    for (change, imports) in [
        (("reason: string,", "reason: string, code: u32,"), ""),
        (
            (
                "check: func() -> list<problem>;",
                "check: func() -> list<string>;",
            ),
            "",
        ),
        (
            ("tainted: func() -> bool;", "tainted: func() -> u32;"),
            imports,
        ),
    ] {
        let bytes = component(&Parts {
            contract: &[change],
            imports,
            ..Parts::default()
        });
        let error = refused(&bytes);
        assert!(matches!(error, LoadError::WrongSignature(_)), "{error}");
    }
    let without = component(&Parts {
        contract: &[("check: func() -> list<problem>;", "")],
        exports: &["describe", "evaluate"],
        ..Parts::default()
    });
    let error = refused(&without);
    assert!(
        error.to_string().contains("does not export `check`"),
        "{error}"
    );
}

#[test]
fn a_trial_run_that_fails() {
    let imports = r#"(import "node-readiness:policy/node@0.1.0" "tainted"
                       (func $ask (result i32)))"#;
    let endless = "(func $endless (loop (br 0))) (start $endless)";
    for (describe, module, imports, kind) in [
        ("unreachable", "", "", FailureKind::Trapped),
        (
            "(drop (call $ask))",
            "",
            imports,
            FailureKind::QuestionNotAllowed,
        ),
        ("", endless, "", FailureKind::DeadlineExceeded),
        (
            "(drop (memory.grow (i32.const 1000)))",
            "",
            "",
            FailureKind::MemoryExceeded,
        ),
    ] {
        let bytes = component(&Parts {
            imports,
            module,
            describe,
            ..Parts::default()
        });
        match refused(&bytes) {
            LoadError::Trial(failure) => assert_eq!(failure.kind, kind.as_str()),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_description_against_the_contract() {
    for (describe, part) in [
        // The first letter of the name, of the version; a schema of one byte: the "h" of the name.
        (
            "(i32.store8 (i32.const 128) (i32.const 0x48))",
            "name \"Hand\"",
        ),
        (
            "(i32.store8 (i32.const 144) (i32.const 0x76))",
            "version \"v.0.0\"",
        ),
        (
            "(i64.store (i32.const 16) (i64.const 0x1_0000_0080))",
            "schema is not JSON",
        ),
    ] {
        let bytes = component(&Parts {
            describe,
            ..Parts::default()
        });
        let error = refused(&bytes);
        assert!(matches!(error, LoadError::InvalidDescription(_)), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn more_than_a_policy_can_have() {
    let mut options = small(|small| small.slots = 1 << 24);
    options.large.slots = 1 << 24;
    let without_pool = Engine::new(&options).unwrap();
    let memories = "(memory 1)".repeat(8);
    let tables = "(table 1 funcref)".repeat(40);
    for (memory, module, part) in [
        ("1", memories.as_str(), "memories"),
        ("1", "(table 200000 funcref)", "200000"),
        ("1", tables.as_str(), "tables"),
        (
            "3000",
            "",
            "begins with 187.5 MiB of memory; 128 MiB are allowed",
        ),
    ] {
        let bytes = component(&Parts {
            memory,
            module,
            ..Parts::default()
        });
        for engine in [&*ENGINE, &without_pool] {
            let error = engine.load(&bytes).unwrap_err();
            assert!(matches!(error, LoadError::TooLarge(_)), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
