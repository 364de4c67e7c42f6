//! What the tests of the guide and of the other stories share: a control plane that schedules, with the
//! real scheduler, controllers and host. What is not real is the kubelet: kwok plays it.

mod detector;
mod history;
mod workload;

use cluster_tests::{Cluster, Host, NodeSpec, wait};
use control_plane::{Assets, ControllerManager, FAKE_NODE, Kwok, Options, Scheduler};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::PostParams;

pub use detector::start_detector;
pub use history::{History, follow};
pub use workload::{Pods, daemon_set, deployment, is_ready, node_of, why_unschedulable};

/// A cluster in which pods are scheduled and run, as far as anybody can tell from the API.
pub struct Guide {
    // Dropped in this order: what works on the control plane before the control plane.
    /// The host, if there is one.
    pub host: Option<Host>,
    /// The kubelet of nodes that [`Guide::join`].
    pub kwok: Kwok,
    /// The controllers.
    pub controllers: ControllerManager,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The control plane, with our CRD.
    pub cluster: Cluster,
}

impl Guide {
    /// Starts all of it, and waits until each is ready.
    ///
    /// # Errors
    /// What could not be built or started.
    pub async fn start() -> anyhow::Result<Self> {
        let mut guide = Self::start_without_host().await?;
        guide.host = Some(guide.cluster.start_host().await?);
        Ok(guide)
    }

    /// As [`Guide::start`], for a test that starts the host later, otherwise or never.
    ///
    /// # Errors
    /// As [`Guide::start`].
    pub async fn start_without_host() -> anyhow::Result<Self> {
        let assets = control_plane::assets(&mut |_| {})?;
        Self::start_with(&assets, &Options::default()).await
    }

    /// As [`Guide::start_without_host`], with options; pods get their ServiceAccounts whatever these say.
    ///
    /// # Errors
    /// As [`Guide::start`].
    pub async fn start_with(assets: &Assets, options: &Options) -> anyhow::Result<Self> {
        let options = Options {
            service_accounts: true,
            ..options.clone()
        };
        let cluster = Cluster::start_with(assets, &options).await?;
        let plane = &cluster.plane;
        Ok(Self {
            host: None,
            kwok: Kwok::start(plane)?,
            controllers: ControllerManager::start(plane, &ControllerManager::CONTROLLERS)?,
            scheduler: Scheduler::start(plane)?,
            cluster,
        })
    }

    /// Creates a node whose kubelet is kwok, and waits until it is Ready and has no other taints than
    /// it was given.
    ///
    /// # Errors
    /// What the API server says, or that it does not become so.
    pub async fn join(&self, spec: &NodeSpec) -> anyhow::Result<Node> {
        let nodes = self.cluster.nodes();
        nodes
            .create(&PostParams::default(), &kwok_node(spec))
            .await?;
        wait::until(&format!("node {} joins", spec.name), || async {
            let node = nodes.get(&spec.name).await?;
            let kubernetes = |taint: &&str| taint.starts_with("node.kubernetes.io/");
            let ready = condition(&node, "Ready") == Some("True");
            Ok(
                if ready
                    && !taint_keys(&node)
                        .iter()
                        .any(|key| kubernetes(&key.as_str()))
                {
                    Ok(node)
                } else {
                    Err(format!("Ready: {ready}, taints {:?}", taint_keys(&node)))
                },
            )
        })
        .await
    }

    /// The pods that a label selector finds in a namespace.
    pub fn pods(&self, namespace: &str, selector: &str) -> Pods {
        Pods::new(self.cluster.client.clone(), namespace, selector)
    }
}

/// A node whose kubelet is kwok, to be created.
pub fn kwok_node(spec: &NodeSpec) -> Node {
    let (annotation, value) = FAKE_NODE;
    let mut node = spec.node();
    node.annotations_mut()
        .insert(annotation.to_owned(), value.to_owned());
    node
}

/// The status of a node's condition.
pub fn condition<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut conditions = conditions.filter(|condition| condition.type_ == name);
    conditions.next().map(|condition| condition.status.as_str())
}

/// The keys of a node's taints.
pub fn taint_keys(node: &Node) -> Vec<String> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| taint.key.clone()).collect()
}
