//! What the API server stored of a node, version by version.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use cluster_tests::wait;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// The status with which the API server says that it has forgotten a version.
const GONE: u16 = 410;
const NO_VERSION: &str = "a list has a version";

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
        let version = listed.metadata.resource_version.context(NO_VERSION)?;
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

/// Calls this for each version of each object that comes after one, however often the API server ends the
/// watch. Where it has forgotten that version, the objects are listed again: what they were in between is
/// lost, and their last version may come a second time. It ends with an error, or never.
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
    loop {
        let refused = match objects.watch(&parameters, &version).await {
            Ok(events) => until_ended(events, &mut version, &mut each).await?,
            Err(kube::Error::Api(status)) => Some(status),
            Err(error) => return Err(error.into()),
        };
        match refused {
            // A watch is ended after some minutes, and begun again where it was.
            None => {}
            Some(status) if status.code == GONE => {
                let listed = objects.list(&listing(&parameters)).await?;
                version = listed.metadata.resource_version.context(NO_VERSION)?;
                listed.items.into_iter().for_each(&mut each);
            }
            Some(status) => bail!("the watch failed: {status:?}"),
        }
    }
}

/// Follows one watch to its end. What is returned is why the API server ended it, if it said so.
async fn until_ended<K: Resource>(
    events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
    version: &mut String,
    each: &mut impl FnMut(K),
) -> anyhow::Result<Option<Box<Status>>> {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let seen = object.resource_version();
                each(object);
                seen
            }
            Ok(WatchEvent::Deleted(object)) => object.resource_version(),
            // Where nothing happens, this is what keeps the version from growing too old.
            Ok(WatchEvent::Bookmark(bookmark)) => Some(bookmark.metadata.resource_version),
            Ok(WatchEvent::Error(status)) => return Ok(Some(status)),
            // The connection broke.
            Err(kube::Error::ReadEvents(_)) => break,
            Err(error) => return Err(error.into()),
        };
        if let Some(seen) = seen {
            *version = seen;
        }
    }
    Ok(None)
}

/// The objects that such a watch is about.
fn listing(watched: &WatchParams) -> ListParams {
    ListParams {
        label_selector: watched.label_selector.clone(),
        field_selector: watched.field_selector.clone(),
        ..ListParams::default()
    }
}
