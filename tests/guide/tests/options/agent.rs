//! What stands in for Falco, and what reports on it as its manifests say.

use std::net::SocketAddr;
use std::path::Path;

use cluster_tests::{Reporter, Settings};
use control_plane::NodeProblemDetector;
use futures::future::pending;
use guide_tests::{Guide, node_of, start_detector};
use k8s_openapi::api::core::v1::Pod;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Falco's port on one node. Nobody listens there at first.
pub(crate) struct FalcoPort {
    address: SocketAddr,
    /// It has the port, so that nobody else takes it; it listens no more than Falco does.
    _reserved: TcpSocket,
    running: Option<JoinHandle<()>>,
}

impl FalcoPort {
    pub(crate) fn new() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let reserved = bound(any);
        Self {
            address: reserved.local_addr().unwrap(),
            _reserved: reserved,
            running: None,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Falco runs.
    pub(crate) async fn listen(&mut self) {
        // Two cannot listen on one port.
        self.die().await;
        let listener = bound(self.address).listen(128).unwrap();
        self.run(async move { while listener.accept().await.is_ok() {} });
    }

    /// Falco is starting: it has its port, and takes no connection yet. Whoever connects waits.
    pub(crate) async fn start_slowly(&mut self) {
        self.die().await;
        // The system takes one connection more than this for a program that is busy.
        let listener = bound(self.address).listen(1).unwrap();
        let first = TcpStream::connect(self.address).await.unwrap();
        let second = TcpStream::connect(self.address).await.unwrap();
        self.run(async move {
            pending::<()>().await;
            drop((listener, first, second));
        });
    }

    fn run(&mut self, falco: impl Future<Output = ()> + Send + 'static) {
        self.running = Some(tokio::spawn(falco));
    }

    /// Falco crashes.
    pub(crate) async fn die(&mut self) {
        if let Some(task) = self.running.take() {
            task.abort();
            // The port is free when the task is gone.
            let _ = task.await;
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Starts the reporter that is a container of Falco's pod, with the variables that the pod has of it and
/// the token of the pod's ServiceAccount. Only the port of Falco is another.
pub(crate) fn reporter_of(guide: &Guide, pod: &Pod, falco: SocketAddr) -> Reporter {
    let spec = pod.spec.as_ref().unwrap();
    let mut containers = spec.containers.iter();
    let container = containers.find(|container| container.name == "security-status-patcher");
    let mut settings = Settings::bare();
    for variable in container.unwrap().env.iter().flatten() {
        let from = variable
            .value_from
            .as_ref()
            .and_then(|from| from.field_ref.as_ref());
        let value = match from {
            Some(field) if field.field_path == "spec.nodeName" => spec.node_name.clone(),
            Some(field) => panic!("{field:?}"),
            None => variable.value.clone(),
        };
        let mut value = value.unwrap();
        if variable.name == "CHECK_ENDPOINT" {
            assert_eq!(value, "http://localhost:8765/healthz");
            value = value.replace("8765", &falco.port().to_string());
        }
        settings = settings.set(&variable.name, value);
    }
    let account = spec.service_account_name.clone().unwrap();
    let cluster = &guide.cluster;
    let mounted = cluster
        .service_account_folder_of("falco", &account)
        .unwrap();
    Reporter::start_with(
        &mounted,
        &cluster.server().unwrap(),
        &cluster.new_log(),
        &settings,
    )
    .unwrap()
}

/// Starts Node Problem Detector as its DaemonSet says, when its pod is on the node and Falco's is. Only the port of
/// Falco is another.
pub(crate) async fn detector_on(
    guide: &Guide,
    node: &str,
    falco: &FalcoPort,
) -> NodeProblemDetector {
    detector_as(guide, None, node, falco, Configured::AsInTheGuide).await
}

/// What the plugin's configuration says.
pub(crate) enum Configured {
    AsInTheGuide,
    /// And that nothing is reported before the first check.
    SkipInitialStatus,
}

/// As [`detector_on`], with another way to the API server and another configuration.
pub(crate) async fn detector_as(
    guide: &Guide,
    kubeconfig: Option<&Path>,
    node: &str,
    falco: &FalcoPort,
    configured: Configured,
) -> NodeProblemDetector {
    let bound = |pod: &Pod| (node_of(pod).as_deref() == Some(node)).then(|| pod.clone());
    let on_node = async |selector: &str| {
        let pods = guide.pods("falco", selector);
        let what = format!("is bound to {node}");
        pods.until(&what, bound).await.unwrap()
    };
    on_node("app.kubernetes.io/instance=falco").await;
    let pod = on_node("app.kubernetes.io/name=npd-falco").await;
    let port = falco.port().to_string();
    let mut replaced = vec![("8765", port.as_str())];
    if let Configured::SkipInitialStatus = configured {
        let last = "\"concurrency\": 1";
        replaced.push((last, "\"concurrency\": 1, \"skip_initial_status\": true"));
    }
    let started = start_detector(guide, &pod, kubeconfig, &replaced).await;
    started.unwrap()
}
