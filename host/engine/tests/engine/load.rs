//! Each way in which a component cannot serve as a policy, and the sentence that says so.

use std::sync::Arc;

use engine::{Engine, FailureKind, LoadError, Options};

use crate::components::{Parts, component};
use crate::{ENGINE, bare, hostile, rule};

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
    assert_eq!((policy.name(), policy.version()), ("hostile", "1.2.3"));
    assert_eq!(policy.parameters(), r#"{"type":"object"}"#);
    assert_eq!(policy.domains()[0].key, "zone");
    assert_eq!(policy.domains()[0].values, ["a", "b"]);
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
    assert!(matches!(error, LoadError::CoreModule));
    assert!(error.to_string().contains("wasm-tools component new"));
}

#[test]
fn a_damaged_component() {
    let whole = component(&Parts::default());
    let error = refused(&whole[..whole.len() / 2]);
    assert!(matches!(error, LoadError::Compile(_)), "{error}");
}

#[test]
fn a_component_that_needs_wasi() {
    let bytes = wat::parse_str(
        r#"(component
          (import "wasi:cli/environment@0.2.6" (instance
            (export "get-arguments" (func (result (list string)))))))"#,
    );
    let error = refused(&bytes.unwrap());
    assert_eq!(
        error.to_string(),
        "it needs WASI (wasi:cli/environment@0.2.6), which no policy is given: \
         build it for wasm32-unknown-unknown instead of a WASI target"
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
            r#"(component (import "node-readiness:policy/pods@0.1.0" (instance (export "any" (func (result bool))))))"#,
            "node-readiness:policy/pods@0.1.0",
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
    let options = Options {
        slots: 1 << 24,
        ..Options::default()
    };
    let without_pool = Engine::new(&options).unwrap();
    for (memory, module, part) in [
        ("1", "(memory 2)", "memories"),
        ("1", "(table 20000 funcref)", "20000"),
        ("200", "", "13107200"),
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
