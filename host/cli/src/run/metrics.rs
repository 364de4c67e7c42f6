//! The metrics.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use controller::{Metrics, MetricsCertificate};

use super::address;
use super::go_flags::boolean;
use crate::input::BadInput;

#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
#[group(skip)]
pub struct Options {
    /// Where /metrics is served; 0: nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "0")]
    metrics_bind_address: String,

    /// Serve the metrics over TLS, and only to whoever shows a token that may get /metrics
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    metrics_secure: bool,

    /// Folder with tls.crt and tls.key for the metrics; without it a self-signed certificate
    #[arg(long, value_name = "FOLDER", default_value = "")]
    metrics_cert_dir: String,

    /// Count the nodes of each rule by state (ready, not_ready, bootstrapping) in the metrics too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub enable_node_state_metrics: bool,
}

impl Options {
    /// What the control loop is told; nothing where no metrics are asked for.
    pub fn check(&self) -> Result<Option<Metrics>, BadInput> {
        let address = address("--metrics-bind-address", &self.metrics_bind_address)?;
        let certificate = || match self.metrics_cert_dir.as_str() {
            "" => MetricsCertificate::SelfSigned,
            folder => MetricsCertificate::Folder(PathBuf::from(folder)),
        };
        Ok(address.map(|address| Metrics {
            address,
            certificate: self.metrics_secure.then(certificate),
        }))
    }
}
