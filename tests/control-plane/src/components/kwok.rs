//! kwok: nodes and pods become what a kubelet would make of them, and nothing runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Component, component};
use crate::assets::kwok;
use crate::control_plane::ControlPlane;
use crate::ports::on_free_ports;

/// The annotation, name and value, of a node whose kubelet kwok plays.
pub const FAKE_NODE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
const STAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kwok/stages.yaml");
const PATIENCE: Duration = Duration::from_secs(3);

/// The kubelet of the nodes that carry [`FAKE_NODE`]. It ends when this is dropped, and the nodes
/// are then like nodes whose kubelet died.
#[derive(Debug)]
pub struct Kwok {
    component: Component,
}

component!(Kwok);

impl Kwok {
    /// Starts it, and waits until it watches nodes and pods. What it does stands in `kwok/stages.yaml`.
    ///
    /// # Errors
    ///
    /// It cannot be found or built, it ended, or it was not ready in time; with the end of its log.
    pub fn start(plane: &ControlPlane) -> anyhow::Result<Self> {
        let program = kwok(&mut |_| {})?;
        let (name, value) = FAKE_NODE;
        let component = on_free_ports(|[address, _]| {
            let kwok = Component::spawn(plane, "kwok", &program, |command| {
                command
                    .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
                    .arg("--manage-all-nodes=false")
                    .arg(format!(
                        "--manage-nodes-with-annotation-selector={name}={value}"
                    ))
                    .arg(format!("--config={STAGES}"))
                    .arg(format!("--server-address={address}"))
                    // As a kubelet.
                    .arg("--node-lease-duration-seconds=40");
            })?;
            // It opens the port after it began to watch.
            kwok.until_ready(|_| Ok(healthy(address).map_err(|error| error.to_string())))
        })?;
        Ok(Self { component })
    }
}

/// Plain HTTP: an HTTP client would be one more dependency.
fn healthy(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(std::io::Error::other(answer))
    }
}
