//! How a cluster is found and reached.

mod explain;
mod kubeconfig;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::api::Api;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config, Resource};
use planner::related::Kind;
use serde::de::DeserializeOwned;
use tower::retry::RetryLayer;
use tower::util::BoxService;
use tower::{ServiceBuilder, ServiceExt};

use crate::client::{all_pages, timely};
use crate::lease::IN_NETWORK;
use crate::metrics::Metrics;

pub(crate) use explain::{answer_of, chain};

/// Objects in one answer of the API server.
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

/// A client with connections of its own: nothing that waits elsewhere holds it up.
pub(crate) async fn connect_apart(
    kubeconfig: Option<&Path>,
    metrics: &Metrics,
) -> Result<Client, ConnectError> {
    let cluster = Cluster::new(kubeconfig, Some(metrics)).await?;
    Ok(cluster.client)
}

/// What a rule is evaluated on.
#[derive(Debug)]
pub struct Objects {
    /// All nodes.
    pub nodes: Vec<api::Node>,
    /// All DaemonSets, or why they cannot be listed.
    pub daemon_sets: Result<Vec<api::DaemonSet>, ConnectError>,
    /// All pods, where they are asked about.
    pub pods: Vec<api::Pod>,
    /// The leases of nodes, where they are asked about.
    pub leases: Vec<api::NodeLease>,
    /// All CSINodes, where they are asked about.
    pub csi_nodes: Vec<api::CsiNode>,
    /// All ResourceSlices, where they are asked about.
    pub resource_slices: Vec<api::ResourceSlice>,
}

/// The nodes of a cluster as they are now, the DaemonSets, and what else policies ask about. They are only
/// read.
pub async fn list_objects(
    kubeconfig: Option<&Path>,
    asked: &BTreeSet<Kind>,
) -> Result<Objects, ConnectError> {
    let cluster = Cluster::connect(kubeconfig, None).await?;
    Ok(Objects {
        nodes: cluster.list().await?,
        daemon_sets: cluster.list().await,
        pods: match asked.contains(&Kind::Pods) {
            true => cluster.list().await?,
            false => Vec::new(),
        },
        csi_nodes: match asked.contains(&Kind::CsiNodes) {
            true => cluster.list().await?,
            false => Vec::new(),
        },
        resource_slices: match asked.contains(&Kind::ResourceSlices) {
            true => cluster.list().await?,
            false => Vec::new(),
        },
        leases: match asked.contains(&Kind::Leases) {
            true => {
                cluster
                    .list_of(|client| Api::namespaced(client, api::lease::NODE_LEASES))
                    .await?
            }
            false => Vec::new(),
        },
    })
}

type Service = BoxService<http::Request<Body>, http::Response<Incoming>, tower::BoxError>;

/// The client's usual layers, on connections that do not hold bytes back for long: what was written
/// before a connection broke must not arrive when another host leads.
fn layers(config: Config) -> kube::Result<ClientBuilder<Service>> {
    if let Some(proxy_url) = config.proxy_url {
        return Err(kube::Error::ProxyProtocolDisabled {
            proxy_url: Box::new(proxy_url),
            protocol_feature: "kube/http-proxy",
        });
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_tcp_user_timeout(Some(IN_NETWORK));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let hyper = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .map_request(as_of_now)
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(hyper);
    Ok(ClientBuilder::new(
        service.boxed(),
        config.default_namespace,
    ))
}

/// A list that begins a watch is to be as new as the question. The watcher asks for any that is there
/// (`resourceVersion=0`). A server whose cache is behind answers that with what was so a while ago: a rule that
/// was suspended meanwhile would act again, and what it does then nobody takes back. With no version the answer
/// is a consistent read.
fn as_of_now(mut request: http::Request<Body>) -> http::Request<Body> {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    if query.contains("sendInitialEvents=true") {
        let parts = query.split('&').filter(|part| *part != "resourceVersion=0");
        let parts: Vec<&str> = parts.collect();
        let path = format!("{}?{}", uri.path(), parts.join("&"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
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
        let cluster = Self::new(kubeconfig, metrics).await?;
        cluster.ask(cluster.client.apiserver_version()).await?;
        Ok(cluster)
    }

    async fn new(
        kubeconfig: Option<&Path>,
        metrics: Option<&Metrics>,
    ) -> Result<Self, ConnectError> {
        let (config, way) = kubeconfig::find(kubeconfig)
            .await
            .map_err(|message| ConnectError { message })?;
        let host = config.cluster_url.authority().map(ToString::to_string);
        let builder = layers(config).map_err(|error| ConnectError {
            message: explain::client_error(&error, &way),
        })?;
        let client = match metrics {
            Some(metrics) => {
                let count = metrics.count_requests(host.unwrap_or_default());
                builder.with_layer(&count).build()
            }
            None => builder.build(),
        };
        Ok(Self { client, way })
    }

    async fn list<K>(&self) -> Result<Vec<K>, ConnectError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.list_of(Api::all).await
    }

    async fn list_of<K>(&self, of: impl FnOnce(Client) -> Api<K>) -> Result<Vec<K>, ConnectError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = &of(self.client.clone());
        let page = |page| async move { self.ask(api.list(&page)).await };
        all_pages(PAGE, page).await
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
