//! The scripts and manifests of examples/security-agent-readiness, with a chart of our own in the place of
//! Falco's.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "functions of a test say what was not there by panicking"
)]

mod files;
mod options;
mod page;
mod rights;
mod shell;
mod site;
mod toleration;
mod wrong_use;

use std::path::PathBuf;

/// The folder, as somebody at the root of the repository types it.
const EXAMPLE: &str = "examples/security-agent-readiness";
const SETUP: &str = "examples/security-agent-readiness/setup-falco.sh";
const TOLERATION: &str = "examples/security-agent-readiness/add-falco-toleration.sh";

/// A file of the folder.
fn example(file: &str) -> PathBuf {
    cli_tests::program::workspace().join(EXAMPLE).join(file)
}

/// A file of this crate.
fn own(path: &str) -> String {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.join(path).display().to_string()
}

/// The chart in the place of Falco's.
fn chart() -> String {
    own("charts/falco-stand-in")
}
