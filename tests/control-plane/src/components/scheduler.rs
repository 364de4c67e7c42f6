//! kube-scheduler.

use super::{Component, component, health, serving_flags};
use crate::assets::kube_scheduler;
use crate::control_plane::ControlPlane;
use crate::ports::on_free_ports;

/// Its name in the roles that the API server has for it.
pub(crate) const USER: &str = "system:kube-scheduler";

/// The real scheduler, with its own rights. It ends when this is dropped.
#[derive(Debug)]
pub struct Scheduler {
    component: Component,
}

component!(Scheduler);

impl Scheduler {
    /// Starts it, and waits until it has seen the nodes and pods that are there.
    ///
    /// # Errors
    ///
    /// It cannot be found or built, it ended, or it was not ready in time; with the end of its log.
    pub fn start(plane: &ControlPlane) -> anyhow::Result<Self> {
        let program = kube_scheduler(&mut |_| {})?;
        let kubeconfig = plane.kubeconfig_for(USER)?;
        let component = on_free_ports(|[address, _]| {
            let scheduler = Component::spawn(plane, "kube-scheduler", &program, |command| {
                command.args(serving_flags(&kubeconfig, address));
            })?;
            scheduler.until_ready(|_| health(plane, &kubeconfig, address, "/readyz"))
        })?;
        Ok(Self { component })
    }
}
