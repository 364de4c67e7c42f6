//! What goes into the images: static programs, and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::setup;
use crate::steps::{cargo, on_path, root, step, target_folder};

/// An architecture as images name it.
struct Architecture {
    name: &'static str,
    /// As Rust names it.
    target: &'static str,
    /// Compilers for the C code of ring, best first. The last one can compile for everything.
    compilers: [&'static str; 3],
}

impl Architecture {
    /// Is it this machine's?
    fn is_own(&self) -> bool {
        self.target.starts_with(std::env::consts::ARCH)
    }
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

/// A program of the image.
struct Program {
    /// As it is built.
    built: &'static str,
    /// In the image.
    name: &'static str,
    profile: &'static str,
    /// What cargo looks at.
    scope: &'static [&'static str],
}

const HOST: Program = Program {
    built: "host",
    name: "host",
    profile: "release",
    scope: &["--workspace"],
};
/// It needs nothing that the workspace has to compile in one way only.
const REPORTER: Program = Program {
    built: "node-readiness-reporter",
    name: "reporter",
    profile: SMALL,
    scope: &["--package", "reporter"],
};
/// The profile of what is on every node.
pub(crate) const SMALL: &str = "small";
/// The reporter, which every node loads, in bytes.
const MOST_OF_REPORTER: u64 = 5_000_000;
/// All that is in the larger image together, in bytes, packed as a registry stores it.
const MOST: usize = 25_000_000;
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
    let image = target_folder().join("image").join(architecture.name);
    if image.exists() {
        fs::remove_dir_all(&image)?;
    }
    fs::create_dir_all(&image)?;
    let put = |program: &Program| {
        let from = match programs {
            Some(folder) => folder.join(program.built),
            None => build(program, architecture)?,
        };
        install(&from, &image.join(program.name))
    };
    let (host, reporter) = (put(&HOST)?, put(&REPORTER)?);
    // By this name it is `host run`; Jobs start /host.
    symlink("host", image.join("manager"))?;
    let folder = image.display();
    let packed = packed(&image)?;
    println!("{folder}: host {host} bytes, reporter {reporter} bytes; packed {packed} bytes");
    ensure!(packed <= MOST, "the image may have {MOST} bytes");
    ensure!(
        reporter <= MOST_OF_REPORTER,
        "the reporter may have {MOST_OF_REPORTER} bytes"
    );
    if on_path("buildah") {
        for (name, stage) in IMAGES {
            layout(architecture.name, name, stage)?;
        }
    } else {
        println!("buildah is not on the PATH: no OCI layouts are made");
    }
    Ok(())
}

/// Builds the reporter as it is in the image of this machine's processor.
pub(crate) fn reporter() -> anyhow::Result<PathBuf> {
    let own = ARCHITECTURES.iter().find(|known| known.is_own());
    build(&REPORTER, own.context("there are amd64 and arm64")?)
}

/// Builds a static program, for another processor too.
fn build(program: &Program, architecture: &Architecture) -> anyhow::Result<PathBuf> {
    let Architecture {
        name,
        target,
        compilers,
    } = architecture;
    setup::wasm_target()?;
    setup::target(target)?;
    let mut build = cargo(&["build", "--profile", program.profile]);
    build.args(program.scope).args(["--target", target]);
    build.args(["--bin", program.built]);
    let variable = format!("CC_{}", target.replace('-', "_"));
    if std::env::var_os(&variable).is_none() {
        // ring's C code needs nothing of a C library, so the machine's own compiler will do as well.
        let own = architecture.is_own().then_some(&"cc");
        let mut compilers = compilers.iter().chain(own);
        let Some(compiler) = compilers.find(|compiler| on_path(compiler)) else {
            bail!(
                "there is no C compiler for {name}: install one of {}, or name yours in {variable}",
                architecture.compilers.join(", ")
            );
        };
        build.env(&variable, compiler);
    }
    if !architecture.is_own() {
        // The system's own linker knows its own processor alone; this one came with Rust.
        let variable = target.replace('-', "_").to_uppercase();
        build.env(format!("CARGO_TARGET_{variable}_LINKER"), "rust-lld");
    }
    step(&format!("build {}", program.built), &mut build)?;
    let folder = target_folder().join(target).join(program.profile);
    Ok(folder.join(program.built))
}

fn install(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let size =
        fs::copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(size)
}

/// How large the layer of an image is that has what is in a folder.
fn packed(folder: &Path) -> anyhow::Result<usize> {
    let mut tar = Command::new("tar");
    let tar = tar.arg("-C").arg(folder).args(["-cz", "."]);
    let output = tar.output().context("tar cannot be started")?;
    ensure!(
        output.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout.len())
}

fn layout(architecture: &str, name: &str, stage: Option<&str>) -> anyhow::Result<()> {
    let folder = target_folder().join("image");
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
