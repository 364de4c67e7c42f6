//! What the API server stored of a node, version by version.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use cluster_tests::wait;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// Every version of a node since this was begun, by one watch: what happened between two looks is in it.
pub struct History {
    nodes: Api<Node>,
    name: String,
    seen: Arc<Mutex<Vec<Node>>>,
    watch: JoinHandle<anyhow::Result<()>>,
}

impl History {
    /// Begins with the node as it is, if it is there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn of_node(client: Client, name: &str) -> anyhow::Result<Self> {
        let nodes = Api::<Node>::all(client);
        let field = format!("metadata.name={name}");
        let listed = nodes.list(&ListParams::default().fields(&field)).await?;
        let version = listed
            .metadata
            .resource_version
            .context("a list has a version")?;
        let seen = Arc::new(Mutex::new(listed.items));
        let watched = Arc::clone(&seen);
        let parameters = WatchParams::default().fields(&field);
        let watch = tokio::spawn(follow(nodes.clone(), parameters, version, move |node| {
            let mut versions = watched.lock().unwrap_or_else(PoisonError::into_inner);
            versions.push(node);
        }));
        Ok(Self {
            nodes,
            name: name.to_owned(),
            seen,
            watch,
        })
    }

    /// The versions until the one that the API server has now.
    ///
    /// # Errors
    /// The node is gone, or the watch is over.
    pub async fn until_now(&self) -> anyhow::Result<Vec<Node>> {
        let newest = self.nodes.get(&self.name).await?.resource_version();
        // A watch may be a moment behind.
        self.until("the version of now", |node| {
            node.resource_version() == newest
        })
        .await
    }

    /// Waits until there was a version as wanted; all until then.
    ///
    /// # Errors
    /// There was none within a minute, or the watch is over.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&Node) -> bool,
    ) -> anyhow::Result<Vec<Node>> {
        wait::until(what, || async {
            if self.watch.is_finished() {
                bail!("the watch of node {} is over", self.name);
            }
            let versions = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(match versions.iter().position(&wanted) {
                Some(index) => Ok(versions[..=index].to_vec()),
                None => Err(format!("{} versions without it", versions.len())),
            })
        })
        .await
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Calls this for each version of each object that comes after one. It ends with an error, or never.
///
/// # Errors
/// What the API server says.
pub async fn follow<K>(
    objects: Api<K>,
    parameters: WatchParams,
    mut version: String,
    mut each: impl FnMut(K),
) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    // A watch is ended after some minutes, and begun again where it was.
    loop {
        let mut events = objects.watch(&parameters, &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or(version);
                    each(object);
                }
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => bail!("the watch failed: {error:?}"),
            }
        }
    }
}
