//! Load for the scale benchmark, and what the API server says of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{Cluster, GUIDE_TAINT};

const CONDITION: &str = "example.com/AgentReady";

/// The images of a node, as a kubelet lists them: about 200 bytes each.
pub fn images(count: usize) -> Value {
    let image = |number: usize| {
        let name = format!("registry.example.com/team/component-{number}");
        json!({ "names": [format!("{name}@sha256:{number:064x}"), format!("{name}:v1.2.{number}")], "sizeBytes": 90_000_000 })
    };
    (0..count).map(image).collect()
}

/// A worker whose agent is not ready.
pub fn node_json(name: &str, images: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": name } },
        "status": { "images": images, "conditions": [
            { "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status" },
            { "type": CONDITION, "status": "False", "reason": "Starting" },
        ]},
    })
}

/// Creates these nodes, each with so many images, by so many workers.
///
/// # Errors
/// What the API server says.
pub async fn create_nodes(
    cluster: &Cluster,
    names: &[String],
    image_count: usize,
    workers: usize,
) -> anyhow::Result<()> {
    let nodes = cluster.nodes();
    let images = images(image_count);
    let create = |name: &String| {
        let (nodes, body) = (nodes.clone(), node_json(name, &images));
        async move {
            let node: Node = serde_json::from_value(body)?;
            nodes.create(&PostParams::default(), &node).await?;
            let name = node.metadata.name.context("it has a name")?;
            let status = Patch::Merge(json!({ "status": node.status }));
            nodes
                .patch_status(&name, &Default::default(), &status)
                .await?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(names.iter().map(create))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

fn condition(status: &str) -> Patch<Value> {
    let now = Timestamp::now();
    let condition = json!({ "type": CONDITION, "status": status, "reason": "Reported", "lastHeartbeatTime": now, "lastTransitionTime": now });
    Patch::Strategic(json!({ "status": { "conditions": [condition] } }))
}

/// A new heartbeat of the kubelet, and nothing else.
fn heartbeat() -> Patch<Value> {
    let condition = json!({ "type": "Ready", "lastHeartbeatTime": Timestamp::now() });
    Patch::Strategic(json!({ "status": { "conditions": [condition] } }))
}

/// Sets a node's condition.
///
/// # Errors
/// What the API server says.
pub async fn flip(nodes: &Api<Node>, name: &str, status: &str) -> anyhow::Result<Instant> {
    nodes
        .patch_status(name, &PatchParams::default(), &condition(status))
        .await?;
    Ok(Instant::now())
}

/// Sets every node's condition, by so many workers. When each was written.
///
/// # Errors
/// What the API server says.
pub async fn flip_all(
    cluster: &Cluster,
    names: &[String],
    status: &'static str,
    workers: usize,
) -> anyhow::Result<HashMap<String, Instant>> {
    let nodes = cluster.nodes();
    let write = |name: String| {
        let nodes = nodes.clone();
        async move { anyhow::Ok((name.clone(), flip(&nodes, &name, status).await?)) }
    };
    futures::stream::iter(names.iter().cloned().map(write))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

/// One heartbeat of every node, by so many workers.
///
/// # Errors
/// What the API server says.
pub async fn beat_all(cluster: &Cluster, names: &[String], workers: usize) -> anyhow::Result<()> {
    let nodes = cluster.nodes();
    let write = |name: &String| {
        let (nodes, name) = (nodes.clone(), name.clone());
        async move {
            let parameters = PatchParams::default();
            nodes.patch_status(&name, &parameters, &heartbeat()).await?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(names.iter().map(write))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

/// Watches until every node carries the guide's taint, or none does. When each was seen so first.
///
/// # Errors
/// The nodes cannot be listed.
pub async fn until_all(
    cluster: &Cluster,
    count: usize,
    tainted: bool,
) -> anyhow::Result<JoinHandle<anyhow::Result<HashMap<String, Instant>>>> {
    // The slim node: who decodes images falls behind, and the API server ends the watch of a client
    // that does. It may all the same: then it is begun again.
    let nodes = Api::<api::Node>::all(cluster.client.clone());
    let version = nodes
        .list(&Default::default())
        .await?
        .metadata
        .resource_version;
    Ok(tokio::spawn(async move {
        let mut version = version.context("a list has a version")?;
        let mut reached = HashMap::new();
        while reached.len() < count {
            let mut events = nodes
                .watch(&WatchParams::default(), &version)
                .await?
                .boxed();
            while let Some(WatchEvent::Added(node) | WatchEvent::Modified(node)) =
                events.try_next().await?
            {
                version = node.metadata.resource_version.clone().unwrap_or(version);
                let mut taints = node.facts.taints.iter();
                if taints.any(|taint| taint.key == GUIDE_TAINT) == tainted {
                    let now = Instant::now();
                    reached.entry(node.facts.name.clone()).or_insert(now);
                }
                if reached.len() == count {
                    break;
                }
            }
        }
        Ok(reached)
    }))
}

/// What a client does that decides nothing, for each node: one JSON patch that puts the guide's taint
/// on or takes it off, with its tests, and one event per rule; before that, if `flips` says so, the
/// condition.
///
/// # Errors
/// What the API server says.
pub async fn floor(
    cluster: &Cluster,
    rules: usize,
    workers: usize,
    taints: bool,
    flips: Option<&'static str>,
) -> anyhow::Result<()> {
    let nodes = cluster.nodes();
    // Slim: the patches need no images.
    let all = Api::<api::Node>::all(cluster.client.clone());
    let all = all.list(&Default::default()).await?;
    let write = |node: api::Node| {
        let (nodes, client) = (nodes.clone(), cluster.client.clone());
        async move {
            let name = node.facts.name.clone();
            if let Some(status) = flips {
                flip(&nodes, &name, status).await?;
            }
            let change = if taints {
                json!({ "op": "add", "path": "/spec/taints", "value": [{ "key": GUIDE_TAINT, "effect": "NoSchedule" }] })
            } else {
                json!({ "op": "remove", "path": "/spec/taints" })
            };
            let patch: json_patch::Patch = serde_json::from_value(json!([
                { "op": "test", "path": "/metadata/uid", "value": node.facts.uid },
                { "op": "test", "path": "/spec/taints", "value": node.taints() },
                change,
            ]))?;
            nodes
                .patch_metadata(&name, &PatchParams::default(), &Patch::Json::<()>(patch))
                .await?;
            for rule in 0..rules {
                event(&client, &name, &format!("{taints}-{rule}")).await?;
            }
            anyhow::Ok(())
        }
    };
    futures::stream::iter(all.items.into_iter().map(write))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

async fn event(client: &Client, node: &str, suffix: &str) -> anyhow::Result<()> {
    let resource = ApiResource::erase::<k8s_openapi::api::events::v1::Event>(&());
    let events = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &resource);
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": format!("{node}.floor-{suffix}"), "namespace": "default" },
        "eventTime": format!("{:.6}", Timestamp::now()), "type": "Normal", "reason": "TaintAdded", "action": "AddTaint",
        "note": "Taint added", "regarding": { "apiVersion": "v1", "kind": "Node", "name": node },
        "reportingController": "plain-client", "reportingInstance": "plain-client",
    });
    events
        .create(&PostParams::default(), &serde_json::from_value(event)?)
        .await?;
    Ok(())
}

/// Counts writes by what the API server itself counted.
pub struct Counter {
    client: Client,
}

impl Counter {
    /// Of this cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            client: cluster.client.clone(),
        }
    }

    /// By kind: `PATCH nodes`, `PATCH nodes refused`, `PATCH nodereadinessrules/status`, `POST events`.
    ///
    /// # Errors
    /// The metrics cannot be read.
    pub async fn read(&self) -> anyhow::Result<HashMap<String, u64>> {
        let text = self
            .client
            .request_text(http::Request::get("/metrics").body(vec![])?)
            .await?;
        let mut counts = HashMap::new();
        for line in text
            .lines()
            .filter_map(|line| line.strip_prefix("apiserver_request_total{"))
        {
            let (labels, value) = line.rsplit_once("} ").context("not a metric")?;
            let label = |name: &str| {
                let found = labels
                    .split(',')
                    .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
                found.unwrap_or_default().trim_end_matches('"').to_owned()
            };
            let (verb, resource, part) = (label("verb"), label("resource"), label("subresource"));
            let part = if part.is_empty() {
                part
            } else {
                format!("/{part}")
            };
            let refused = if label("code").starts_with('2') {
                ""
            } else {
                " refused"
            };
            let count: f64 = value.parse()?;
            *counts
                .entry(format!("{verb} {resource}{part}{refused}"))
                .or_default() += count as u64;
        }
        Ok(counts)
    }
}

/// The value below which so many percent of the sorted values lie.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
