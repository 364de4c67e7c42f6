//! Ports that are free when they are chosen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

use crate::process::EndedEarly;

/// Whatever starts at the same moment may be quicker.
const ATTEMPTS: u32 = 5;

/// Starts something on free ports (two at most), again with others where one was taken before it
/// was used.
pub(crate) fn on_free_ports<T>(
    mut start: impl FnMut([SocketAddr; 2]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut attempt = 1;
    loop {
        match start(free_addresses()?) {
            Err(error) if port_was_taken(&error) => {
                if attempt == ATTEMPTS {
                    bail!(
                        "no free port on 127.0.0.1 in {ATTEMPTS} attempts: each was taken before the server used it. {error}"
                    );
                }
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Both listeners exist at the same time, so that the ports differ.
fn free_addresses() -> anyhow::Result<[SocketAddr; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let addresses = || {
        let (first, second) = (listen()?, listen()?);
        Ok::<_, std::io::Error>([first.local_addr()?, second.local_addr()?])
    };
    addresses().context("cannot find a free port on 127.0.0.1")
}

fn port_was_taken(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<EndedEarly>()
        .is_some_and(EndedEarly::port_was_taken)
}
