//! How a process that compiles a policy can end. What it does when it is the host's own stands in the tests of
//! the program.

use std::time::Duration;

use engine::{Compiler, CompilerError, LoadError, PolicyLimits};

use crate::ENGINE;
use crate::components::{Parts, component};

/// A process that does this instead.
fn ends(script: &str) -> LoadError {
    ends_within(script, Duration::from_secs(60))
}

fn ends_within(script: &str, time: Duration) -> LoadError {
    let compiler = Compiler {
        program: "/bin/sh".into(),
        arguments: ["-c", script, "sh"].map(Into::into).to_vec(),
        memory: 1 << 30,
        time,
        cache: None,
    };
    let bytes = component(&Parts::default());
    let loaded = ENGINE.load_with(&bytes, &PolicyLimits::default(), Some(&compiler));
    loaded.expect_err(script)
}

#[test]
fn every_end_of_the_process_is_told_apart() {
    let error = ends("echo 'error: no such section' >&2; exit 2");
    assert!(matches!(error, LoadError::Compile(_)));
    assert_eq!(error.to_string(), "it cannot be compiled: no such section");
    for script in [
        "exit 3",
        "echo 'memory allocation of 5 bytes failed' >&2; kill -ABRT $$",
    ] {
        let error = ends(script);
        let typed = matches!(error, LoadError::Compiler(CompilerError::Memory { .. }));
        assert!(typed, "{script}: {error}");
        let sentence = "compiling it takes more than the 1024 MiB of memory that a process may take that compiles one";
        assert_eq!(error.to_string(), sentence);
    }
    let error = ends("kill -XCPU $$");
    let typed = matches!(error, LoadError::Compiler(CompilerError::Time { .. }));
    assert!(typed, "{error}");
    for (script, part) in [
        ("kill -KILL $$", "signal: 9"),
        ("kill -SEGV $$", "signal: 11"),
        ("kill -ABRT $$", "signal: 6"),
        ("echo what >&2; exit 5", "(exit status: 5): what"),
    ] {
        let error = ends(script);
        let typed = matches!(error, LoadError::Compiler(CompilerError::Failed { .. }));
        assert!(typed, "{script}: {error}");
        assert!(error.to_string().contains(part), "{script}: {error}");
    }
}

#[test]
fn one_that_does_not_end_is_ended() {
    // It has nothing to wait for but the deadline.
    let error = ends_within("exec sleep 1000", Duration::from_millis(20));
    let typed = matches!(error, LoadError::Compiler(CompilerError::Time { .. }));
    assert!(typed, "{error}");
}

#[test]
fn one_that_says_too_much_is_heard_to_its_end() {
    let error = ends("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 2");
    assert!(error.to_string().len() < 20_000);
}

#[test]
fn what_is_no_native_code_is_refused() {
    for script in ["cat", "head -c 100000 /dev/urandom", "exit 0"] {
        let error = ends(script);
        assert!(matches!(error, LoadError::Compile(_)), "{script}: {error}");
    }
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let mut compiler = Compiler::this_program("x");
    compiler.program = "/nowhere/host".into();
    let bytes = component(&Parts::default());
    let error = ENGINE.load_with(&bytes, &PolicyLimits::default(), Some(&compiler));
    let error = error.unwrap_err();
    let typed = matches!(error, LoadError::Compiler(CompilerError::Process(_)));
    assert!(typed, "{error}");
}
