//! What an operator can set.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How the control loop runs. The defaults are those of the Go controller's flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of a kubeconfig; none: `$KUBECONFIG`, in cluster, then the home folder.
    pub kubeconfig: Option<PathBuf>,
    /// Where `/healthz` and `/readyz` are served; none: nowhere.
    pub health: Option<SocketAddr>,
    /// How many nodes are worked on at the same time, at least 1.
    pub node_workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            health: None,
            node_workers: 1,
        }
    }
}
