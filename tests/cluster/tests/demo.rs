//! The first command of the README tells its story to the end.

use std::process::Command;

#[test]
fn the_demo_comes_true() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for shown in [
        "1 matched, 1 held, 0 released",
        "1 matched, 0 held, 1 released",
        "The guide came true",
    ] {
        assert!(told.contains(shown), "{shown:?} is missing in:\n{told}");
    }
}
