//! What happened to all nodes and pods, in one order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use cluster_tests::{GUIDE_TAINT, wait};
use guide_tests::{follow, node_of, taint_keys};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// What is kept of each version of an object: its resource version, its name, and this.
type Versions<T> = Arc<Mutex<Vec<(u64, String, T)>>>;

/// All nodes and pods since it was begun. Resource versions are those of one etcd, which counts all of
/// its writes: so they say what was before what.
pub struct Timeline {
    /// Is the node held?
    nodes: Versions<bool>,
    /// The node that the pod is bound to.
    pods: Versions<Option<String>>,
    watches: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// A pod was bound to a node.
#[derive(Debug)]
pub struct Binding {
    /// The node.
    pub node: String,
    /// Was it held in that moment?
    pub held: bool,
}

impl Timeline {
    /// Begins now.
    pub async fn begin(client: &Client) -> anyhow::Result<Self> {
        let (nodes, pods) = (Versions::default(), Versions::default());
        let held = |node: &Node| taint_keys(node).iter().any(|key| key == GUIDE_TAINT);
        let watches = vec![
            watch(Api::<Node>::all(client.clone()), Arc::clone(&nodes), held).await?,
            watch(Api::<Pod>::all(client.clone()), Arc::clone(&pods), node_of).await?,
        ];
        Ok(Self {
            nodes,
            pods,
            watches,
        })
    }

    /// The bindings of all pods, once there are so many.
    pub async fn bindings(&self, count: usize) -> anyhow::Result<Vec<Binding>> {
        let what = format!("{count} bindings were seen");
        wait::until_within(Duration::from_secs(60), &what, || async {
            let bindings = self.bindings_until_now()?;
            Ok(if bindings.len() == count {
                Ok(bindings)
            } else {
                Err(bindings.len().to_string())
            })
        })
        .await
    }

    fn bindings_until_now(&self) -> anyhow::Result<Vec<Binding>> {
        let (nodes, pods) = (self.read(&self.nodes)?, self.read(&self.pods)?);
        let mut bound = BTreeMap::new();
        for (version, pod, node) in pods {
            if let Some(node) = node {
                bound.entry(pod).or_insert((version, node));
            }
        }
        let bindings = bound.into_values().map(|(at, node)| {
            let before = nodes
                .iter()
                .filter(|(version, name, _)| *version < at && *name == node);
            let (_, _, held) = before
                .max_by_key(|(version, ..)| *version)
                .context("no such node")?;
            Ok(Binding { held: *held, node })
        });
        bindings.collect()
    }

    /// The names of all nodes, and of those that were held in their first version.
    pub fn born_held(&self) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
        let mut first = BTreeMap::new();
        for (_, name, held) in self.read(&self.nodes)? {
            first.entry(name).or_insert(held);
        }
        let all = first.keys().cloned().collect();
        let held = first.into_iter().filter(|(_, held)| *held);
        Ok((all, held.map(|(name, _)| name).collect()))
    }

    /// In the order of their versions.
    fn read<T: Clone>(&self, versions: &Versions<T>) -> anyhow::Result<Vec<(u64, String, T)>> {
        if self.watches.iter().any(JoinHandle::is_finished) {
            bail!("a watch is over");
        }
        let mut versions = versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        versions.sort_by_key(|(version, ..)| *version);
        Ok(versions)
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

async fn watch<K, T>(
    api: Api<K>,
    versions: Versions<T>,
    keep: fn(&K) -> T,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let listed = api.list(&Default::default()).await?;
    let last = listed
        .metadata
        .resource_version
        .context("a list has a version")?;
    let parameters = WatchParams::default();
    Ok(tokio::spawn(follow(api, parameters, last, move |object| {
        let version = object.resource_version().unwrap_or_default();
        // Those of etcd are numbers.
        let kept = (
            version.parse().unwrap_or(0),
            object.name_any(),
            keep(&object),
        );
        versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(kept);
    })))
}
