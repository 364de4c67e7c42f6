//! `node-readiness-reporter` as a process of its own, with the token of a service account as a pod has
//! it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use control_plane::{Lifetime, Process, command};
use k8s_openapi::api::core::v1::NodeCondition;
use kube::config::Kubeconfig;
use rustix::process::Signal;

use crate::{Cluster, host, wait};

/// The service account of `docs/reporter.md`: namespace and name.
pub const ACCOUNT: &str = "node-readiness-reporter";

/// What a reporter is told: variables of its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Settings {
    /// To ask this endpoint once a second, and write this condition of this node.
    pub fn new(node: &str, endpoint: &str, condition: &str) -> Self {
        Self::bare()
            .set("NODE_NAME", node)
            .set("CHECK_ENDPOINT", endpoint)
            .set("CONDITION_TYPE", condition)
            .set("CHECK_INTERVAL", "1s")
    }

    /// Nothing but a free port for its metrics.
    pub fn bare() -> Self {
        let settings = Self {
            variables: Vec::new(),
            arguments: Vec::new(),
        };
        settings.set("METRICS_BIND_ADDRESS", "127.0.0.1:0")
    }

    /// With this variable, in the place of the one of its name that is there.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With this argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }
}

/// A running reporter. Dropping it ends it.
pub struct Reporter {
    process: Process,
    log: PathBuf,
}

impl Reporter {
    /// Starts it as the service account of `docs/reporter.md`, which has the rights that stand there.
    /// It has written nothing yet.
    ///
    /// # Errors
    /// What the API server says, or that there is no such program.
    pub fn start(cluster: &Cluster, settings: &Settings) -> anyhow::Result<Self> {
        cluster.apply(&documented_rights()?)?;
        let folder = cluster.service_account_folder(&[])?;
        let server = cluster.server()?;
        Self::start_with(&folder, &server, &cluster.new_log(), settings)
    }

    /// Starts it with the token and the authority in a folder, and another way to the API server.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start_with(
        folder: &Path,
        server: &str,
        log: &Path,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let (host, port) = server.rsplit_once(':').context("a server has a port")?;
        let mut command = command(reporter_program()?, Lifetime::OfThisProcess);
        command
            .env_clear()
            .env("KUBERNETES_SERVICE_HOST", host)
            .env("KUBERNETES_SERVICE_PORT", port)
            .env("REPORTER_SERVICE_ACCOUNT_FOLDER", folder)
            .envs(settings.variables.iter().cloned())
            .args(&settings.arguments);
        let process = Process::spawn("the reporter", command, log)?;
        Ok(Self {
            process,
            log: log.to_owned(),
        })
    }

    /// Waits for a line of its log.
    ///
    /// # Errors
    /// It ended, or the line did not come within a minute.
    pub async fn until_logged(&mut self, text: &str) -> anyhow::Result<()> {
        host::until_logged("the reporter", &mut self.process, &self.log, text).await
    }

    /// Waits until it serves metrics, and says where.
    ///
    /// # Errors
    /// As [`Reporter::until_logged`].
    pub async fn metrics_address(&mut self) -> anyhow::Result<String> {
        let before = "metrics are served at http://";
        self.until_logged(before).await?;
        let log = self.log()?;
        let address = log
            .split(before)
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        Ok(address.context("no address")?.to_owned())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it logged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits until it ends by itself; its exit status and the end of its log.
    ///
    /// # Errors
    /// It does not end.
    pub async fn until_ended(mut self) -> anyhow::Result<(Option<i32>, String)> {
        let status = host::ended("the reporter", &mut self.process).await?;
        Ok((status.code(), self.process.log_tail()))
    }

    /// Asks it to end, and waits until it did; its exit status and the end of its log.
    ///
    /// # Errors
    /// It is gone already, or does not end.
    pub async fn until_ended_by_sigterm(self) -> anyhow::Result<(Option<i32>, String)> {
        host::send(&self.process, Signal::TERM)?;
        self.until_ended().await
    }

    /// Ends it at once, wherever it is.
    ///
    /// # Errors
    /// It is gone already.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        host::send(&self.process, Signal::KILL)?;
        host::ended("the reporter", &mut self.process)
            .await
            .map(drop)
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Errors
    /// It is gone already, does not end, or ends with another status than 0.
    pub async fn terminate(self) -> anyhow::Result<()> {
        let (status, log) = self.until_ended_by_sigterm().await?;
        ensure!(
            status == Some(0),
            "the reporter ended with {status:?} after SIGTERM:\n{log}"
        );
        Ok(())
    }
}

impl Cluster {
    /// A folder with what the kubelet mounts for the service account of the reporter: a token of it,
    /// made with these flags of `kubectl create token`, and the authority of the API server.
    ///
    /// # Errors
    /// What the API server says.
    pub fn service_account_folder(&self, flags: &[&str]) -> anyhow::Result<PathBuf> {
        self.mounted(self.reporter_token(flags)?)
    }

    /// The same for another service account.
    ///
    /// # Errors
    /// What the API server says.
    pub fn service_account_folder_of(
        &self,
        namespace: &str,
        account: &str,
    ) -> anyhow::Result<PathBuf> {
        self.mounted(self.token(namespace, account, &[])?)
    }

    fn mounted(&self, token: String) -> anyhow::Result<PathBuf> {
        let folder = self.new_log().with_extension("service-account");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("token"), token)?;
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let authority = kubeconfig
            .clusters
            .into_iter()
            .find_map(|named| named.cluster?.certificate_authority);
        std::fs::copy(
            authority.context("the kubeconfig names no authority")?,
            folder.join("ca.crt"),
        )?;
        Ok(folder)
    }

    /// A new token of the service account of the reporter.
    ///
    /// # Errors
    /// What the API server says.
    pub fn reporter_token(&self, flags: &[&str]) -> anyhow::Result<String> {
        self.token(ACCOUNT, ACCOUNT, flags)
    }

    fn token(&self, namespace: &str, account: &str, flags: &[&str]) -> anyhow::Result<String> {
        let command = ["create", "token", account, "--namespace", namespace];
        let token = self.plane.kubectl_ok(&[&command, flags].concat())?;
        Ok(token.trim().to_owned())
    }

    /// A condition of a node, if it is there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn condition(&self, node: &str, name: &str) -> anyhow::Result<Option<NodeCondition>> {
        let node = self.nodes().get(node).await?;
        let conditions = node.status.and_then(|status| status.conditions);
        let mut conditions = conditions.into_iter().flatten();
        Ok(conditions.find(|condition| condition.type_ == name))
    }

    /// Waits until a condition of a node has this status.
    ///
    /// # Errors
    /// It did not become so within a minute.
    pub async fn until_condition(
        &self,
        node: &str,
        name: &str,
        status: &str,
    ) -> anyhow::Result<NodeCondition> {
        wait::until(&format!("{name} of {node} is {status}"), || async {
            let condition = self.condition(node, name).await?;
            Ok(condition
                .clone()
                .filter(|condition| condition.status == status)
                .ok_or_else(|| format!("{condition:?}")))
        })
        .await
    }
}

/// The YAML blocks of `docs/reporter.md`: the sidecar; all that the DaemonSet needs, and it; the role for
/// impersonation.
///
/// # Errors
/// There are others.
pub fn documented() -> anyhow::Result<[String; 3]> {
    let page = cli_tests::program::workspace().join("docs/reporter.md");
    let page = std::fs::read_to_string(page)?;
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let blocks: Vec<String> = blocks.map(str::to_owned).collect();
    let others = |blocks: Vec<String>| anyhow::anyhow!("{} blocks of YAML", blocks.len());
    blocks.try_into().map_err(others)
}

/// What the reporter may do by `docs/reporter.md`, without the DaemonSet: tests start it by hand.
///
/// # Errors
/// As [`documented`].
pub fn documented_rights() -> anyhow::Result<String> {
    let [_, all, _] = documented()?;
    let objects = all.split("---\n");
    let rights = objects.filter(|object| !object.contains("kind: DaemonSet"));
    Ok(rights.collect::<Vec<_>>().join("---\n"))
}

/// The `node-readiness-reporter` binary, built if it is older than its sources.
///
/// # Errors
/// It cannot be built.
pub fn reporter_program() -> anyhow::Result<&'static Path> {
    cli_tests::program::reporter()
}
