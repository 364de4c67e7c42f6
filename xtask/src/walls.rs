//! The walls between crates: what each must never know, checked against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::steps::cargo;

/// A crate, and packages that must not be among its dependencies, direct or not.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "planner",
        &[
            "kube",
            "kube-core",
            "k8s-openapi",
            "wasmtime",
            "tokio",
            "tracing",
            "rustix",
        ],
    ),
    (
        "api",
        &["kube-client", "kube-runtime", "wasmtime", "tokio", "hyper"],
    ),
    (
        "engine",
        &["kube", "kube-core", "k8s-openapi", "tokio", "hyper"],
    ),
    ("guest-sdk", &["planner", "wasmtime", "serde_json", "tokio"]),
    (
        "default-policy",
        &["planner", "wasmtime", "serde_json", "tokio"],
    ),
];

/// A package, and the only crates of this workspace that may name it.
const RESERVED: &[(&str, &[&str])] = &[
    ("wasmtime", &["engine"]),
    ("kube-client", &["controller", "cluster-tests"]),
    ("kube-runtime", &["controller", "cluster-tests"]),
];

/// Fails with every broken wall.
pub(crate) fn check() -> anyhow::Result<()> {
    println!("== walls");
    let mut broken = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        let found = dependencies(name)?;
        broken.extend(
            forbidden.iter().filter(|package| found.contains(**package)).map(|package| {
                format!("{name} must not depend on {package}; `cargo tree --package {name} --invert {package}` says how it came in")
            }),
        );
    }
    for (package, allowed) in RESERVED {
        for (name, direct) in members()? {
            if direct.contains(*package) && !allowed.contains(&name.as_str()) {
                broken.push(format!(
                    "{name} names {package}; only {} may",
                    allowed.join(" and ")
                ));
            }
        }
    }
    if !broken.is_empty() {
        bail!("broken walls:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

/// All that a crate is built from, without what only its tests need.
fn dependencies(name: &str) -> anyhow::Result<BTreeSet<String>> {
    let output = cargo(&[
        "tree",
        "--package",
        name,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])
    .output()?;
    ensure!(
        output.status.success(),
        "cargo tree failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

/// The crates of the workspace with the packages that their manifests name. Features count: `kube`
/// with its client is the client.
fn members() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let member = |package: &Value| {
        let name = package["name"].as_str()?.to_owned();
        let mut named = BTreeSet::new();
        for dependency in package["dependencies"].as_array()? {
            named.insert(dependency["name"].as_str()?.to_owned());
            for feature in dependency["features"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                match (dependency["name"].as_str()?, feature) {
                    ("kube", "client") => named.insert("kube-client".to_owned()),
                    ("kube", "runtime") => named.insert("kube-runtime".to_owned()),
                    _ => false,
                };
            }
        }
        Some((name, named))
    };
    packages
        .iter()
        .map(|package| member(package).context("cargo metadata is not as expected"))
        .collect()
}
