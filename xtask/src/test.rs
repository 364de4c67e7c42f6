//! The second README command. The quick checks first.

use crate::steps::{cargo, on_path, step};
use crate::{codegen, compat, setup, walls};

/// Programs without which tests look at less, and what that is.
const TOOLS: [(&str, &str); 3] = [
    ("buildah", "no image was built"),
    ("jq", "`jq .` in documents was played by cat"),
    ("shellcheck", "no script was looked at"),
];

/// How many tests of a program run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

/// Runs everything that must hold.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::wasm_target()?;
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    walls::check()?;
    step(
        "lints",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]),
    )?;
    codegen::run(true)?;
    compat::run(true)?;
    // All that fails is told by one run.
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os(THREADS).is_none() {
        tests.env(THREADS, at_a_time().to_string());
    }
    let tests = step("tests", &mut tests);
    // At the end, where it is seen: whoever passed without it has tested less.
    for line in not_tested(on_path) {
        println!("== {line}");
    }
    tests
}

/// Twice as many as there are processors: most tests wait for servers half of the time.
fn at_a_time() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

fn not_tested(is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let absent = TOOLS.iter().filter(|(tool, _)| !is_there(tool));
    absent
        .map(|(tool, less)| format!("not tested: {tool} is not on the PATH: {less}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::not_tested;

    #[test]
    fn what_was_not_tested_is_named_for_each_program_that_is_absent() {
        assert_eq!(not_tested(|_| true), [""; 0]);
        let lines = not_tested(|tool| tool == "jq");
        assert_eq!(
            lines,
            [
                "not tested: buildah is not on the PATH: no image was built",
                "not tested: shellcheck is not on the PATH: no script was looked at",
            ]
        );
    }
}
