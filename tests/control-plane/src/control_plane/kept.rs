//! A control plane that was left running.

use std::path::PathBuf;

use super::Pids;

/// What a person needs in order to use a control plane that was left running, and to end it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The servers.
    pub pids: Pids,
    /// Data, logs and kubeconfigs.
    pub folder: PathBuf,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Where the API server listens.
    pub url: String,
    /// The kubectl that belongs to it.
    pub kubectl: PathBuf,
}

impl Kept {
    /// A shell command that ends the servers and removes the folder. By force: a server that
    /// takes its time would still be writing there.
    pub fn how_to_end(&self) -> String {
        let Pids { apiserver, etcd } = self.pids;
        format!(
            "kill -9 {apiserver} {etcd}; rm -r '{}'",
            self.folder.display()
        )
    }
}
