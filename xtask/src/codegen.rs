//! Files that are written by a program and kept in the repository.

use std::fs;

use anyhow::{Context, bail, ensure};

use crate::steps::{cargo, root};

/// Where the CRD is kept.
const CRD: &str = "crds/nodereadinessrules.yaml";

/// Writes what is generated, or checks that it is as it would be written.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    println!("== generated files");
    let output = cargo(&["run", "--quiet", "--package", "host", "--", "crd"]).output()?;
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
