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
    /// Starts it as the administrator, for a node that is there and the configuration of a custom plugin.
    ///
    /// # Errors
    ///
    /// As [`NodeProblemDetector::start_with`].
    pub fn start(plane: &ControlPlane, node: &str, plugin: &Path) -> anyhow::Result<Self> {
        let arguments = [
            format!("--hostname-override={node}"),
            format!("--config.custom-plugin-monitor={}", plugin.display()),
            "--prometheus-port=0".to_owned(),
            "--port=0".to_owned(),
        ];
        let variables = [("NODE_NAME".to_owned(), node.to_owned())];
        Self::start_with(plane, &plane.kubeconfig(), &arguments, &variables)
    }

    /// Starts it with a kubeconfig, and with arguments and variables as a manifest gives them, and waits until it
    /// monitors. Its first report comes within a second.
    ///
    /// # Errors
    ///
    /// It cannot be found or built, it ended (an argument or a configuration that it cannot read is one reason), or
    /// it was not ready in time; with the end of its log.
    pub fn start_with(
        plane: &ControlPlane,
        kubeconfig: &Path,
        arguments: &[String],
        variables: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let program = node_problem_detector(&mut |_| {})?;
        let detector = Component::spawn(plane, "node-problem-detector", &program, |command| {
            command
                // A URI without a server: that is in the kubeconfig.
                .arg(format!(
                    "--apiserver-override=?inClusterConfig=false&auth={}",
                    kubeconfig.display(),
                ))
                .args(arguments)
                .envs(variables.iter().map(|(name, value)| (name, value)));
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
