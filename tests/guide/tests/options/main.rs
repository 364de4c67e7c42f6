//! The security agent guide, both of its options, by the commands that it prints: from a node that
//! joins tainted to a workload that runs there.
//!
//! Real are the API server, the scheduler, the controllers, the host, the reporter and Node Problem
//! Detector, with what the manifests give them: their variables, their configuration, the tokens of their own
//! ServiceAccounts. Falco is a stand-in that listens, and kwok plays the kubelet: what a pod's container
//! does is started here.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test, and what helps it"
)]

mod agent;
mod first_report;
mod option_a;
mod option_b;
mod site;

use cluster_tests::{NodeSpec, worker};

/// The folder of the guide, as somebody at the root of the repository types it.
const EXAMPLE: &str = "examples/security-agent-readiness";
/// The guide's command for the taints of all nodes.
const TAINTS: &str = "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints";
/// How it prints the guide's taint.
const HELD: &str =
    "[map[effect:NoSchedule key:readiness.k8s.io/security-agent-ready value:pending]]";

/// A worker that joins with the guide's taint, as a kubelet on Linux labels it.
fn linux_worker(name: &str) -> NodeSpec {
    let mut node = worker(name, true);
    node.labels
        .push(("kubernetes.io/os".to_owned(), "linux".to_owned()));
    node
}
