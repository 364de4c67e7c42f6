//! The validating webhook.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use controller::Certificates;

use super::address;
use super::go_flags::boolean;
use crate::input::BadInput;

#[derive(Debug, Args)]
#[command(next_help_heading = "Webhook")]
#[group(skip)]
pub struct Options {
    /// Serve the validating webhook, in every replica
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    enable_webhook: bool,

    /// Where the webhook is served
    #[arg(long, value_name = "ADDRESS", default_value = ":9443")]
    webhook_bind_address: String,

    /// Make and renew the webhook's certificate, instead of reading files
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    webhook_manage_certificates: bool,

    /// Secret of managed certificates, in the host's own namespace unless one is given
    #[arg(
        long,
        value_name = "[NAMESPACE/]NAME",
        default_value = "node-readiness-webhook-tls"
    )]
    webhook_secret: String,

    /// ValidatingWebhookConfiguration that is told to trust managed certificates
    #[arg(long, value_name = "NAME", default_value = "node-readiness-webhook")]
    webhook_configuration: String,
}

impl Options {
    /// What the control loop is told; nothing where no webhook is asked for.
    pub fn check(self) -> Result<Option<controller::Webhook>, BadInput> {
        let Self {
            enable_webhook,
            webhook_bind_address,
            webhook_manage_certificates,
            webhook_secret,
            webhook_configuration,
        } = self;
        if !enable_webhook {
            return Ok(None);
        }
        let flag = "--webhook-bind-address";
        let address = address(flag, &webhook_bind_address)?.ok_or_else(|| {
            BadInput::one(format!(
                "{flag}={webhook_bind_address}: --enable-webhook needs an address"
            ))
        })?;
        let certificates = if webhook_manage_certificates {
            let (namespace, secret) = match webhook_secret.split_once('/') {
                None => (None, webhook_secret.as_str()),
                Some((namespace, name)) => (Some(namespace), name),
            };
            let is_name = |name: &str| !name.is_empty() && !name.contains('/');
            if !is_name(secret) || !namespace.is_none_or(is_name) {
                return Err(BadInput::one(format!(
                    "--webhook-secret={webhook_secret}: give NAME or NAMESPACE/NAME"
                )));
            }
            if !is_name(&webhook_configuration) {
                return Err(BadInput::one(format!(
                    "--webhook-configuration={webhook_configuration}: this is no name"
                )));
            }
            Certificates::Managed {
                namespace: namespace.map(str::to_owned),
                secret: secret.to_owned(),
                configuration: webhook_configuration,
            }
        } else {
            Certificates::Folder(folder())
        };
        Ok(Some(controller::Webhook {
            address,
            certificates,
        }))
    }
}

/// Where the Go controller looks.
fn folder() -> PathBuf {
    let temporary = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    let temporary = temporary.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    temporary.join("k8s-webhook-server/serving-certs")
}
