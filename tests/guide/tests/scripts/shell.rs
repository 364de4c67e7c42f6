//! Every shell script of the repository is sound: files, and those that stand in a manifest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli_tests::program::{not_tested, workspace};

use crate::site::on_path;

/// Where scripts of the repository are. Not in `target`, and what a `build.sh` leaves in its folder is not
/// the repository's.
const FOLDERS: [&str; 5] = [".ci", "deploy", "docs", "examples", "tests"];
const NOT_OURS: [&str; 3] = ["build", "node_modules", "target"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            found.push(path);
        } else if !NOT_OURS.iter().any(|name| path.ends_with(name)) {
            files(&path, found);
        }
    }
}

fn is_script(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("#!") && (first.ends_with("sh") || first.ends_with("bash"))
}

/// The texts that a manifest has as blocks (`name: |`) and that are scripts, with their names. A template of
/// Helm is no YAML, so it is read by its lines.
fn scripts_in(manifest: &str) -> Vec<(String, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut scripts = Vec::new();
    let mut lines = manifest.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, "|" | "|-" | "|+")) = line.trim().rsplit_once(": ") else {
            continue;
        };
        let mut block: Vec<&str> = Vec::new();
        while let Some(next) =
            lines.next_if(|next| next.trim().is_empty() || indent(next) > indent(line))
        {
            block.push(next);
        }
        let margin = block.first().map_or(0, |first| indent(first));
        let text: Vec<_> = block
            .iter()
            .map(|line| line.get(margin..).unwrap_or_default())
            .collect();
        let text = text.join("\n").trim_end().to_owned() + "\n";
        if is_script(&text) {
            scripts.push((name.trim_start_matches("- ").to_owned(), text));
        }
    }
    scripts
}

/// All of them, those of manifests as files in a folder; by their paths in the repository.
fn scripts(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    for name in FOLDERS {
        files(&workspace().join(name), &mut all);
    }
    all.sort();
    let mut scripts = Vec::new();
    for path in all {
        // What is no text is no script.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let name = path
            .strip_prefix(workspace())
            .unwrap()
            .display()
            .to_string();
        if is_script(&text) {
            scripts.push((name, path));
        } else if name.ends_with(".yaml") || name.ends_with(".tpl") {
            for (index, (inner, text)) in scripts_in(&text).into_iter().enumerate() {
                let file = folder.join(format!("{}-{index}-{inner}", scripts.len()));
                fs::write(&file, text).unwrap();
                scripts.push((format!("{name}: {inner}"), file));
            }
        } else {
            assert!(!name.ends_with(".sh"), "{name} does not begin with #!");
        }
    }
    scripts
}

#[test]
fn shellcheck_finds_nothing_in_any_script_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = scripts(folder.path());
    let names: Vec<&str> = scripts.iter().map(|(name, _)| name.as_str()).collect();
    for known in [
        ".ci/run",
        "examples/constrained-impersonation/as-reporter.sh",
        "examples/policies/rust/build.sh",
        "examples/problem-gate/npd.yaml: conntrack.sh",
        "examples/problem-gate/npd.yaml: data-disk.sh",
        "examples/security-agent-readiness/npd-variant/npd-falco-config.yaml: check-falco.sh",
        "examples/security-agent-readiness/setup-falco.sh",
        "examples/several-agents/report.sh",
    ] {
        assert!(names.contains(&known), "{known}: {names:#?}");
    }
    if on_path("shellcheck").is_none() {
        not_tested(&format!(
            "shellcheck is not on the PATH: it was not asked about {} scripts",
            names.len()
        ));
        return;
    }
    let mut problems = String::new();
    for (name, path) in &scripts {
        let check = Command::new("shellcheck").arg(path).output().unwrap();
        if !check.status.success() {
            let said = String::from_utf8_lossy(&check.stdout);
            problems += &format!("{name}:\n{said}{}", String::from_utf8_lossy(&check.stderr));
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn a_script_in_a_manifest_is_found_whatever_stands_around_it() {
    let manifest = "data:\n  a.json: |\n    {}\n  b.sh: |\n    #!/bin/sh\n\n    if true; then\n      :\n    fi\n  c: d\n";
    let found = scripts_in(manifest);
    let expected = "#!/bin/sh\n\nif true; then\n  :\nfi\n";
    assert_eq!(found, [("b.sh".to_owned(), expected.to_owned())]);
}

#[test]
fn without_shellcheck_the_test_says_so_though_it_passes() {
    let nothing = tempfile::tempdir().unwrap();
    let test = "shell::shellcheck_finds_nothing_in_any_script_of_the_repository";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).env("PATH", nothing.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("not tested: shellcheck is not on the PATH: it was not asked about "),
        "{said}"
    );
}
