//! `host crd`: the definitions of the API objects.

use anyhow::Context;

use crate::exit::Exit;
use crate::{output, prefixes};

/// Print the CustomResourceDefinition of NodeReadinessRule.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  host crd | kubectl apply -f -
  host crd | kubectl diff -f -

Exit status:
  0  printed
  2  bad usage")]
pub struct Options {
    #[command(flatten)]
    prefixes: prefixes::Options,
}

/// Prints the definitions as YAML.
pub fn run(Options { prefixes }: Options) -> anyhow::Result<Exit> {
    let yaml =
        api::crds::crd_yaml(&prefixes.prefixes()).context("the definition cannot be printed")?;
    output::result(&yaml)?;
    Ok(Exit::Success)
}
