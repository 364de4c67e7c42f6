//! The images, from stand-ins of the programs: building those takes minutes, and is not what is asked here.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "functions of a test say what was not there by panicking"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn image(target: &Path, programs: &Path, architecture: &str) -> Output {
    let storage = target.join("storage.conf");
    let folder = target.join("storage").display().to_string();
    // Not among the images of whoever runs the tests.
    let text = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{folder}/graph\"\nrunroot = \"{folder}/run\"\n"
    );
    fs::write(&storage, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["image", "--architecture", architecture, "--programs"])
        .arg(programs)
        .env("CARGO_TARGET_DIR", target)
        .env("CONTAINERS_STORAGE_CONF", storage)
        .output()
        .unwrap()
}

fn stand_ins() -> tempfile::TempDir {
    let programs = tempfile::tempdir().unwrap();
    for name in ["host", "node-readiness-reporter"] {
        fs::write(programs.path().join(name), name).unwrap();
    }
    programs
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// buildah, as somebody who may use it without more.
fn can_build() -> bool {
    let run = |program: &str, argument: &str| Command::new(program).arg(argument).output();
    let root = run("id", "-u").is_ok_and(|output| output.stdout == b"0\n");
    root && run("buildah", "--version").is_ok_and(|output| output.status.success())
}

/// What a layout says of an architecture, and what its one layer has: mode and name.
fn contents(layout: &Path, architecture: &str) -> (Value, Vec<String>) {
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        layout.join("blobs/sha256").join(digest)
    };
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = read(&layout.join("index.json"));
    let named =
        |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == architecture;
    let manifests = index["manifests"].as_array().unwrap();
    let manifest = read(&blob(&manifests.iter().find(named).unwrap()["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    let tar = Command::new("tar")
        .args(["--list", "--verbose", "--gzip", "--file"])
        .arg(blob(&layers[0]["digest"]))
        .output()
        .unwrap();
    let listed = String::from_utf8(tar.stdout).unwrap();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}", words[0], words[5..].join(" "))
    };
    let files = listed.lines().filter(|line| !line.starts_with('d'));
    (
        read(&blob(&manifest["config"]["digest"])),
        files.map(entry).collect(),
    )
}

#[test]
fn compat_043_the_images_start_what_the_original_images_start_on_both_architectures() {
    if !can_build() {
        let why = "buildah is not on the PATH, or this is not root: no image was built";
        // A macro would keep it back, since the test passes.
        writeln!(std::io::stderr(), "not tested: {why}").unwrap();
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let programs = stand_ins();
    for architecture in ["amd64", "arm64"] {
        let output = image(target.path(), programs.path(), architecture);
        assert!(output.status.success(), "{}", said(&output));
    }
    let layouts = target.path().join("image/oci");
    for architecture in ["amd64", "arm64"] {
        for (name, program, files) in [
            (
                "node-readiness-host",
                "/manager",
                vec![
                    "-rwxr-xr-x host",
                    "lrwxrwxrwx manager -> host",
                    "-rwxr-xr-x reporter",
                ],
            ),
            (
                "node-readiness-reporter",
                "/reporter",
                vec!["-rwxr-xr-x reporter"],
            ),
        ] {
            let (image, found) = contents(&layouts.join(name), architecture);
            assert_eq!(found, files, "{name}");
            assert_eq!(image["architecture"], architecture);
            assert_eq!(image["os"], "linux");
            assert_eq!(image["config"]["User"], "65532:65532");
            assert_eq!(image["config"]["Entrypoint"], json!([program]));
        }
    }
}

#[test]
fn what_cannot_be_an_image_is_said() {
    let target = tempfile::tempdir().unwrap();
    let programs = stand_ins();
    let output = image(target.path(), programs.path(), "riscv64");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("riscv64: there are amd64 and arm64"),
        "{}",
        said(&output)
    );

    fs::remove_file(programs.path().join("node-readiness-reporter")).unwrap();
    let output = image(target.path(), programs.path(), "amd64");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("node-readiness-reporter cannot be copied"),
        "{}",
        said(&output)
    );

    // Nothing packs it: each state of a generator of random numbers.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    });
    fs::write(
        programs.path().join("node-readiness-reporter"),
        noise.take(25_000_000).collect::<Vec<u8>>(),
    )
    .unwrap();
    let output = image(target.path(), programs.path(), "amd64");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("the image may have 25000000 bytes"),
        "{}",
        said(&output)
    );

    fs::write(
        programs.path().join("node-readiness-reporter"),
        vec![0; 5_000_001],
    )
    .unwrap();
    let output = image(target.path(), programs.path(), "amd64");
    assert!(!output.status.success());
    assert!(
        said(&output).contains("the reporter may have 5000000 bytes"),
        "{}",
        said(&output)
    );
}

#[test]
fn without_buildah_the_test_says_so_though_it_passes() {
    let nothing = tempfile::tempdir().unwrap();
    let test = "compat_043_the_images_start_what_the_original_images_start_on_both_architectures";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).env("PATH", nothing.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("not tested: buildah is not on the PATH"),
        "{stderr}"
    );
}
