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
    (
        "serve",
        &["kube", "kube-core", "k8s-openapi", "wasmtime", "serde_json"],
    ),
    (
        "reporter",
        &[
            "kube",
            "kube-core",
            "k8s-openapi",
            "wasmtime",
            "api",
            "planner",
            "engine",
            "controller",
            "clap",
            "tracing-subscriber",
        ],
    ),
    // It knows the time of day by the library that verifies certificates (jiff): who signed when.
    (
        "fetch",
        &["kube", "kube-core", "k8s-openapi", "wasmtime", "planner"],
    ),
    // What the library has by default: another HTTP client, and another cryptography.
    (
        "host",
        &["reqwest", "aws-lc-rs", "aws-lc-sys", "sigstore-tuf"],
    ),
    ("guest-sdk", &["wasmtime", "serde_json", "tokio"]),
    ("default-policy", &["wasmtime", "serde_json", "tokio"]),
    ("cel-policy", &["wasmtime", "tokio", "regex", "chrono"]),
    ("csi-ready-policy", &["wasmtime", "serde_json", "tokio"]),
    (
        "daemon-sets-ready-policy",
        &["wasmtime", "serde_json", "tokio"],
    ),
    ("devices-ready-policy", &["wasmtime", "serde_json", "tokio"]),
    ("heartbeat-policy", &["wasmtime", "serde_json", "tokio"]),
    ("pods-ready-policy", &["wasmtime", "serde_json", "tokio"]),
    ("hostile-guest", &["wasmtime", "serde_json", "tokio"]),
    ("guest-builder", &["wasmtime", "tokio", "hyper"]),
    ("control-plane", &["tokio", "hyper"]),
    ("cli-tests", &["tokio", "hyper"]),
    ("xtask", &["tokio", "hyper"]),
];

/// A package, and the only crates of this workspace that may name it, be it for their tests. Every
/// crate of the workspace has its row.
const RESERVED: &[(&str, &[&str])] = &[
    ("wasmtime", &["engine"]),
    (
        "kube",
        &["api", "controller", "cluster-tests", "guide-tests"],
    ),
    ("kube-core", &[]),
    ("kube-client", &[]),
    ("kube-runtime", &[]),
    (
        "k8s-openapi",
        &["api", "controller", "cluster-tests", "guide-tests"],
    ),
    (
        "planner",
        &["api", "engine", "controller", "host", "cluster-tests"],
    ),
    ("api", &["controller", "host", "cluster-tests"]),
    ("engine", &["controller", "host"]),
    (
        "fetch",
        &["cluster-tests", "controller", "host", "fetch-tests"],
    ),
    ("controller", &["host"]),
    ("serve", &["controller", "host", "reporter"]),
    ("host", &[]),
    ("reporter", &[]),
    (
        "guest-sdk",
        &[
            "cel-policy",
            "default-policy",
            "csi-ready-policy",
            "daemon-sets-ready-policy",
            "devices-ready-policy",
            "heartbeat-policy",
            "pods-ready-policy",
            "hostile-guest",
            "engine",
        ],
    ),
    (
        "guest-builder",
        &["engine", "cli-tests", "cluster-tests", "fetch-tests"],
    ),
    ("default-policy", &["engine"]),
    ("cel-policy", &[]),
    ("cel", &["cel-policy"]),
    ("sigstore-verify", &["fetch"]),
    ("csi-ready-policy", &[]),
    ("daemon-sets-ready-policy", &[]),
    ("devices-ready-policy", &[]),
    ("heartbeat-policy", &[]),
    ("pods-ready-policy", &[]),
    ("hostile-guest", &[]),
    (
        "control-plane",
        &["cluster-tests", "fetch-tests", "guide-tests"],
    ),
    (
        "cli-tests",
        &["cluster-tests", "fetch-tests", "guide-tests"],
    ),
    ("fetch-tests", &["cluster-tests"]),
    ("cluster-tests", &["guide-tests"]),
    ("guide-tests", &[]),
    ("xtask", &[]),
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
    let members = members()?;
    for (package, allowed) in RESERVED {
        for (name, direct) in &members {
            if direct.contains(*package) && !allowed.contains(&name.as_str()) {
                let allowed = match allowed {
                    [] => "no crate".to_owned(),
                    allowed => format!("only {}", allowed.join(", ")),
                };
                broken.push(format!("{name} names {package}, which {allowed} may"));
            }
        }
    }
    for name in members.keys() {
        if !RESERVED.iter().any(|(package, _)| package == name) {
            broken.push(format!(
                "{name} has no row in xtask/src/walls.rs: who may name it?"
            ));
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

/// The crates of the workspace with the packages that their manifests name.
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
        let named = package["dependencies"].as_array()?.iter();
        let named = named.map(|dependency| Some(dependency["name"].as_str()?.to_owned()));
        Some((
            package["name"].as_str()?.to_owned(),
            named.collect::<Option<_>>()?,
        ))
    };
    packages
        .iter()
        .map(|package| member(package).context("cargo metadata is not as expected"))
        .collect()
}
