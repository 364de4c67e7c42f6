//! The process that compiles policies, and what is kept of its work.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use cli_tests::program::{command, host};
use common::{NODE, RULE, folder_with};

/// What the process answers to these bytes.
fn compile(component: &[u8], memory: u64, seconds: u64) -> Output {
    let mut command = command().unwrap();
    command
        .args(["compile-policy", "--reservation", "16777216"])
        .args(["--memory", &memory.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It may end before it has read everything.
        scope.spawn(move || stdin.write_all(component));
        child.wait_with_output().unwrap()
    })
}

/// A component with a function that multiplies and rotates so often. Written byte by byte: as text it would take
/// longer than the compiler does.
fn heavy(steps: usize) -> Vec<u8> {
    // local.get 0, i32.const 7, i32.mul, i32.const 3, i32.rotl, local.set 0
    let step = [0x20, 0, 0x41, 7, 0x6c, 0x41, 3, 0x77, 0x21, 0];
    let body = [&[0][..], &step.repeat(steps), &[0x0b]].concat();
    let code = [&[1][..], &sized(&body)].concat();
    let module = [
        &b"\0asm\x01\0\0\0"[..],
        // A type: one i32 goes in.
        &[1, 5, 1, 0x60, 1, 0x7f, 0],
        // A function of it.
        &[3, 2, 1, 0],
        &[10],
        &sized(&code),
    ];
    [&b"\0asm\x0d\0\x01\0\x01"[..], &sized(&module.concat())].concat()
}

/// After its length in LEB128.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut sized = Vec::new();
    let mut rest = bytes.len();
    while rest >= 0x80 {
        sized.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    sized.push(rest as u8);
    sized.extend(bytes);
    sized
}

const GB: u64 = 1 << 30;

#[test]
fn it_reads_a_component_and_writes_native_code() {
    let output = compile(&heavy(10), GB, 60);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"\x7fELF"));
    assert!(output.stderr.is_empty());
}

#[test]
fn what_cannot_be_compiled_is_told_in_a_sentence() {
    let whole = heavy(10);
    for bytes in [&b"hello"[..], &whole[..whole.len() / 2]] {
        let output = compile(bytes, GB, 60);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.starts_with(b"error: "));
        assert!(output.stdout.is_empty());
    }
}

/// However it ends where memory does, it ends as the host expects it of that.
#[test]
fn more_memory_than_it_may_take_ends_it() {
    let component = heavy(500_000);
    // A little more than the program alone takes.
    let output = compile(&component, 200 << 20, 600);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let aborted = output.status.signal() == Some(6) && said.contains("memory allocation of");
    assert!(
        aborted || output.status.code() == Some(3),
        "{:?}: {said}",
        output.status
    );
}

#[test]
fn more_time_than_it_may_take_ends_it() {
    let output = compile(&heavy(500_000), 8 * GB, 1);
    // SIGXCPU
    assert_eq!(output.status.signal(), Some(24), "{output:?}");
}

/// A policy that another test builds as well.
fn policy() -> PathBuf {
    guest_builder::path("hostile-guest").unwrap()
}

/// `host eval` with a folder for native code: what it noted.
fn eval(cache: &Path) -> String {
    let files = folder_with(&[("rule.yaml", RULE), ("node.yaml", NODE)]);
    let file = |name: &str| files.path().join(name).display().to_string();
    let (policy, cache) = (policy().display().to_string(), cache.display().to_string());
    let (rule, node) = (file("rule.yaml"), file("node.yaml"));
    let arguments = [
        "eval", "--rule", &rule, "--node", &node, "--policy", &policy,
    ];
    let output = host(arguments.into_iter().chain(["--policy-cache", &cache])).unwrap();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stdout.contains("Fine"), "{}", output.stdout);
    output.stderr
}

/// The native code in the folder.
fn entry(cache: &Path) -> PathBuf {
    let files = fs::read_dir(cache.join("compiled-policies")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut code = paths.filter(|path| fs::read(path).unwrap().starts_with(b"\x7fELF"));
    let only = code.next().unwrap();
    assert_eq!(code.next(), None);
    only
}

#[test]
fn native_code_is_kept_and_used_again() {
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(eval(cache.path()), "");
    let written = fs::metadata(entry(cache.path())).unwrap();
    assert_eq!(eval(cache.path()), "");
    let now = fs::metadata(entry(cache.path())).unwrap();
    assert_eq!((now.ino(), now.len()), (written.ino(), written.len()));
}

#[test]
fn native_code_that_was_changed_is_refused_and_made_again() {
    let cache = tempfile::tempdir().unwrap();
    eval(cache.path());
    let path = entry(cache.path());
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&path, &bad).unwrap();
    let note = eval(cache.path());
    assert!(
        note.starts_with("note: the policy was compiled again: "),
        "{note}"
    );
    assert!(note.contains("was changed since"), "{note}");
    assert_eq!(fs::read(entry(cache.path())).unwrap(), good);
    assert_eq!(eval(cache.path()), "");
}

#[test]
fn a_folder_that_cannot_be_trusted_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let files = folder_with(&[("rule.yaml", RULE), ("node.yaml", NODE)]);
    let path = |path: &Path| path.display().to_string();
    let rule = path(&files.path().join("rule.yaml"));
    let node = path(&files.path().join("node.yaml"));
    let (policy, cache) = (path(&policy()), path(file.path()));
    let arguments = [
        "eval", "--rule", &rule, "--node", &node, "--policy", &policy,
    ];
    let output = host(arguments.into_iter().chain(["--policy-cache", &cache])).unwrap();
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.starts_with("error: --policy-cache: "),
        "{}",
        output.stderr
    );
}
