//! A real Kubernetes control plane for demo and tests: etcd and kube-apiserver on free local
//! ports, with kubectl beside them, and what works on it where a test wants that.
//!
//! [`assets`] finds the programs, and builds them from their published Go modules when they are
//! not there yet; [`ControlPlane::start`] starts them and waits until the API server is ready.
//! Dropping the [`ControlPlane`] ends both and removes what they wrote. [`Scheduler`],
//! [`ControllerManager`], [`Kwok`] and [`NodeProblemDetector`] start on a running one, and end with
//! their owners; they are built when one is first started.
//!
//! Everything is synchronous, so that it works inside and outside of an async runtime.
//! `README.md` beside the manifest says how to use another Kubernetes version.

mod assets;
mod components;
mod control_plane;
mod ports;
mod process;

pub use assets::{
    Assets, assets, cosign, fulcio, helm, karpenter_node_pool, known_fields,
    kube_controller_manager, kube_scheduler, kubeconform, kwok, node_problem_detector,
    node_problem_detector_config, promtool, registry, timestamp_authority,
};
pub use components::{ControllerManager, FAKE_NODE, Kwok, NodeProblemDetector, Scheduler};
pub use control_plane::{ControlPlane, CpuSeconds, Kept, Options, Pids, User};
pub use process::{Lifetime, Process, command, cpu_seconds, peak_memory_kib};
