//! The objects that are watched: where they are, which nodes each is about, and what is kept of it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use api::daemon_set::Placed;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, Resource};
use planner::csi::Drivers;
use planner::devices::Slice;
use planner::lease::Lease;
use planner::related::Kind;
use serde::de::DeserializeOwned;

use super::Inner;
use super::pods::Listed;

/// Which nodes an object is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About<'a> {
    /// It belongs to the node of this name; to none where that is empty.
    Node(&'a str),
    /// It can be any.
    Any,
}

/// An object that belongs to a node, or is about nodes.
pub(super) trait Object:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static
{
    const KIND: Kind;
    /// Whose they are, as the log says it.
    const WORDS: &'static str;
    /// By fields that no object has.
    const NONE: &'static str = "metadata.name=none";

    /// All objects while they are being listed.
    type Listed: Default + Send;

    fn api(client: Client) -> Api<Self>;

    /// Of all objects those that are about nodes.
    fn narrow(config: watcher::Config) -> watcher::Config {
        config
    }

    /// Mostly it has the name of its node.
    fn about(&self) -> About<'_> {
        About::Node(self.name())
    }

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    fn list(self, listed: &mut Self::Listed);

    /// These are all that there are.
    fn finish(listed: Self::Listed, inner: &mut Inner);

    /// Is what is kept of it another than what is known? Asked of those that are about any node, since it takes
    /// long to look at all of them.
    fn is_news(&self, inner: &Inner, is_there: bool) -> bool {
        let _ = (inner, is_there);
        true
    }

    /// Takes it as it is now, or away. False: what is kept of it is as it was.
    fn apply(self, inner: &mut Inner, is_there: bool) -> bool;
}

impl Object for api::Pod {
    const KIND: Kind = Kind::Pods;
    const WORDS: &'static str = "the pods on nodes";
    const NONE: &'static str = "metadata.name=none,metadata.namespace=none";

    type Listed = Listed;

    fn api(client: Client) -> Api<Self> {
        Api::all(client)
    }

    fn narrow(config: watcher::Config) -> watcher::Config {
        config.fields("spec.nodeName!=")
    }

    fn about(&self) -> About<'_> {
        About::Node(&self.node)
    }

    fn list(self, listed: &mut Listed) {
        if !self.terminating {
            listed.add(&self.node, self.facts);
        }
    }

    fn finish(listed: Listed, inner: &mut Inner) {
        inner.pods = listed.finish();
    }

    fn apply(self, inner: &mut Inner, is_there: bool) -> bool {
        let is_there = is_there && !self.terminating;
        inner.pods.apply(&self.node, self.facts, is_there)
    }
}

impl Object for api::NodeLease {
    const KIND: Kind = Kind::Leases;
    const WORDS: &'static str = "the leases of nodes";

    type Listed = HashMap<Box<str>, Lease>;

    fn api(client: Client) -> Api<Self> {
        Api::namespaced(client, api::lease::NODE_LEASES)
    }

    fn list(self, listed: &mut Self::Listed) {
        listed.insert(self.name().into(), Lease::renewed(self.renewed));
    }

    fn finish(listed: Self::Listed, inner: &mut Inner) {
        inner.leases = listed;
    }

    fn apply(self, inner: &mut Inner, is_there: bool) -> bool {
        let lease = is_there.then(|| Lease::renewed(self.renewed));
        put(&mut inner.leases, self.name(), lease)
    }
}

impl Object for api::CsiNode {
    const KIND: Kind = Kind::CsiNodes;
    const WORDS: &'static str = "the CSI drivers of nodes";

    type Listed = HashMap<Box<str>, Drivers>;

    fn api(client: Client) -> Api<Self> {
        Api::all(client)
    }

    fn list(self, listed: &mut Self::Listed) {
        listed.insert(self.name().into(), self.drivers);
    }

    fn finish(listed: Self::Listed, inner: &mut Inner) {
        inner.drivers = listed;
    }

    fn apply(self, inner: &mut Inner, is_there: bool) -> bool {
        let drivers = is_there.then(|| self.drivers.clone());
        put(&mut inner.drivers, self.name(), drivers)
    }
}

impl Object for api::ResourceSlice {
    const KIND: Kind = Kind::ResourceSlices;
    const WORDS: &'static str = "the devices of nodes";

    type Listed = HashMap<Box<str>, Vec<Slice>>;

    fn api(client: Client) -> Api<Self> {
        Api::all(client)
    }

    fn narrow(config: watcher::Config) -> watcher::Config {
        config.fields("spec.nodeName!=")
    }

    fn about(&self) -> About<'_> {
        About::Node(&self.node)
    }

    fn list(self, listed: &mut Self::Listed) {
        let of_node = listed.entry(self.node.into()).or_default();
        of_node.push(self.facts);
    }

    fn finish(listed: Self::Listed, inner: &mut Inner) {
        let listed = listed.into_iter();
        let slices = listed.map(|(node, slices)| (node, slices.into_iter().collect()));
        inner.slices = slices.collect();
    }

    fn apply(self, inner: &mut Inner, is_there: bool) -> bool {
        let known = inner.slices.get(&*self.node);
        let known = known.cloned().unwrap_or_default();
        let slices = match is_there {
            true => known.with(self.facts),
            false => known.without(&self.facts.name),
        };
        let slices = Some(slices).filter(|slices| !slices.is_empty());
        put(&mut inner.slices, &self.node, slices)
    }
}

impl Object for api::DaemonSet {
    const KIND: Kind = Kind::DaemonSets;
    const WORDS: &'static str = "the DaemonSets that should run on nodes";
    const NONE: &'static str = "metadata.name=none,metadata.namespace=none";

    type Listed = Vec<Arc<Placed>>;

    fn api(client: Client) -> Api<Self> {
        Api::all(client)
    }

    fn about(&self) -> About<'_> {
        About::Any
    }

    fn list(self, listed: &mut Self::Listed) {
        if !is_deleted(&self) {
            listed.push(self.placed);
        }
    }

    fn finish(listed: Self::Listed, inner: &mut Inner) {
        inner.daemon_sets = listed.into_iter().collect();
    }

    fn is_news(&self, inner: &Inner, is_there: bool) -> bool {
        !inner
            .daemon_sets
            .has(&self.placed, is_there && !is_deleted(self))
    }

    fn apply(self, inner: &mut Inner, is_there: bool) -> bool {
        let is_there = is_there && !is_deleted(&self);
        inner.daemon_sets.apply(self.placed, is_there);
        true
    }
}

/// Then it should run nowhere any more.
fn is_deleted(set: &api::DaemonSet) -> bool {
    set.metadata.deletion_timestamp.is_some()
}

/// What a map has of a node from now on. False: it had the same.
fn put<T: PartialEq>(map: &mut HashMap<Box<str>, T>, node: &str, value: Option<T>) -> bool {
    match (map.get_mut(node), value) {
        (Some(known), Some(value)) => {
            let changed = *known != value;
            *known = value;
            changed
        }
        (None, Some(value)) => map.insert(node.into(), value).is_none(),
        (Some(_), None) => map.remove(node).is_some(),
        (None, None) => false,
    }
}
