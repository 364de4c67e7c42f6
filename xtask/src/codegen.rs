//! Files that are written by a program and kept in the repository.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::steps::{build, program, root, step};

/// What a subcommand of `host` prints, and where it is kept: for `kubectl apply`, and where Helm and kustomize
/// look for it.
const KEPT: [(&[&str], &[&str]); 4] = [
    (
        &["crd", "nodereadinessrules"],
        &[
            "crds/nodereadinessrules.yaml",
            "deploy/helm/node-readiness-controller/crds/nodereadinessrules.yaml",
        ],
    ),
    (
        &["crd", "readinesspolicies"],
        &[
            "crds/readinesspolicies.yaml",
            "deploy/helm/node-readiness-controller/crds/readinesspolicies.yaml",
        ],
    ),
    (&["crd"], &["deploy/kustomize/base/crd.yaml"]),
    (
        &["gate"],
        &[
            "deploy/helm/node-readiness-controller/files/gate.yaml",
            "deploy/kustomize/components/gate/gate.yaml",
        ],
    ),
];

/// Files that Helm looks for in the chart, which can have nothing from outside of it.
const COPIED: [(&str, &str); 1] = [(
    "deploy/prometheus/rules.yaml",
    "deploy/helm/node-readiness-controller/files/alerts.yaml",
)];

/// Writes what is generated, or checks that it is as it would be written.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    println!("== generated files");
    step("build", &mut build())?;
    for (arguments, files) in KEPT {
        let output = Command::new(program("host")).args(arguments).output()?;
        ensure!(
            output.status.success(),
            "`host {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        for file in files {
            keep(file, &output.stdout, check)?;
        }
    }
    for (original, copy) in COPIED {
        let content = fs::read(root().join(original))
            .with_context(|| format!("{original} cannot be read"))?;
        keep(copy, &content, check)?;
    }
    Ok(())
}

fn keep(file: &str, content: &[u8], check: bool) -> anyhow::Result<()> {
    let path = root().join(file);
    if fs::read(&path).unwrap_or_default() == content {
        return Ok(());
    }
    if check {
        bail!("{file} is not what is generated; run `cargo xtask codegen`");
    }
    fs::write(&path, content).with_context(|| format!("{file} cannot be written"))?;
    println!("wrote {file}");
    Ok(())
}
