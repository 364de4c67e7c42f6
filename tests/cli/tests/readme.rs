//! What the README shows is what the program prints.

use std::fs;

use cli_tests::program::{host, workspace};

#[test]
fn each_session_of_the_readme_prints_what_it_shows() {
    let text = fs::read_to_string(workspace().join("README.md")).unwrap();
    let mut sessions = 0;
    for block in text.split("```console\n").skip(1) {
        let session = block.split("```").next().unwrap();
        let (command, shown) = session
            .strip_prefix("$ host ")
            .unwrap()
            .split_once('\n')
            .unwrap();
        // Paths are those of the root of the repository.
        let root = workspace();
        let arguments =
            command
                .split(' ')
                .map(|argument| match argument.strip_prefix("examples/") {
                    Some(path) => root.join("examples").join(path).display().to_string(),
                    None => argument.to_owned(),
                });
        let output = host(arguments).unwrap();
        assert_eq!((output.status, output.stderr.as_str()), (0, ""));
        assert_eq!(output.stdout, shown);
        sessions += 1;
    }
    assert!(sessions > 0, "the README has no session");
}
