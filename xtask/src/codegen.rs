//! Files that are written by a program and kept in the repository.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::steps::{build, program, root, step};

/// Where the CRD is kept: for `kubectl apply`, and where Helm and kustomize look for it.
const CRDS: [&str; 3] = [
    "crds/nodereadinessrules.yaml",
    "deploy/helm/node-readiness-controller/crds/nodereadinessrules.yaml",
    "deploy/kustomize/base/crd.yaml",
];

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
    for crd in CRDS {
        let path = root().join(crd);
        let kept = fs::read(&path).unwrap_or_default();
        if kept == output.stdout {
            continue;
        }
        if check {
            bail!("{crd} is not what the code generates; run `cargo xtask codegen`");
        }
        fs::write(&path, &output.stdout).with_context(|| format!("{crd} cannot be written"))?;
        println!("wrote {crd}");
    }
    Ok(())
}
