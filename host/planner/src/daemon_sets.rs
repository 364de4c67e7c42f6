//! The DaemonSets whose pods should run on a node, and whether they do: the host side of `wit/daemonsets.wit`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Texts;
use crate::pods::{Controller, Label, Pod, Uid, all_of, any_ready};
use crate::question::Answer;

/// A DaemonSet, as little of it as a policy can ask about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonSet {
    /// `metadata.namespace`
    pub namespace: Box<str>,
    /// `metadata.name`
    pub name: Box<str>,
    /// `metadata.uid`; none in what was written by hand.
    pub uid: Option<Uid>,
    /// `metadata.labels`
    pub labels: Texts,
}

/// Those that should run a pod on one node. A clone is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonSets(Arc<[Arc<DaemonSet>]>);

impl FromIterator<Arc<DaemonSet>> for DaemonSets {
    fn from_iter<I: IntoIterator<Item = Arc<DaemonSet>>>(sets: I) -> Self {
        Self(sets.into_iter().collect())
    }
}

/// Which DaemonSets a policy asks about: those that are all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DaemonSetSelection {
    /// None: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that a DaemonSet has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

impl DaemonSetSelection {
    fn selects(&self, set: &DaemonSet) -> bool {
        let has = |label: &Label| set.labels.get(&label.key) == Some(&label.value);
        let namespace = self.namespace.as_deref();
        namespace.is_none_or(|wanted| *wanted == *set.namespace) && self.labels.iter().all(has)
    }

    fn of<'a>(&'a self, sets: &'a DaemonSets) -> impl Iterator<Item = &'a DaemonSet> {
        let sets = sets.0.iter().map(|set| &**set);
        sets.filter(|set| self.selects(set))
    }

    /// `has-daemon-set`
    pub(crate) fn any(&self, sets: &DaemonSets) -> (Answer, Option<Timestamp>) {
        (Answer::Bool(self.of(sets).next().is_some()), None)
    }

    /// `all-daemon-set-pods-ready`
    pub(crate) fn all_pods_ready(
        &self,
        sets: &DaemonSets,
        pods: &[Pod],
        at_least: Duration,
        now: Timestamp,
    ) -> (Answer, Option<Timestamp>) {
        let ready = |set: &DaemonSet| {
            let pods = pods.iter();
            let own = pods.filter(|pod| !pod.phase.has_ended() && set.keeps(pod));
            any_ready(own, at_least, now)
        };
        all_of(self.of(sets).map(ready))
    }
}

impl DaemonSet {
    /// Is it the one that made this pod and keeps it? One that was deleted, and made anew by the same name, is another:
    /// the pods of the old one will go.
    fn keeps(&self, pod: &Pod) -> bool {
        let kin = &*pod.kin;
        let is_own =
            |kept_by: &Controller| kept_by.kind == "DaemonSet" && *kept_by.name == *self.name;
        let uids = self.uid.zip(kin.daemon_set.as_deref().copied());
        kin.namespace == self.namespace
            && kin.controller.as_deref().is_some_and(is_own)
            && uids.is_none_or(|(own, of_pod)| own == of_pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::{Kin, Phase, Ready};
    use crate::question::Question;
    use crate::related::Related;

    const MINUTE: Duration = Duration::from_secs(60);

    fn set(namespace: &str, name: &str, tier: &str) -> Arc<DaemonSet> {
        Arc::new(DaemonSet {
            namespace: namespace.into(),
            name: name.into(),
            uid: None,
            labels: [("tier", tier), ("app", name)].into(),
        })
    }

    fn pod(namespace: &str, kind: &str, name: &str, ready: Ready) -> Pod {
        let controller = Controller {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        Pod {
            id: [0, 0],
            kin: Arc::new(Kin {
                namespace: namespace.into(),
                controller: Some(Box::new(controller)),
                ..Kin::default()
            }),
            phase: Phase::Running,
            ready,
        }
    }

    fn by(namespace: Option<&str>, labels: &[(&str, &str)]) -> DaemonSetSelection {
        let label = |(key, value): &(&str, &str)| Label {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        DaemonSetSelection {
            namespace: namespace.map(str::to_owned),
            labels: labels.iter().map(label).collect(),
        }
    }

    #[test]
    fn a_daemon_set_is_meant_if_it_is_all_that_is_given() {
        let sets: DaemonSets = [set("kube-system", "cni", "node")].into_iter().collect();
        let any = |namespace, labels: &[(&str, &str)]| {
            by(namespace, labels).any(&sets) == (Answer::Bool(true), None)
        };
        assert!(any(None, &[]) && any(Some("kube-system"), &[("tier", "node"), ("app", "cni")]));
        assert!(!any(Some("default"), &[]) && !any(None, &[("tier", "node"), ("app", "csi")]));
        let none = DaemonSets::default();
        assert_eq!(by(None, &[]).any(&none), (Answer::Bool(false), None));
    }

    /// At second 100, of DaemonSets `cni` and `csi`: is each Ready, and when does time alone change that?
    fn all(sets: &[Arc<DaemonSet>], pods: &[Pod]) -> (bool, Option<i64>) {
        let sets = sets.iter().cloned().collect();
        let now = Timestamp::from_second(100).unwrap();
        let node = by(Some("kube-system"), &[("tier", "node")]);
        let (answer, until) = node.all_pods_ready(&sets, pods, MINUTE, now);
        (
            answer == Answer::Bool(true),
            until.map(Timestamp::as_second),
        )
    }

    #[test]
    fn each_needs_one_pod_that_has_been_ready_for_long_enough() {
        let [cni, csi] = ["cni", "csi"].map(|name| set("kube-system", name, "node"));
        let of = |name, ready| pod("kube-system", "DaemonSet", name, ready);
        let old = Ready::Since(40);
        assert_eq!(
            all(&[], &[of("cni", old)]),
            (false, None),
            "none should run"
        );
        let one = [cni.clone()];
        assert_eq!(all(&one, &[]), (false, None));
        assert_eq!(all(&one, &[of("cni", Ready::No)]), (false, None));
        assert_eq!(all(&one, &[of("cni", old)]), (true, None));
        // A second pod, as while one takes the place of another, does not spoil it.
        let [new, both_old] = [of("cni", Ready::No), of("cni", old)];
        assert_eq!(all(&one, &[new, both_old]), (true, None));
        let two = [cni.clone(), csi];
        assert_eq!(all(&two, &[of("cni", old)]), (false, None));
        assert_eq!(all(&two, &[of("cni", old), of("csi", old)]), (true, None));
        // The last counts, of each its first.
        let young = [
            of("cni", Ready::Since(50)),
            of("csi", Ready::Since(90)),
            of("csi", Ready::Since(70)),
        ];
        assert_eq!(all(&two, &young), (false, Some(130)));
        // What is not asked about is nobody's business.
        let others = [
            cni,
            set("kube-system", "log", "app"),
            set("a", "cni", "node"),
        ];
        assert_eq!(all(&others, &[of("cni", old)]), (true, None));
    }

    #[test]
    fn what_is_not_known_is_no_answer() {
        let questions = [
            Question::HasDaemonSet {
                daemon_sets: Box::default(),
            },
            Question::AllDaemonSetPodsReady {
                daemon_sets: Box::default(),
                at_least: MINUTE,
            },
        ];
        let pods_unknown = Related {
            pods: None,
            ..Related::nothing()
        };
        let sets_unknown = Related {
            daemon_sets: None,
            ..Related::nothing()
        };
        for question in &questions {
            let answer = |related: &Related| related.answer(question, Timestamp::UNIX_EPOCH);
            assert_eq!(
                answer(&Related::nothing()),
                Some((Answer::Bool(false), None))
            );
            assert_eq!(answer(&pods_unknown), Some((Answer::Text(None), None)));
            assert_eq!(answer(&sets_unknown), Some((Answer::Text(None), None)));
        }
    }

    #[test]
    fn a_pod_counts_for_the_daemon_set_that_keeps_it_until_it_has_ended() {
        let sets = [set("kube-system", "cni", "node")];
        let ready = Ready::Since(0);
        let mut ended = pod("kube-system", "DaemonSet", "cni", ready);
        ended.phase = Phase::Failed;
        let mut nobodys = pod("kube-system", "DaemonSet", "cni", ready);
        nobodys.kin = Arc::new(Kin {
            controller: None,
            ..Kin::clone(&nobodys.kin)
        });
        for other in [
            ended,
            nobodys,
            pod("kube-system", "ReplicaSet", "cni", ready),
            pod("kube-system", "DaemonSet", "csi", ready),
            pod("default", "DaemonSet", "cni", ready),
        ] {
            assert_eq!(all(&sets, std::slice::from_ref(&other)), (false, None));
        }
    }

    #[test]
    fn a_pod_of_one_by_the_same_name_that_was_deleted_does_not_count() {
        let of_set = |uid| {
            let set = set("kube-system", "cni", "node");
            Arc::new(DaemonSet {
                uid,
                ..DaemonSet::clone(&set)
            })
        };
        let of_pod = |uid: Option<Uid>| {
            let mut pod = pod("kube-system", "DaemonSet", "cni", Ready::Since(0));
            Arc::make_mut(&mut pod.kin).daemon_set = uid.map(Box::new);
            pod
        };
        let (old, new) = (Some([0, 1]), Some([0, 2]));
        for (set, pod, expected) in [
            (new, old, false),
            (new, new, true),
            // What is written by hand says no UID, and the name decides.
            (None, old, true),
            (new, None, true),
        ] {
            let (is_ready, _) = all(&[of_set(set)], &[of_pod(pod)]);
            assert_eq!(is_ready, expected, "{set:?} {pod:?}");
        }
        // Beside the pod that goes there may be the new one already.
        let both = [of_pod(old), of_pod(new)];
        assert_eq!(all(&[of_set(new)], &both), (true, None));
    }
}
