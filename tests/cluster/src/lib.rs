//! A real API server with our CRD, a running host, and the few things that tests, demo and benchmarks
//! do with them.

mod admission;
mod agent;
pub mod audit;
mod barrier;
pub mod bench;
mod cluster;
pub mod document;
pub mod endpoint;
pub mod helm;
mod host;
pub mod link;
pub mod past;
pub mod proxy;
pub mod reporter;
mod rights;
pub mod scale;
pub mod scrape;
mod tls;
mod truth;
pub mod wait;
pub mod webhook;

pub use agent::AGENT;
pub use cluster::{Cluster, GUIDE_TAINT, NodeSpec, agent_rule, worker};
pub use endpoint::Endpoint;
pub use host::{Host, host_program};
pub use reporter::{Reporter, Settings, reporter_program};
pub use rights::rights_of;
