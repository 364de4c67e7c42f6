//! What goes into the image: static programs, and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::setup;
use crate::steps::{cargo, root, step};

/// Architectures as images name them, with Rust's targets.
const TARGETS: [(&str, &str); 2] = [
    ("amd64", "x86_64-unknown-linux-musl"),
    ("arm64", "aarch64-unknown-linux-musl"),
];
/// The package that the reporter is in. The image has it where the workspace has it.
const REPORTER: (&str, &str) = ("reporter", "node-readiness-reporter");
/// All that is in the image together, in bytes.
const MOST: u64 = 25_000_000;

/// Builds the programs for an architecture into `target/image`, and an OCI layout where buildah is there.
pub(crate) fn run(architecture: &str) -> anyhow::Result<()> {
    let Some((_, target)) = TARGETS.iter().find(|(name, _)| *name == architecture) else {
        bail!("{architecture}: there are amd64 and arm64");
    };
    setup::wasm_target()?;
    setup::target(target)?;
    let has_reporter = root().join(REPORTER.0).is_dir();
    let mut build = cargo(&["build", "--release", "--workspace", "--bin", "host"]);
    if has_reporter {
        build.args(["--bin", REPORTER.1]);
    }
    step("build", build.args(["--target", target]))?;
    let programs = output_folder().join(target).join("release");
    let image = output_folder().join("image").join(architecture);
    if image.exists() {
        fs::remove_dir_all(&image)?;
    }
    fs::create_dir_all(&image)?;
    let mut size = install(&programs.join("host"), &image.join("host"))?;
    // By this name it is `host run`; Jobs start /host.
    symlink("host", image.join("manager"))?;
    if has_reporter {
        size += install(&programs.join(REPORTER.1), &image.join("reporter"))?;
    } else {
        println!("without /reporter: there is no package {}", REPORTER.0);
    }
    println!("{}: {size} bytes", image.display());
    ensure!(size <= MOST, "the image may have {MOST} bytes");
    if on_path("buildah") {
        layout(architecture)?;
    } else {
        println!("buildah is not on the PATH: no OCI layout is made");
    }
    Ok(())
}

fn output_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn install(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let size =
        fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(size)
}

fn layout(architecture: &str) -> anyhow::Result<()> {
    let folder = output_folder();
    let platform = format!("linux/{architecture}");
    let image = format!("localhost/node-readiness-host:{architecture}");
    let mut build = Command::new("buildah");
    build.args(["build", "--isolation=chroot", "--storage-driver=vfs"]);
    build.args(["--platform", &platform, "--tag", &image]);
    build
        .arg("--build-arg")
        .arg(format!("TARGETARCH={architecture}"));
    build.arg("--file").arg(root().join("deploy/Dockerfile"));
    step("image", build.arg(folder.join("image")))?;
    let to = format!("oci:{}", folder.join("image").join("oci").display());
    let mut push = Command::new("buildah");
    push.args(["push", "--storage-driver=vfs", &image]);
    step("OCI layout", push.arg(format!("{to}:{architecture}")))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
