//! How a cluster is found and reached.

mod explain;
mod kubeconfig;

use std::path::Path;

use kube::Client;
use kube::api::{Api, ListParams};
use kube::client::ClientBuilder;

use crate::client::timely;
use crate::metrics::Metrics;

pub(crate) use explain::chain;

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
    connect_with(kubeconfig, None).await
}

/// As [`connect`]; requests are counted.
pub(crate) async fn connect_with(
    kubeconfig: Option<&Path>,
    metrics: Option<&Metrics>,
) -> Result<Client, ConnectError> {
    let cluster = Cluster::connect(kubeconfig, metrics).await?;
    Ok(cluster.client)
}

/// The nodes of a cluster as they are now. They are only read.
pub async fn list_nodes(kubeconfig: Option<&Path>) -> Result<Vec<api::Node>, ConnectError> {
    let cluster = Cluster::connect(kubeconfig, None).await?;
    let nodes = Api::<api::Node>::all(cluster.client.clone());
    let mut listed = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = cluster.ask(nodes.list(&page)).await?;
        listed.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(listed),
        }
    }
}

struct Cluster {
    client: Client,
    way: Way,
}

/// What the messages about a cluster say of how it was found.
struct Way {
    /// `kubeconfig FILE, context 'NAME'`, or the service account of a pod.
    place: String,
    /// URL of the API server.
    server: String,
    /// Who asks, in a form that fits behind "does not accept".
    who: String,
    /// The program that gives the user's credentials, where there is one.
    plugin: Option<String>,
}

impl Cluster {
    async fn connect(
        kubeconfig: Option<&Path>,
        metrics: Option<&Metrics>,
    ) -> Result<Self, ConnectError> {
        let (config, way) = kubeconfig::find(kubeconfig)
            .await
            .map_err(|message| ConnectError { message })?;
        let host = config.cluster_url.authority().map(ToString::to_string);
        let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError {
            message: explain::client_error(&error, &way),
        })?;
        let client = match metrics {
            Some(metrics) => {
                let count = metrics.count_requests(host.unwrap_or_default());
                builder.with_layer(&count).build()
            }
            None => builder.build(),
        };
        let cluster = Self { client, way };
        cluster.ask(cluster.client.apiserver_version()).await?;
        Ok(cluster)
    }

    async fn ask<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ConnectError> {
        let mut why = None;
        let answer = timely(async {
            let answer = request.await;
            answer.inspect_err(|error| why = Some(explain::client_error(error, &self.way)))
        });
        answer.await.map_err(|timeout| ConnectError {
            message: why.unwrap_or_else(|| explain::no_answer(&timeout, &self.way)),
        })
    }
}
