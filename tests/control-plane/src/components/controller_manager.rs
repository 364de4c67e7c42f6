//! kube-controller-manager, with the controllers that a test needs.

use super::{Component, component, health, serving_flags};
use crate::assets::kube_controller_manager;
use crate::control_plane::ControlPlane;
use crate::ports::on_free_ports;

/// Its name in the roles that the API server has for it.
pub(crate) const USER: &str = "system:kube-controller-manager";
const SERVICE_ACCOUNTS: &str = "serviceaccount-controller";

/// The real controllers, each with its own ServiceAccount. They end when this is dropped.
#[derive(Debug)]
pub struct ControllerManager {
    component: Component,
}

component!(ControllerManager);

impl ControllerManager {
    /// What makes pods of workloads, looks after nodes and tidies up.
    pub const CONTROLLERS: [&str; 10] = [
        "daemonset-controller",
        "deployment-controller",
        "garbage-collector-controller",
        "job-controller",
        "namespace-controller",
        "node-lifecycle-controller",
        "pod-garbage-collector-controller",
        "replicaset-controller",
        SERVICE_ACCOUNTS,
        "taint-eviction-controller",
    ];

    /// Starts it with these controllers, by the names of `kube-controller-manager --help`, and waits
    /// until they run; with the one for service accounts, until there is one for pods.
    ///
    /// # Errors
    ///
    /// It cannot be found or built, it ended (a controller that it does not know is one reason), or
    /// it was not ready in time; with the end of its log.
    pub fn start(plane: &ControlPlane, controllers: &[&str]) -> anyhow::Result<Self> {
        let program = kube_controller_manager(&mut |_| {})?;
        let kubeconfig = plane.kubeconfig_for(USER)?;
        let component = on_free_ports(|[address, _]| {
            let manager =
                Component::spawn(plane, "kube-controller-manager", &program, |command| {
                    command.args(serving_flags(&kubeconfig, address));
                    command.arg(format!("--controllers={}", controllers.join(",")));
                    command.arg("--use-service-account-credentials");
                })?;
            manager.until_ready(|_| {
                let healthy = health(plane, &kubeconfig, address, "/healthz")?;
                if healthy.is_err() || !controllers.contains(&SERVICE_ACCOUNTS) {
                    return Ok(healthy);
                }
                let account = plane.kubectl(&["get", "serviceaccount", "default"])?;
                Ok(if account.status.success() {
                    Ok(())
                } else {
                    Err(String::from_utf8_lossy(&account.stderr).trim().to_owned())
                })
            })
        })?;
        Ok(Self { component })
    }
}
