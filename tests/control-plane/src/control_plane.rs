//! Starting, using and ending one etcd and one kube-apiserver.

mod kept;
mod kubeconfig;
mod run_folder;
pub(crate) mod start;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

use crate::assets::Assets;
use crate::process::{Lifetime, Process};
pub use kept::Kept;
pub use kubeconfig::User;
use run_folder::RunFolder;

/// What may differ from one control plane to the next.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An `audit.k8s.io/v1` Policy as YAML. What it logs can be read at
    /// [`ControlPlane::audit_log`].
    pub audit_policy: Option<String>,
    /// Users beside the administrator. They may do nothing until RBAC objects say otherwise.
    pub users: Vec<User>,
    /// Whether pods get their ServiceAccount, as in a cluster. Whoever creates pods needs a
    /// [`ControllerManager`](crate::ControllerManager) then, which creates the default ones.
    pub service_accounts: bool,
    /// Further flags of kube-apiserver; the last of a kind wins.
    pub apiserver_args: Vec<String>,
    /// Whether [`ControlPlane::keep`] will be called: the servers are then not bound to the life of this process.
    pub keep: bool,
}

/// Process ids of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids {
    /// kube-apiserver.
    pub apiserver: u32,
    /// etcd.
    pub etcd: u32,
}

/// CPU time since the start, user and system together, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuSeconds {
    /// kube-apiserver.
    pub apiserver: f64,
    /// etcd.
    pub etcd: f64,
}

/// A running control plane. Dropping it ends both servers and removes their folder.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: the API server first, or it complains about the lost etcd for ever.
    apiserver: Process,
    etcd: Process,
    folder: RunFolder,
    url: String,
    kubectl: PathBuf,
    users: Vec<User>,
    may_be_kept: bool,
}

impl ControlPlane {
    /// Starts both servers and waits until `/readyz` says ok (two to three seconds).
    ///
    /// # Errors
    ///
    /// A server ended, or was not ready in time; with the end of its log.
    pub fn start(assets: &Assets) -> anyhow::Result<Self> {
        Self::start_with(assets, &Options::default())
    }

    /// As [`ControlPlane::start`], with options.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub fn start_with(assets: &Assets, options: &Options) -> anyhow::Result<Self> {
        start::start(assets, options)
    }

    /// The administrator's kubeconfig (group `system:masters`).
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.admin_kubeconfig()
    }

    /// The kubeconfig of a user of [`Options::users`].
    ///
    /// The users are real ones with a token each, since not every client follows the `as` entry
    /// of a kubeconfig, and one that does not would act as the administrator.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub fn kubeconfig_for(&self, user: &str) -> anyhow::Result<PathBuf> {
        let Some(index) = self.users.iter().position(|known| known.name == user) else {
            let known: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
            bail!(
                "this control plane has no user `{user}`: name it in Options::users (there are: {known:?})"
            );
        };
        Ok(self.folder.user_kubeconfig(index))
    }

    /// Where the API server listens: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// kubectl as the administrator, untouched by the settings and caches of whoever runs it.
    pub fn kubectl_command(&self) -> Command {
        kubeconfig::kubectl(&self.kubectl, &self.kubeconfig(), self.folder.path())
    }

    /// Runs kubectl as the administrator; the caller looks at the exit status.
    ///
    /// # Errors
    ///
    /// kubectl could not be started.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<Output> {
        self.kubectl_command()
            .args(args)
            .output()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))
    }

    /// Runs kubectl as the administrator and returns its standard output.
    ///
    /// # Errors
    ///
    /// kubectl failed; with its standard error.
    pub fn kubectl_ok(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl(args)?;
        if !output.status.success() {
            bail!(
                "`kubectl {}` failed ({}): {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim(),
            );
        }
        String::from_utf8(output.stdout).with_context(|| {
            format!(
                "`kubectl {}` printed something else than UTF-8",
                args.join(" ")
            )
        })
    }

    /// Runs a line as a reader of a document types it, with kubectl and these folders on the `PATH`.
    ///
    /// # Errors
    ///
    /// There is no shell.
    pub fn shell(&self, line: &str, folders: &[&Path]) -> anyhow::Result<Output> {
        let kubectl = self.kubectl.parent().unwrap_or(Path::new("/"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = (folders.iter().map(|folder| folder.to_path_buf()))
            .chain([kubectl.to_owned()])
            .chain(std::env::split_paths(&path));
        let kubectl = self.kubectl_command();
        let environment = kubectl
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?)));
        Command::new("sh")
            .args(["-c", line])
            .envs(environment)
            .env("KUBECONFIG", self.kubeconfig())
            .env("PATH", std::env::join_paths(all)?)
            .output()
            .context("cannot run sh")
    }

    /// The process ids of the servers.
    pub fn pids(&self) -> Pids {
        Pids {
            apiserver: self.apiserver.pid(),
            etcd: self.etcd.pid(),
        }
    }

    /// How long what works on it may live.
    pub(crate) fn lifetime(&self) -> Lifetime {
        if self.may_be_kept {
            Lifetime::Unbound
        } else {
            Lifetime::OfThisProcess
        }
    }

    /// Where data, logs and kubeconfigs are; removed at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The audit log, JSON lines; the file exists if [`Options::audit_policy`] was given.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.audit_log()
    }

    /// The CPU time that both servers have used.
    ///
    /// # Errors
    ///
    /// There is no `/proc`, or a server is gone.
    pub fn cpu_seconds(&self) -> anyhow::Result<CpuSeconds> {
        Ok(CpuSeconds {
            apiserver: crate::process::cpu_seconds(self.apiserver.pid())?,
            etcd: crate::process::cpu_seconds(self.etcd.pid())?,
        })
    }

    /// Leaves the servers running when this process ends.
    ///
    /// # Errors
    ///
    /// It was not started with [`Options::keep`]; the control plane is ended then.
    pub fn keep(self) -> anyhow::Result<Kept> {
        if !self.may_be_kept {
            bail!(
                "this control plane ends with the process that started it: start it with Options::keep to leave it running"
            );
        }
        let kubeconfig = self.kubeconfig();
        Ok(Kept {
            pids: Pids {
                apiserver: self.apiserver.leave_running(),
                etcd: self.etcd.leave_running(),
            },
            folder: self.folder.keep()?,
            kubeconfig,
            url: self.url,
            kubectl: self.kubectl,
        })
    }
}
