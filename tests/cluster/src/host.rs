//! `host run` as a process of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use control_plane::{Lifetime, Process, command};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running host. Dropping it ends it.
pub struct Host {
    process: Process,
    log: PathBuf,
}

impl Host {
    /// Starts it and waits until its caches are synced.
    ///
    /// # Errors
    /// It ended, or did not get that far; with the end of its log.
    pub async fn start(kubeconfig: &Path, log: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut host = Self::spawn(kubeconfig, log, Lifetime::OfThisProcess, arguments)?;
        host.until_logged("caches are synced").await?;
        Ok(host)
    }

    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    /// There is no such program.
    pub fn spawn(
        kubeconfig: &Path,
        log: &Path,
        lifetime: Lifetime,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::spawn_with(kubeconfig, log, lifetime, arguments, &[])
    }

    /// As [`Host::spawn`], with variables of the environment.
    ///
    /// # Errors
    /// As [`Host::spawn`].
    pub fn spawn_with(
        kubeconfig: &Path,
        log: &Path,
        lifetime: Lifetime,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> anyhow::Result<Self> {
        let mut command = command(host_program()?, lifetime);
        command.envs(variables.iter().copied());
        command.arg("run").arg("--kubeconfig").arg(kubeconfig);
        // No health port, so that many run side by side; arguments may say otherwise.
        command
            .args(["--health-probe-bind-address", "0"])
            .args(arguments);
        let process = Process::spawn("host run", command, log)?;
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
        until_logged("host run", &mut self.process, &self.log, text).await
    }

    /// Waits until it ends by itself; its exit status and the end of its log.
    ///
    /// # Errors
    /// It does not end.
    pub async fn until_ended(mut self) -> anyhow::Result<(Option<i32>, String)> {
        let status = self.ended().await?;
        Ok((status.code(), self.process.log_tail()))
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

    /// Where it serves something, by the line of its log that says so. The log must be JSON, as it is in a file.
    ///
    /// # Errors
    /// There is no such line.
    pub fn served_at(&self, says: &str) -> anyhow::Result<String> {
        let log = self.log()?;
        let line = log.lines().find(|line| line.contains(says));
        let line: serde_json::Value = serde_json::from_str(line.context("no such line")?)?;
        let address = line["address"].as_str();
        Ok(address.context("a line without an address")?.to_owned())
    }

    /// Ends it at once, wherever it is.
    ///
    /// # Errors
    /// It is gone already.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await.map(drop)
    }

    /// Asks it to end, and waits until it did.
    ///
    /// # Errors
    /// It is gone already, does not end, or ends with another status than 0.
    pub async fn terminate(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended().await?;
        ensure!(
            status.success(),
            "host run ended with {status} after SIGTERM:\n{}",
            self.process.log_tail()
        );
        Ok(())
    }

    /// Leaves it running after this process.
    pub fn leave_running(self) -> u32 {
        self.process.leave_running()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone already.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        send(&self.process, signal)
    }

    /// Waits until it has ended, however long it takes.
    ///
    /// # Errors
    /// The system cannot say.
    pub async fn wait_for_end(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = self.process.exit_status()? {
                return Ok(status);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn ended(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        ended("host run", &mut self.process).await
    }
}

/// Waits for a line in the log of a process.
pub(crate) async fn until_logged(
    name: &str,
    process: &mut Process,
    log: &Path,
    text: &str,
) -> anyhow::Result<()> {
    wait::until_true(&format!("{name} logs {text:?}"), || {
        let ended = process.exit_status();
        let tail = process.log_tail();
        async move {
            if let Some(status) = ended? {
                bail!("{name} ended ({status}):\n{tail}");
            }
            Ok(std::fs::read_to_string(log)?.contains(text))
        }
    })
    .await
}

/// Sends a process a signal.
pub(crate) fn send(process: &Process, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(process.pid())
        .ok()
        .and_then(Pid::from_raw)
        .context("there is no process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Waits until a process ends.
pub(crate) async fn ended(
    name: &str,
    process: &mut Process,
) -> anyhow::Result<std::process::ExitStatus> {
    wait::until(&format!("{name} ends"), || {
        let status = process.exit_status();
        async move { Ok(status?.ok_or_else(|| "it runs".to_owned())) }
    })
    .await
}

/// The `host` binary, built if it is older than its sources.
///
/// # Errors
/// It cannot be built.
pub fn host_program() -> anyhow::Result<&'static Path> {
    cli_tests::program::binary()
}
