//! `host crd`: the definitions of the API objects.

use std::path::PathBuf;

use anyhow::Context;

use crate::exit::Exit;
use crate::{output, prefixes};

/// Print the CustomResourceDefinition of NodeReadinessRule, or apply it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --apply the definition is applied on the server's side, by the field manager node-readiness-host,
and the command waits until it is served. That takes the rights to create, get, patch, list and watch
customresourcedefinitions.

Examples:
  host crd | kubectl apply -f -
  host crd | kubectl diff -f -
  host crd --apply --force-conflicts

Exit status:
  0  printed, or applied and served
  2  bad usage, no cluster, or the API server is against it")]
pub struct Options {
    #[command(flatten)]
    prefixes: prefixes::Options,

    /// Apply it to the cluster instead of printing it
    #[arg(long)]
    apply: bool,

    /// Take over fields that somebody else applied
    #[arg(long, requires = "apply")]
    force_conflicts: bool,

    /// Kubeconfig; without it $KUBECONFIG, the cluster that this runs in, ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "apply")]
    kubeconfig: Option<PathBuf>,
}

/// Prints the definitions as YAML, or applies them.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        prefixes,
        apply,
        force_conflicts,
        kubeconfig,
    } = options;
    let prefixes = prefixes.prefixes();
    if !apply {
        let yaml = api::crds::crd_yaml(&prefixes).context("the definition cannot be printed")?;
        output::result(&yaml)?;
        return Ok(Exit::Success);
    }
    let crd = api::crds::node_readiness_rule(&prefixes);
    let runtime = crate::runtime()?;
    let applied = controller::crds::apply(kubeconfig.as_deref(), &crd, force_conflicts);
    let name = runtime.block_on(applied)?;
    output::result(&format!(
        "customresourcedefinition.apiextensions.k8s.io/{name} applied\n"
    ))?;
    Ok(Exit::Success)
}
