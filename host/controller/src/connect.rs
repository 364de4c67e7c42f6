//! How a cluster is found and reached.

use std::path::Path;

use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::client::timely;

/// Nodes in one answer of the API server.
const PAGE: u32 = 500;

/// A cluster could not be found or reached.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
}

/// A client by kubeconfig: the given file, else `$KUBECONFIG`, else in cluster, else the home
/// folder's. Asks the server for its version, so that an unreachable one is known at once.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let config = config(kubeconfig).await?;
    let server = config.cluster_url.to_string();
    let unreachable = |error: kube::Error| ConnectError {
        message: format!(
            "the API server at {server} cannot be used: {}",
            chain(&error)
        ),
    };
    let client = Client::try_from(config).map_err(unreachable)?;
    match timely(client.apiserver_version()).await {
        Ok(_) => Ok(client),
        Err(error) => Err(ConnectError {
            message: format!("the API server at {server} cannot be used: {error}"),
        }),
    }
}

/// The nodes of a cluster as they are now. They are only read.
pub async fn list_nodes(kubeconfig: Option<&Path>) -> Result<Vec<api::Node>, ConnectError> {
    let nodes = Api::<api::Node>::all(connect(kubeconfig).await?);
    let mut listed = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = timely(nodes.list(&page))
            .await
            .map_err(|error| ConnectError {
                message: format!("the nodes of the cluster cannot be listed: {error}"),
            })?;
        listed.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(listed),
        }
    }
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let unusable = |error: kube::config::KubeconfigError| ConnectError {
            message: format!("kubeconfig {}: {}", path.display(), chain(&error)),
        };
        let file = Kubeconfig::read_from(path).map_err(unusable)?;
        return Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(unusable);
    }
    if std::env::var_os("KUBECONFIG").is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    Config::from_kubeconfig(&options)
        .await
        .map_err(|error| ConnectError {
            message: format!(
                "no cluster: {}; give --kubeconfig, set KUBECONFIG, or run in a cluster",
                chain(&error)
            ),
        })
}

/// An error with its causes, each once: many errors of the client already tell their source.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
