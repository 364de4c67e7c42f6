//! All DaemonSets, as little of each as says on which nodes its pods should run.

use std::collections::HashMap;
use std::sync::Arc;

use api::daemon_set::Placed;
use planner::facts::Node;
use planner::rule::TaintPrefixes;

/// By namespace and name.
pub(super) type Key = (Box<str>, Box<str>);

/// There are few of them, and they belong to no single node.
#[derive(Debug, Default)]
pub(super) struct DaemonSets(HashMap<Key, Arc<Placed>>);

impl FromIterator<Arc<Placed>> for DaemonSets {
    fn from_iter<I: IntoIterator<Item = Arc<Placed>>>(sets: I) -> Self {
        Self(sets.into_iter().map(|set| (key(&set), set)).collect())
    }
}

fn key(set: &Placed) -> Key {
    (set.facts.namespace.clone(), set.facts.name.clone())
}

impl DaemonSets {
    /// Those that should run a pod on this node.
    pub(super) fn of(
        &self,
        node: &Node,
        prefixes: &TaintPrefixes,
    ) -> planner::daemon_sets::DaemonSets {
        let sets = self.0.values();
        let here = sets.filter(|set| set.should_run_on(node, prefixes));
        here.map(|set| Arc::clone(&set.facts)).collect()
    }

    /// Is this one known as it is? Where none is there: is none known?
    pub(super) fn has(&self, set: &Arc<Placed>, is_there: bool) -> bool {
        self.0.get(&key(set)) == is_there.then_some(set)
    }

    /// Takes one as it is now, or away.
    pub(super) fn apply(&mut self, set: Arc<Placed>, is_there: bool) {
        let key = key(&set);
        if is_there {
            self.0.insert(key, set);
        } else {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(name: &str, disk: &str, image: &str) -> Arc<Placed> {
        let set: api::DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"template": {"spec": {"nodeSelector": {"disk": disk}, "containers": [{"image": image}]}}}}))
        .unwrap();
        set.placed
    }

    #[test]
    fn a_node_has_those_that_should_run_on_it_and_a_rollout_is_no_news() {
        let node = Node {
            labels: [("disk", "ssd")].into(),
            ..Node::default()
        };
        let of = |sets: &DaemonSets| sets.of(&node, &TaintPrefixes::default());
        let only = |set: &Arc<Placed>| [Arc::clone(&set.facts)].into_iter().collect();
        let (here, elsewhere) = (set("a", "ssd", "1"), set("b", "hdd", "1"));
        let mut sets: DaemonSets = [here.clone(), elsewhere.clone()].into_iter().collect();
        assert_eq!(of(&sets), only(&here));
        assert!(sets.has(&set("a", "ssd", "2"), true));
        assert!(!sets.has(&set("a", "hdd", "1"), true) && !sets.has(&here, false));
        assert!(!sets.has(&set("c", "ssd", "1"), true) && sets.has(&set("c", "ssd", "1"), false));
        sets.apply(here, false);
        assert_eq!(of(&sets), [].into_iter().collect());
        let moved = set("b", "ssd", "1");
        sets.apply(moved.clone(), true);
        assert_eq!(of(&sets), only(&moved));
    }
}
