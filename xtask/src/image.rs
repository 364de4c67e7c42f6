//! What goes into the images: static programs, and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::setup;
use crate::steps::{cargo, root, step};

/// An architecture as images name it.
struct Architecture {
    name: &'static str,
    /// As Rust names it.
    target: &'static str,
    /// Compilers for the C code of ring, best first. The last one can compile for everything.
    compilers: [&'static str; 3],
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        name: "amd64",
        target: "x86_64-unknown-linux-musl",
        compilers: ["x86_64-linux-musl-gcc", "musl-gcc", "clang"],
    },
    Architecture {
        name: "arm64",
        target: "aarch64-unknown-linux-musl",
        compilers: ["aarch64-linux-musl-gcc", "aarch64-linux-gnu-gcc", "clang"],
    },
];

/// Programs as they are built, with their names in the image.
const PROGRAMS: [(&str, &str); 2] = [("host", "host"), ("node-readiness-reporter", "reporter")];
/// All that is in the larger image together, in bytes.
const MOST: u64 = 25_000_000;
/// The images, with their stages in deploy/Dockerfile; the last stage has no name.
const IMAGES: [(&str, Option<&str>); 2] = [
    ("node-readiness-host", None),
    ("node-readiness-reporter", Some("reporter")),
];

/// Puts the programs for an architecture into `target/image`, those of a folder or newly built ones, and
/// makes OCI layouts of them where buildah is there.
pub(crate) fn run(architecture: &str, programs: Option<&Path>) -> anyhow::Result<()> {
    let Some(architecture) = (ARCHITECTURES.iter()).find(|known| known.name == architecture) else {
        bail!("{architecture}: there are amd64 and arm64");
    };
    let programs = match programs {
        Some(folder) => folder.to_owned(),
        None => build(architecture)?,
    };
    let image = output_folder().join("image").join(architecture.name);
    if image.exists() {
        fs::remove_dir_all(&image)?;
    }
    fs::create_dir_all(&image)?;
    let mut size = 0;
    for (built, name) in PROGRAMS {
        size += install(&programs.join(built), &image.join(name))?;
    }
    // By this name it is `host run`; Jobs start /host.
    symlink("host", image.join("manager"))?;
    println!("{}: {size} bytes", image.display());
    ensure!(size <= MOST, "the image may have {MOST} bytes");
    if on_path("buildah") {
        for (name, stage) in IMAGES {
            layout(architecture.name, name, stage)?;
        }
    } else {
        println!("buildah is not on the PATH: no OCI layouts are made");
    }
    Ok(())
}

/// Builds static programs, for another processor too.
fn build(architecture: &Architecture) -> anyhow::Result<PathBuf> {
    let Architecture {
        name,
        target,
        compilers,
    } = architecture;
    setup::wasm_target()?;
    setup::target(target)?;
    let mut build = cargo(&["build", "--release", "--workspace", "--target", target]);
    for (program, _) in PROGRAMS {
        build.args(["--bin", program]);
    }
    let variable = format!("CC_{}", target.replace('-', "_"));
    if std::env::var_os(&variable).is_none() {
        let Some(compiler) = compilers.iter().find(|compiler| on_path(compiler)) else {
            bail!(
                "there is no C compiler for {name}: install one of {}, or name yours in {variable}",
                compilers.join(", ")
            );
        };
        build.env(&variable, compiler);
    }
    if !target.starts_with(std::env::consts::ARCH) {
        // The system's own linker knows its own processor alone; this one came with Rust.
        let variable = target.replace('-', "_").to_uppercase();
        build.env(format!("CARGO_TARGET_{variable}_LINKER"), "rust-lld");
    }
    step("build", &mut build)?;
    Ok(output_folder().join(target).join("release"))
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

fn layout(architecture: &str, name: &str, stage: Option<&str>) -> anyhow::Result<()> {
    let folder = output_folder().join("image");
    let image = format!("localhost/{name}:{architecture}");
    let mut build = Command::new("buildah");
    build.args(["build", "--isolation=chroot", "--storage-driver=vfs"]);
    build.arg(format!("--platform=linux/{architecture}"));
    build.arg(format!("--build-arg=TARGETARCH={architecture}"));
    build.args(["--tag", &image]);
    if let Some(stage) = stage {
        build.args(["--target", stage]);
    }
    build.arg("--file").arg(root().join("deploy/Dockerfile"));
    step(&format!("image {name}"), build.arg(&folder))?;
    let layout = folder.join("oci").join(name);
    fs::create_dir_all(&layout)?;
    let to = format!("oci:{}:{architecture}", layout.display());
    let mut push = Command::new("buildah");
    push.args(["push", "--storage-driver=vfs", &image, &to]);
    step(&format!("OCI layout {}", layout.display()), &mut push)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
