//! `node-readiness-reporter`: asks on a node whether something there is ready, and says so by a
//! condition of the node.
//!
//! It runs on every node, so it is small: one thread, one connection to the API server, no client
//! library of Kubernetes. hyper on tokio and not ureq on threads: a check, a write, a probe and
//! SIGTERM can come at the same moment, and what hangs is dropped, not joined.

mod api;
mod arguments;
mod check;
mod condition;
mod configuration;
mod connection;
mod duration;
mod log;
mod metrics;
mod node;
mod run;
mod threshold;
mod trust;
mod writer;

fn main() -> std::process::ExitCode {
    arguments::run(std::env::args_os())
}
