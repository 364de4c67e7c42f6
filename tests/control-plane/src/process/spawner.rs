//! Children are started by one thread that lives as long as the process.
//!
//! The parent death signal is sent when the *thread* that forked ends, not the process. A control
//! plane shared by several tests would be killed with the test that happened to start it.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let orders = ORDERS.get_or_init(start_thread).as_ref().ok_or_else(gone)?;
    let (answer, child) = channel();
    orders.send(Order { command, answer }).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

fn start_thread() -> Option<Sender<Order>> {
    let (sender, orders): (_, Receiver<Order>) = channel();
    thread::Builder::new()
        .name("process-spawner".to_owned())
        .spawn(move || {
            for Order {
                mut command,
                answer,
            } in orders
            {
                // Nobody waits for the answer only if the asking thread is gone.
                let _ = answer.send(command.spawn());
            }
        })
        .ok()
        .map(|_| sender)
}
