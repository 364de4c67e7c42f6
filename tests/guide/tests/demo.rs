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
    let mut rest = &*told;
    for shown in [
        ": Running on worker-1",
        ": Pending: 0/1 nodes are available: 1 node(s) had untolerated taint(s)",
        "1 matched, 1 held, 0 released",
        "bootstrap-completed-",
        ": Running on worker-1",
        "1 matched, 0 held, 1 released",
        ": Pending: 0/1 nodes are available: 1 node(s) had untolerated taint(s)",
        ": Running on worker-1",
        "The guide came true",
    ] {
        let Some((_, after)) = rest.split_once(shown) else {
            panic!("{shown:?} is missing, or not where it should be, in:\n{told}");
        };
        rest = after;
    }
}
