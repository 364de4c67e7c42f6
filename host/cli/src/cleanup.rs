//! `host cleanup`: what is done before the last host goes for good.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use controller::cleanup::{self, CleanupError};

use crate::exit::Exit;
use crate::{output, prefixes};

/// Take back every taint and finalizer that hosts put into a cluster, before it is uninstalled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing may run meanwhile that would put it back: with --scale-down the Deployment is scaled to zero and \
its pods are awaited, and the lease is held until the end. What goes is what the records on the nodes \
say is a rule's; other taints stay, and so do completed bootstraps of rules that stay.

The gate at birth goes first, where there is one: nobody would release what it holds. The status of \
a rule that stays says nothing of nodes any more: Ready is Unknown, with the reason CleanedUp.

A host that runs all the same puts the finalizers back that it misses. The rules are watched for that \
for five seconds, or until none of them is left, or a host is seen.

A record counts where its rule exists or its taint may be a rule's: give --taint-key-prefix as it was \
given to the host, or what rules that are gone left under such a prefix is only named.

It takes the rights to get, list and patch nodes, to list and patch rules (and delete them with \
--delete-rules), to patch their status, to delete the mutatingadmissionpolicy and the \
mutatingadmissionpolicybinding node-readiness-gate, to get, create and update the lease, and with \
--scale-down to get the Deployment, patch its scale and list pods.

Examples:
  host cleanup --dry-run
  host cleanup --leader-election-namespace=kube-system
  host cleanup --scale-down=kube-system/node-readiness-controller-manager \\
      --delete-rules=app.kubernetes.io/instance=node-readiness-controller

Exit status:
  0  everything is taken back, or said with --dry-run
  1  some nodes are not free, a taint of a rule that is gone stays, the gate is
     not deleted, or a host that runs beside puts everything back; it can be run
     again
  2  bad usage, no cluster, or another host holds the lease")]
pub struct Options {
    /// Kubeconfig; without it $KUBECONFIG, the cluster that this runs in, ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete the rules with these labels too; others stay, without the finalizer
    #[arg(long, value_name = "SELECTOR", value_parser = NonEmptyStringValueParser::new())]
    delete_rules: Option<String>,

    /// Deployment to scale to zero before
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    scale_down: Option<(String, String)>,

    /// Namespace of the lease; without it that of the pod, and none outside of a cluster
    #[arg(long, value_name = "NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    leader_election_namespace: Option<String>,

    #[command(flatten)]
    prefixes: prefixes::Options,
}

fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("give NAMESPACE/NAME".to_owned()),
    }
}

/// Takes everything back.
pub fn run(options: Options) -> anyhow::Result<Exit> {
    let Options {
        kubeconfig,
        dry_run,
        delete_rules,
        scale_down,
        leader_election_namespace,
        prefixes,
    } = options;
    let options = cleanup::Options {
        kubeconfig,
        prefixes: prefixes.prefixes(),
        delete_rules,
        deployment: scale_down,
        lease_namespace: leader_election_namespace,
        dry_run,
    };
    let mut said = Ok(());
    let mut say = |line: &str| {
        if said.is_ok() {
            said = output::result(&format!("{line}\n"));
        }
    };
    let done = crate::runtime()?.block_on(cleanup::run(options, &mut say));
    said?;
    match done {
        Ok(summary) => {
            let cleanup::Summary {
                nodes,
                taints,
                deleted,
                finalizers,
            } = summary;
            output::result(&format!(
                "{}{taints} taints removed from {nodes} nodes, {deleted} rules deleted, {finalizers} finalizers removed\n",
                if dry_run { "dry run: " } else { "" }
            ))?;
            Ok(Exit::Success)
        }
        Err(
            error @ (CleanupError::Nodes { .. }
            | CleanupError::Left { .. }
            | CleanupError::Gate
            | CleanupError::PutBack { .. }),
        ) => {
            output::error(error);
            Ok(Exit::Unexpected)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::namespaced;

    #[test]
    fn a_deployment_has_a_namespace_and_a_name() {
        let given = Ok(("kube-system".to_owned(), "host".to_owned()));
        assert_eq!(namespaced("kube-system/host"), given);
        for bad in ["host", "/host", "kube-system/", "a/b/c", ""] {
            assert!(namespaced(bad).is_err(), "{bad}");
        }
    }
}
