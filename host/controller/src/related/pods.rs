//! The pods of all nodes, as small as they can be kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use planner::pods::{Kin, Pod};

/// By the name of their node.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_node: HashMap<Box<str>, Arc<[Pod]>>,
    kin: Shapes,
}

/// What pods have in common, each once.
#[derive(Debug, Default)]
struct Shapes {
    known: HashSet<Arc<Kin>>,
    /// How many there were when those were last let go that no pod has any more.
    kept: usize,
}

/// All pods, while they are being listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    by_node: HashMap<Box<str>, Vec<Pod>>,
    kin: Shapes,
}

impl Pods {
    /// Those of a node.
    pub(super) fn of(&self, node: &str) -> Arc<[Pod]> {
        self.by_node.get(node).cloned().unwrap_or_default()
    }

    /// Takes a pod as it is now, or away. False: it is as it was.
    pub(super) fn apply(&mut self, node: &str, mut pod: Pod, is_there: bool) -> bool {
        let before = self.by_node.get(node).map(|pods| &**pods);
        let before = before.unwrap_or_default();
        let known = before.iter().find(|known| known.id == pod.id);
        if known == is_there.then_some(&pod) {
            return false;
        }
        let id = pod.id;
        let others = before.iter().filter(|known| known.id != id).cloned();
        let after: Arc<[Pod]> = if is_there {
            pod.kin = self.kin.share(pod.kin);
            others.chain([pod]).collect()
        } else {
            others.collect()
        };
        if after.is_empty() {
            self.by_node.remove(node);
        } else if let Some(known) = self.by_node.get_mut(node) {
            *known = after;
        } else {
            self.by_node.insert(node.into(), after);
        }
        true
    }

    /// The names of nodes with pods.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }
}

impl Listed {
    pub(super) fn add(&mut self, node: &str, mut pod: Pod) {
        pod.kin = self.kin.share(pod.kin);
        match self.by_node.get_mut(node) {
            Some(pods) => pods.push(pod),
            None => {
                self.by_node.insert(node.into(), vec![pod]);
            }
        }
    }

    pub(super) fn finish(self) -> Pods {
        let by_node = self.by_node.into_iter();
        Pods {
            by_node: by_node.map(|(node, pods)| (node, pods.into())).collect(),
            kin: self.kin,
        }
    }
}

impl Shapes {
    fn share(&mut self, kin: Arc<Kin>) -> Arc<Kin> {
        if let Some(known) = self.known.get(&kin) {
            return Arc::clone(known);
        }
        if self.known.len() > 64 + 2 * self.kept {
            self.known.retain(|kin| Arc::strong_count(kin) > 1);
            self.kept = self.known.len();
        }
        self.known.insert(Arc::clone(&kin));
        kin
    }
}

#[cfg(test)]
mod tests {
    use planner::pods::{Phase, Ready};

    use super::*;

    fn pod(id: u64, app: &str) -> Pod {
        Pod {
            id: [0, id],
            kin: Arc::new(Kin {
                labels: [("app", app)].into(),
                ..Kin::default()
            }),
            phase: Phase::Running,
            ready: Ready::No,
        }
    }

    #[test]
    fn a_node_has_the_pods_that_are_there_and_alike_ones_share_what_they_have_in_common() {
        let mut listed = Listed::default();
        listed.add("a", pod(1, "cni"));
        listed.add("b", pod(2, "cni"));
        let mut pods = listed.finish();
        assert!(Arc::ptr_eq(&pods.of("a")[0].kin, &pods.of("b")[0].kin));
        let ready = Pod {
            ready: Ready::Since(7),
            ..pod(1, "cni")
        };
        assert!(!pods.apply("a", pod(1, "cni"), true), "it is as it was");
        assert!(pods.apply("a", ready.clone(), true));
        assert_eq!(pods.of("a").to_vec(), vec![ready.clone()]);
        assert!(Arc::ptr_eq(&pods.of("a")[0].kin, &pods.of("b")[0].kin));
        assert!(pods.apply("a", pod(3, "csi"), true));
        assert!(!pods.apply("a", pod(4, "csi"), false), "it never was there");
        assert!(pods.apply("a", ready, false) && pods.apply("a", pod(3, "csi"), false));
        assert_eq!((pods.of("a").len(), pods.len()), (0, 1));
    }

    #[test]
    fn what_no_pod_has_any_more_is_let_go() {
        let mut pods = Pods::default();
        for number in 0..10_000_u64 {
            assert!(pods.apply("a", pod(number, &number.to_string()), true));
            assert!(pods.apply("a", pod(number, ""), false));
        }
        assert!(pods.kin.known.len() < 100, "{}", pods.kin.known.len());
    }
}
