//! Files that are written by a program and kept in the repository.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::steps::{build, program, root, step};

/// Where the CRD is kept.
const CRD: &str = "crds/nodereadinessrules.yaml";

/// Writes what is generated, or checks that it is as it would be written.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    println!("== generated files");
    step("build", &mut build(false))?;
    let output = Command::new(program("host", false)).arg("crd").output()?;
    ensure!(
        output.status.success(),
        "`host crd` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = root().join(CRD);
    let kept = fs::read(&path).unwrap_or_default();
    if kept == output.stdout {
        return Ok(());
    }
    if check {
        bail!("{CRD} is not what the code generates; run `cargo xtask codegen`");
    }
    fs::write(&path, output.stdout).with_context(|| format!("{CRD} cannot be written"))?;
    println!("wrote {CRD}");
    Ok(())
}
