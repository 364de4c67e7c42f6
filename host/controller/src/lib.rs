//! The control loop: watch rules and nodes, let [`decide`] say what shall be, apply it with one
//! patch per node, and report it in each rule's status.
//!
//! The only crate that talks to a cluster. What it never does is decide: the same [`decide`]
//! serves `host eval`, so that what eval says, run does.

pub mod birth;
mod certificates;
pub mod cleanup;
mod client;
pub mod connect;
pub mod crds;
pub mod decide;
mod events;
mod freeze;
mod gate;
mod health;
mod lease;
mod ledger;
mod limit;
mod memory;
mod metrics;
mod node;
mod options;
mod orphans;
pub mod policies;
mod queue;
mod related;
mod reporters;
mod rule;
mod rules;
mod run;
mod shared;
mod status;
mod webhook;

pub use certificates::CertificateError;
pub use freeze::is_frozen;
pub use lease::NoNamespace;
pub use metrics::MetricsError;
pub use options::{
    Alarm, Certificates, LeaderElection, Limits, Metrics, MetricsCertificate, Options,
    RequestLimit, Webhook,
};
pub use run::{RunError, run};
pub use status::clip;
pub use webhook::WebhookError;
