//! What works on a control plane where a test wants it: the scheduler, the controllers, the kubelet of
//! nodes that are none, and Node Problem Detector. Each is a process that ends with its owner.
//!
//! Let them go before the control plane, or they complain about a lost API server until they do.

mod controller_manager;
mod kwok;
mod node_problem_detector;
mod scheduler;

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::control_plane::ControlPlane;
use crate::control_plane::start::{DEADLINE, POLL_INTERVAL};
use crate::process::{Process, server_command};
pub use controller_manager::ControllerManager;
pub(crate) use controller_manager::USER as CONTROLLER_MANAGER;
pub use kwok::{FAKE_NODE, Kwok};
pub use node_problem_detector::NodeProblemDetector;
pub use scheduler::Scheduler;
pub(crate) use scheduler::USER as SCHEDULER;

/// A program that works on a control plane.
#[derive(Debug)]
struct Component {
    process: Process,
    name: &'static str,
    log: PathBuf,
}

impl Component {
    /// Starts it with these arguments.
    fn spawn(
        plane: &ControlPlane,
        name: &'static str,
        program: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let mut command = server_command(program, plane.lifetime());
        configure(&mut command);
        let log = new_log(plane.folder(), name)?;
        let process = Process::spawn(name, command, &log)?;
        Ok(Self { process, name, log })
    }

    /// Asks until it is ready; the answer says what was seen instead.
    fn until_ready(
        mut self,
        mut ask: impl FnMut(&Self) -> anyhow::Result<Result<(), String>>,
    ) -> anyhow::Result<Self> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = ask(&self)?;
            // It must be alive, or it is another server that answered on its port.
            self.process.check_running()?;
            match answer {
                Ok(()) => return Ok(self),
                Err(seen) if Instant::now() >= deadline => bail!(
                    "{} is not ready after {} s: {seen}\nThe end of {}:\n{}",
                    self.name,
                    DEADLINE.as_secs(),
                    self.log.display(),
                    self.process.log_tail(),
                ),
                Err(_) => sleep(POLL_INTERVAL),
            }
        }
    }
}

/// A log of its own for each: a cluster has a problem detector on every node.
fn new_log(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let mut number = 1;
    loop {
        let log = folder.join(match number {
            1 => format!("{name}.log"),
            number => format!("{name}-{number}.log"),
        });
        match File::create_new(&log) {
            Ok(_) => return Ok(log),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create {}", log.display()));
            }
        }
    }
}

/// What a server of Kubernetes says of itself, asked by kubectl as the server's own user.
fn health(
    plane: &ControlPlane,
    kubeconfig: &Path,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<Result<(), String>> {
    let answer = plane
        .kubectl_command()
        .env("KUBECONFIG", kubeconfig)
        .arg(format!("--server=https://{address}"))
        // It made its certificate itself, and keeps it in memory.
        .args(["--insecure-skip-tls-verify", "--request-timeout=3s"])
        .args(["get", "--raw", path])
        .output()
        .context("cannot run kubectl")?;
    Ok(if answer.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned())
    })
}

/// What the components of Kubernetes have in common.
fn serving_flags(kubeconfig: &Path, address: SocketAddr) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        // The API server has no CA for clients, and so does not publish one.
        "--authentication-skip-lookup".to_owned(),
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        // There is no other that could lead.
        "--leader-elect=false".to_owned(),
    ]
}

/// What can be done with any of them.
macro_rules! component {
    ($name:ident) => {
        impl $name {
            /// Its process id.
            pub fn pid(&self) -> u32 {
                self.component.process.pid()
            }

            /// Where it logs.
            pub fn log(&self) -> &std::path::Path {
                &self.component.log
            }

            /// Leaves it running after this process, on a control plane that is kept as well.
            pub fn leave_running(self) -> u32 {
                self.component.process.leave_running()
            }
        }
    };
}
use component;
