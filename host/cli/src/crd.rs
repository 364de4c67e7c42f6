//! `host crd`: the definitions of the API objects.

use std::path::PathBuf;

use anyhow::Context;

use crate::exit::Exit;
use crate::{output, prefixes};

/// Print the CustomResourceDefinitions of NodeReadinessRule and ReadinessPolicy, or apply them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --apply the definitions are applied on the server's side, by the field manager node-readiness-host, \
and the command waits until they are served. That takes the rights to create, get and patch \
customresourcedefinitions.

Examples:
  host crd | kubectl apply -f -
  host crd | kubectl diff -f -
  host crd nodereadinessrules > nodereadinessrules.yaml
  host crd --apply --force-conflicts

Exit status:
  0  printed, or applied and served
  2  bad usage, no cluster, or the API server is against it")]
pub struct Options {
    /// The one that is wanted; without it both
    #[arg(value_name = "DEFINITION", value_enum)]
    wanted: Option<Wanted>,

    #[command(flatten)]
    prefixes: prefixes::Options,

    /// Apply them to the cluster instead of printing them
    #[arg(long)]
    apply: bool,

    /// Take over fields that somebody else applied
    #[arg(long, requires = "apply")]
    force_conflicts: bool,

    /// Kubeconfig; without it $KUBECONFIG, the cluster that this runs in, ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "apply")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Wanted {
    Nodereadinessrules,
    Readinesspolicies,
}

/// Prints the definitions as YAML, or applies them.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        wanted,
        prefixes,
        apply,
        force_conflicts,
        kubeconfig,
    } = options;
    let prefixes = prefixes.prefixes();
    let crds = match wanted {
        None => api::crds::all(&prefixes).to_vec(),
        Some(Wanted::Nodereadinessrules) => vec![api::crds::node_readiness_rule(&prefixes)],
        Some(Wanted::Readinesspolicies) => vec![api::crds::readiness_policy()],
    };
    if !apply {
        let yaml = api::crds::yaml(&crds).context("the definitions cannot be printed")?;
        output::result(&yaml)?;
        return Ok(Exit::Success);
    }
    let runtime = crate::runtime()?;
    for crd in &crds {
        let applied = controller::crds::apply(kubeconfig.as_deref(), crd, force_conflicts);
        let name = runtime.block_on(applied)?;
        output::result(&format!(
            "customresourcedefinition.apiextensions.k8s.io/{name} applied\n"
        ))?;
    }
    Ok(Exit::Success)
}
