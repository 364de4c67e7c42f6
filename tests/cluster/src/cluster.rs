//! A control plane with the CRD installed, and nodes without kubelets.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use api::NodeReadinessRule;
use control_plane::{Assets, ControlPlane, Options};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Node, NodeCondition, NodeSpec as CoreNodeSpec, NodeStatus, Taint,
};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::{Host, wait};

/// Key of the taint in the security agent guide.
pub const GUIDE_TAINT: &str = "readiness.k8s.io/security-agent-ready";

/// A running control plane, and a client of its administrator.
pub struct Cluster {
    /// The servers; they end with it.
    pub plane: ControlPlane,
    /// The administrator.
    pub client: Client,
    hosts: AtomicUsize,
}

/// What a test says of a node that it creates.
#[derive(Debug, Clone, Default)]
pub struct NodeSpec {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Taints: key, value, effect.
    pub taints: Vec<(String, String, String)>,
}

impl NodeSpec {
    /// The node, as a kubelet creates it.
    pub fn node(&self) -> Node {
        let taint = |(key, value, effect): &(String, String, String)| Taint {
            key: key.clone(),
            value: Some(value.clone()).filter(|value| !value.is_empty()),
            effect: effect.clone(),
            time_added: None,
        };
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.iter().cloned().collect()),
                ..ObjectMeta::default()
            },
            spec: Some(CoreNodeSpec {
                taints: Some(self.taints.iter().map(taint).collect()),
                ..CoreNodeSpec::default()
            }),
            status: None,
        }
    }
}

/// A node as the guide has it: a worker, tainted from its first moment if `tainted`.
pub fn worker(name: &str, tainted: bool) -> NodeSpec {
    let taint = (
        GUIDE_TAINT.to_owned(),
        "pending".to_owned(),
        "NoSchedule".to_owned(),
    );
    NodeSpec {
        name: name.to_owned(),
        labels: vec![("node-role.kubernetes.io/worker".to_owned(), String::new())],
        taints: if tainted { vec![taint] } else { vec![] },
    }
}

/// A rule that holds workers with the guide's taint until their agent is ready.
pub fn agent_rule(name: &str, mode: &str) -> String {
    format!(
        "
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata: {{name: {name}}}
spec:
  conditions: [{{type: example.com/AgentReady, requiredStatus: 'True'}}]
  taint: {{key: {GUIDE_TAINT}, effect: NoSchedule, value: pending}}
  enforcementMode: {mode}
  nodeSelector: {{matchLabels: {{node-role.kubernetes.io/worker: ''}}}}
"
    )
}

impl Cluster {
    /// Starts a control plane and installs the CRD.
    ///
    /// # Errors
    /// What could not be built, started or installed.
    pub async fn start() -> anyhow::Result<Self> {
        // Whoever has nothing built yet waits in silence; the demo says what it waits for.
        let assets = control_plane::assets(&mut |_| {})?;
        Self::start_with(&assets, &Options::default()).await
    }

    /// As [`Cluster::start`], with options.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_with(assets: &Assets, options: &Options) -> anyhow::Result<Self> {
        let plane = ControlPlane::start_with(assets, options)?;
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let cluster = Self {
            plane,
            client,
            hosts: AtomicUsize::new(0),
        };
        cluster.install_crd().await?;
        Ok(cluster)
    }

    async fn install_crd(&self) -> anyhow::Result<()> {
        let crds = Api::<CustomResourceDefinition>::all(self.client.clone());
        let crd = api::crds::node_readiness_rule(&Default::default());
        let name = crd.metadata.name.clone().context("the CRD has no name")?;
        crds.create(&PostParams::default(), &crd).await?;
        let rules = self.rules();
        wait::until_true("the CRD is served", || async {
            let established = kube::runtime::conditions::is_crd_established();
            let crd = crds.get(&name).await?;
            let served = kube::runtime::wait::Condition::matches_object(&established, Some(&crd));
            Ok(served && rules.list(&Default::default()).await.is_ok())
        })
        .await
    }

    /// Installs the definition of ReadinessPolicies, as the file in the repository has it: it is what people apply.
    ///
    /// # Errors
    /// The file cannot be read, or kubectl is against it.
    pub async fn install_policies(&self) -> anyhow::Result<()> {
        let file = cli_tests::program::workspace().join("crds/readinesspolicies.yaml");
        self.apply(&std::fs::read_to_string(file)?)?;
        let name = "readinesspolicies.readiness.node.x-k8s.io";
        let definitions = Api::all(self.client.clone());
        let established = kube::runtime::conditions::is_crd_established();
        kube::runtime::wait::await_condition(definitions, name, established).await?;
        Ok(())
    }

    /// Starts a host, and waits until its caches are synced.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_host(&self) -> anyhow::Result<Host> {
        self.start_host_with(&[]).await
    }

    /// As [`Cluster::start_host`], with further arguments.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub async fn start_host_with(&self, arguments: &[&str]) -> anyhow::Result<Host> {
        Host::start(&self.kubeconfig(), &self.new_log(), arguments).await
    }

    /// The notes of the events about an object, by its name and their reason.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn events(&self, object: &str, reason: &str) -> anyhow::Result<Vec<String>> {
        let events = Api::<Event>::namespaced(self.client.clone(), "default");
        let about = |event: &Event| {
            let regarding = event.regarding.as_ref();
            let name = regarding.and_then(|object| object.name.as_deref());
            name == Some(object) && event.reason.as_deref() == Some(reason)
        };
        let listed = events.list(&Default::default()).await?;
        let found = listed.into_iter().filter(about);
        Ok(found.filter_map(|event| event.note).collect())
    }

    /// Waits until there is an event about an object, and returns its note.
    ///
    /// # Errors
    /// There was none within a minute.
    pub async fn until_event(&self, object: &str, reason: &str) -> anyhow::Result<String> {
        wait::until(&format!("event {reason} about {object}"), || async {
            let mut found = self.events(object, reason).await?;
            Ok(found.pop().ok_or_else(|| "none yet".to_owned()))
        })
        .await
    }

    /// Changes a rule by a merge patch.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch_rule(&self, name: &str, change: serde_json::Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(change);
        self.rules()
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Sets annotations of a node, or (null) removes them.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn annotate_node(&self, name: &str, values: serde_json::Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": values } }));
        self.nodes()
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// How many nodes carry a taint with this key.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn tainted(&self, key: &str) -> anyhow::Result<usize> {
        let nodes = self.nodes().list(&Default::default()).await?;
        let carries = |node: &&Node| {
            let taints = node
                .spec
                .iter()
                .flat_map(|spec| spec.taints.iter().flatten());
            taints.into_iter().any(|taint| taint.key == key)
        };
        Ok(nodes.iter().filter(carries).count())
    }

    /// Host and port of the API server.
    ///
    /// # Errors
    /// The kubeconfig has none.
    pub fn server(&self) -> anyhow::Result<String> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let cluster = kubeconfig
            .clusters
            .into_iter()
            .find_map(|named| named.cluster);
        let server = cluster.and_then(|cluster| cluster.server);
        let server: http::Uri = server.context("the kubeconfig names no server")?.parse()?;
        Ok(server.authority().context("no host")?.to_string())
    }

    /// A file for the log of one more host.
    pub fn new_log(&self) -> PathBuf {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        self.plane.folder().join(format!("host-{number}.log"))
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig()
    }

    /// The nodes.
    pub fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// The rules.
    pub fn rules(&self) -> Api<NodeReadinessRule> {
        Api::all(self.client.clone())
    }

    /// Creates a node.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn create_node(&self, spec: &NodeSpec) -> anyhow::Result<Node> {
        let nodes = self.nodes();
        Ok(nodes.create(&PostParams::default(), &spec.node()).await?)
    }

    /// Writes one condition of a node, as a kubelet or a reporter does.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn set_condition(&self, node: &str, name: &str, status: &str) -> anyhow::Result<()> {
        let now = Time(Timestamp::now());
        let condition = NodeCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some("Reported".to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(now),
            ..NodeCondition::default()
        };
        let status = NodeStatus {
            conditions: Some(vec![condition]),
            ..NodeStatus::default()
        };
        // A strategic merge touches only the condition of this type.
        let patch = Patch::Strategic(json!({ "status": status }));
        self.nodes()
            .patch_status(node, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Creates the rules of a YAML text by kubectl, as a user does.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        let file = self.plane.folder().join("applied.yaml");
        std::fs::write(&file, yaml)?;
        let path = file.to_str().context("a path that is not UTF-8")?;
        self.plane.kubectl_ok(&["apply", "-f", path])
    }

    /// Deletes a rule and waits until it is gone.
    ///
    /// # Errors
    /// What the API server says, or that it does not go.
    pub async fn delete_rule(&self, name: &str) -> anyhow::Result<()> {
        let rules = self.rules();
        rules.delete(name, &DeleteParams::default()).await?;
        wait::until_true("the rule is gone", || async {
            Ok(rules.get_opt(name).await?.is_none())
        })
        .await
    }

    /// The taints of a node under our prefix, as kubectl prints them: `key=value:effect`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn readiness_taints(&self, node: &str) -> anyhow::Result<Vec<String>> {
        Ok(readiness_taints(&self.nodes().get(node).await?))
    }

    /// Waits until a node carries a taint, or does not.
    ///
    /// # Errors
    /// It did not become so within a minute.
    pub async fn until_tainted(
        &self,
        node: &str,
        key: &str,
        tainted: bool,
    ) -> anyhow::Result<Node> {
        let what = format!(
            "node {node} {} {key}",
            if tainted { "carries" } else { "does not carry" }
        );
        let nodes = self.nodes();
        wait::until(&what, || async {
            let node = nodes.get(node).await?;
            let taints = readiness_taints(&node);
            let carries = taints
                .iter()
                .any(|taint| taint.split(['=', ':']).next() == Some(key));
            Ok(if carries == tainted {
                Ok(node)
            } else {
                Err(format!("taints {taints:?}"))
            })
        })
        .await
    }

    /// Waits until a rule's status is as wanted.
    ///
    /// # Errors
    /// It did not become so within a minute.
    pub async fn until_status(
        &self,
        rule: &str,
        what: &str,
        is: impl Fn(&api::rule::status::NodeReadinessRuleStatus) -> bool,
    ) -> anyhow::Result<NodeReadinessRule> {
        let rules = self.rules();
        wait::until(&format!("status of rule {rule}: {what}"), || async {
            let rule = rules.get(rule).await?;
            Ok(match &rule.status {
                Some(status) if is(status) => Ok(rule),
                status => Err(format!("{status:?}")),
            })
        })
        .await
    }
}

/// The taints under our prefix, as kubectl prints them.
fn readiness_taints(node: &Node) -> Vec<String> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let ours = taints.filter(|taint| taint.key.starts_with(api::rule::TAINT_PREFIX));
    ours.map(|taint| match &taint.value {
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
        None => format!("{}:{}", taint.key, taint.effect),
    })
    .collect()
}
