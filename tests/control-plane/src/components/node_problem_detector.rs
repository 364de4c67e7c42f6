//! Node Problem Detector with a plugin, outside of a pod.

use std::path::Path;

use super::{Component, component};
use crate::assets::node_problem_detector;
use crate::control_plane::ControlPlane;

/// What it logs when its monitors run.
const STARTED: &str = "Problem detector started";

/// The real Node Problem Detector of one node. It ends when this is dropped.
#[derive(Debug)]
pub struct NodeProblemDetector {
    component: Component,
}

component!(NodeProblemDetector);

impl NodeProblemDetector {
    /// Starts it as the administrator: [`NodeProblemDetector::start_as`].
    ///
    /// # Errors
    ///
    /// As [`NodeProblemDetector::start_as`].
    pub fn start(plane: &ControlPlane, node: &str, plugin: &Path) -> anyhow::Result<Self> {
        Self::start_as(plane, &plane.kubeconfig(), node, plugin)
    }

    /// Starts it with a kubeconfig, for a node that is there and the configuration of a custom
    /// plugin, and waits until it monitors. Its first report comes within a second.
    ///
    /// # Errors
    ///
    /// It cannot be found or built, it ended (a configuration that it cannot read is one reason), or
    /// it was not ready in time; with the end of its log.
    pub fn start_as(
        plane: &ControlPlane,
        kubeconfig: &Path,
        node: &str,
        plugin: &Path,
    ) -> anyhow::Result<Self> {
        let program = node_problem_detector(&mut |_| {})?;
        let detector = Component::spawn(plane, "node-problem-detector", &program, |command| {
            command
                // A URI without a server: that is in the kubeconfig.
                .arg(format!(
                    "--apiserver-override=?inClusterConfig=false&auth={}",
                    kubeconfig.display(),
                ))
                .arg(format!("--hostname-override={node}"))
                .arg(format!(
                    "--config.custom-plugin-monitor={}",
                    plugin.display()
                ))
                .args(["--prometheus-port=0", "--port=0"])
                .env("NODE_NAME", node);
            // What the plugin's scripts call.
            if let Some(path) = std::env::var_os("PATH") {
                command.env("PATH", path);
            }
        })?;
        let component = detector.until_ready(|detector| {
            let log = std::fs::read_to_string(&detector.log)?;
            Ok(if log.contains(STARTED) {
                Ok(())
            } else {
                Err(format!("it has not logged {STARTED:?}"))
            })
        })?;
        Ok(Self { component })
    }
}
