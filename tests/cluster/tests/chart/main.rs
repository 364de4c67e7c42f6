//! The chart: what it renders, and what it does in a cluster with nothing but its own rights.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "functions of a test say what was not there by panicking"
)]

mod certificates;
mod commands;
mod document;
mod gate;
mod jobs;
mod kustomize;
mod life;
mod migration;
mod rendered;
mod rights;
mod values;
mod verbs;

use std::path::{Path, PathBuf};

/// Namespace of the release.
const NAMESPACE: &str = "nrr-system";
/// Name of the release.
const RELEASE: &str = "nrc";
/// Its Deployment, as the Go controller's chart names it.
const DEPLOYMENT: &str = "nrc-node-readiness-controller-manager";

/// A file beside this one.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/chart")
        .join(path)
}

fn values(name: &str) -> String {
    file(&format!("values/{name}.yaml")).display().to_string()
}
