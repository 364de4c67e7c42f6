//! The pure core: what is known about a node, what a policy may ask about it, and what shall
//! change on the node once every rule's policy has answered.
//!
//! Nothing here reads a clock, an environment, a file or a socket, and nothing here knows of
//! Kubernetes clients or of WebAssembly: `now` is a parameter and a verdict is a value. So the
//! same input gives the same plan in a cluster, offline and in a test.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bootstrap;
pub mod break_glass;
pub mod breaker;
pub mod csi;
pub mod daemon_sets;
pub mod devices;
pub mod facts;
pub mod lease;
pub mod memo;
mod message;
pub mod ownership;
pub mod plan;
pub mod pods;
pub mod question;
pub mod related;
pub mod rule;
pub mod status;
mod texts;
pub mod verdict;

pub use jiff::Timestamp;
