//! The pods on a node, as little of each as a policy can ask about: the host side of `wit/pods.wit`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Texts;
use crate::question::{Answer, lasted};

/// A pod that is bound to a node, and is not being deleted. There may be a hundred thousand of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Tells it from others: its UID, or something as good where it has none.
    pub id: Uid,
    /// What it has in common with others.
    pub kin: Arc<Kin>,
    /// `status.phase`
    pub phase: Phase,
    /// Its condition `Ready`.
    pub ready: Ready,
}

/// A UID as a number.
pub type Uid = [u64; 2];

/// What the pods of one template have in common. Shared by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Kin {
    /// `metadata.namespace`
    pub namespace: Box<str>,
    /// Who keeps it.
    pub controller: Option<Box<Controller>>,
    /// The UID of the DaemonSet that keeps it; none where another object does, or no UID is given. In a box of its own, so that
    /// pods that share nothing do not pay for it.
    pub daemon_set: Option<Box<Uid>>,
    /// `metadata.labels`
    pub labels: Texts,
}

/// The object that made a pod and keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Controller {
    /// Such as `DaemonSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `status.phase`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Not every container runs, or ran, yet.
    Pending,
    /// Bound, and all containers were made.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Anything else.
    #[default]
    Unknown,
}

impl Phase {
    /// From the API's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// Does it never run again?
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Is a pod Ready, and since when?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ready {
    /// It is not.
    #[default]
    No,
    /// It is, and does not say since when.
    Yes,
    /// It is, since this second after 1970-01-01T00:00:00Z.
    Since(i64),
}

/// Which pods a policy asks about: those that are all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodSelection {
    /// None: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// None: any, or nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// Labels that a pod has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

/// A label with its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl PodSelection {
    /// Is this pod meant?
    pub fn selects(&self, pod: &Pod) -> bool {
        let Kin {
            namespace,
            controller,
            labels,
            ..
        } = &*pod.kin;
        let fits = |wanted: &Controller| controller.as_deref() == Some(wanted);
        self.namespace
            .as_deref()
            .is_none_or(|wanted| *wanted == **namespace)
            && self.controller.as_ref().is_none_or(fits)
            && self
                .labels
                .iter()
                .all(|label| labels.get(&label.key) == Some(&label.value))
    }

    /// Those of a node's pods that are meant and have not ended.
    fn running<'a>(&'a self, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
        pods.iter()
            .filter(|pod| !pod.phase.has_ended() && self.selects(pod))
    }

    /// `has-pod`
    pub(crate) fn any(&self, pods: &[Pod]) -> (Answer, Option<Timestamp>) {
        (Answer::Bool(self.running(pods).next().is_some()), None)
    }

    /// `has-pod-in-phase`
    pub(crate) fn any_in(&self, pods: &[Pod], phase: Phase) -> (Answer, Option<Timestamp>) {
        let mut pods = pods.iter();
        let found = pods.any(|pod| pod.phase == phase && self.selects(pod));
        (Answer::Bool(found), None)
    }

    /// `has-ready-pod`
    pub(crate) fn any_ready(
        &self,
        pods: &[Pod],
        at_least: Duration,
        now: Timestamp,
    ) -> (Answer, Option<Timestamp>) {
        any_ready(self.running(pods), at_least, now)
    }

    /// `all-pods-ready`
    pub(crate) fn all_ready(
        &self,
        pods: &[Pod],
        at_least: Duration,
        now: Timestamp,
    ) -> (Answer, Option<Timestamp>) {
        let pods = self.running(pods);
        all_of(pods.map(|pod| pod.ready.lasted(at_least, now)))
    }
}

/// Has one of these been Ready for so long?
pub(crate) fn any_ready<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    at_least: Duration,
    now: Timestamp,
) -> (Answer, Option<Timestamp>) {
    let mut first = None;
    for pod in pods {
        match pod.ready.lasted(at_least, now) {
            yes @ (Answer::Bool(true), _) => return yes,
            (_, until) => first = until.into_iter().chain(first).min(),
        }
    }
    (Answer::Bool(false), first)
}

/// Is there one, and is each of them so?
pub(crate) fn all_of(
    each: impl Iterator<Item = (Answer, Option<Timestamp>)>,
) -> (Answer, Option<Timestamp>) {
    let mut found = false;
    let mut last = None;
    for answer in each {
        found = true;
        match answer {
            (Answer::Bool(true), _) => {}
            // Time alone does not do.
            (_, None) => return (Answer::Bool(false), None),
            (_, until) => last = last.max(until),
        }
    }
    (Answer::Bool(found && last.is_none()), last)
}

impl Ready {
    fn lasted(self, at_least: Duration, now: Timestamp) -> (Answer, Option<Timestamp>) {
        match self {
            Self::No => (Answer::Bool(false), None),
            Self::Yes => lasted(None, at_least, now),
            Self::Since(second) => lasted(Timestamp::from_second(second).ok(), at_least, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(namespace: &str, set: &str, ready: Ready) -> Pod {
        let controller = Controller {
            kind: "DaemonSet".to_owned(),
            name: set.to_owned(),
        };
        Pod {
            id: [0, 0],
            kin: Arc::new(Kin {
                namespace: namespace.into(),
                controller: Some(Box::new(controller)),
                daemon_set: None,
                labels: [("app", set), ("tier", "node")].into(),
            }),
            phase: Phase::Running,
            ready,
        }
    }

    fn labelled(labels: &[(&str, &str)]) -> PodSelection {
        let label = |(key, value): &(&str, &str)| Label {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        PodSelection {
            labels: labels.iter().map(label).collect(),
            ..PodSelection::default()
        }
    }

    #[test]
    fn a_pod_is_meant_if_it_is_all_that_is_given() {
        let cni = pod("kube-system", "cni", Ready::No);
        let by = |namespace: Option<&str>, kind: Option<&str>, labels: &[(&str, &str)]| {
            let selection = PodSelection {
                namespace: namespace.map(str::to_owned),
                controller: kind.map(|kind| Controller {
                    kind: kind.to_owned(),
                    name: "cni".to_owned(),
                }),
                ..labelled(labels)
            };
            selection.selects(&cni)
        };
        assert!(by(None, None, &[]));
        assert!(by(
            Some("kube-system"),
            Some("DaemonSet"),
            &[("app", "cni"), ("tier", "node")]
        ));
        assert!(!by(Some("default"), None, &[]));
        assert!(!by(None, Some("ReplicaSet"), &[]));
        assert!(!by(None, None, &[("app", "cni"), ("tier", "all")]));
        assert!(!by(None, None, &[("role", "")]));
        // One key cannot have two values.
        assert!(!by(None, None, &[("app", "cni"), ("app", "csi")]));
    }

    #[test]
    fn one_ready_pod_will_do_or_each_has_to_be() {
        let tier = labelled(&[("tier", "node")]);
        let minute = Duration::from_secs(60);
        let ask = |ready: &[Ready], now: i64| {
            let pods: Vec<_> = ready.iter().map(|ready| pod("n", "a", *ready)).collect();
            let (any, any_until) = tier.any_ready(&pods, minute, at(now));
            let (all, all_until) = tier.all_ready(&pods, minute, at(now));
            let second = |until: Option<Timestamp>| until.map(Timestamp::as_second);
            [(any, second(any_until)), (all, second(all_until))]
        };
        let (yes, no) = (Answer::Bool(true), Answer::Bool(false));
        let both = |answer: &Answer, until| [(answer.clone(), until), (answer.clone(), until)];
        assert_eq!(ask(&[], 100), both(&no, None));
        assert_eq!(ask(&[Ready::No], 100), both(&no, None));
        assert_eq!(ask(&[Ready::Yes], 100), both(&no, None));
        assert_eq!(ask(&[Ready::Since(50)], 100), both(&no, Some(110)));
        assert_eq!(ask(&[Ready::Since(40)], 100), both(&yes, None));
        // The earliest will do, and the latest has to, in whatever order they come.
        let turned = [Ready::Since(70), Ready::Since(50)];
        assert_eq!(
            ask(&turned, 100),
            [(no.clone(), Some(110)), (no.clone(), Some(130))]
        );
        let two = [Ready::Since(50), Ready::Since(70)];
        assert_eq!(
            ask(&two, 100),
            [(no.clone(), Some(110)), (no.clone(), Some(130))]
        );
        assert_eq!(
            ask(&two, 110),
            [(yes.clone(), None), (no.clone(), Some(130))]
        );
        let dead = [Ready::Since(0), Ready::No, Ready::Since(90)];
        assert_eq!(ask(&dead, 100), [(yes, None), (no, None)]);
    }

    #[test]
    fn a_pod_that_has_ended_is_seen_by_its_phase_alone() {
        let mut done = pod("n", "job", Ready::Yes);
        done.phase = Phase::Succeeded;
        let (pods, every) = ([done], PodSelection::default());
        let no = (Answer::Bool(false), None);
        assert_eq!(every.any(&pods), no);
        assert_eq!(every.any_ready(&pods, Duration::ZERO, at(0)), no);
        assert_eq!(every.all_ready(&pods, Duration::ZERO, at(0)), no);
        assert_eq!(every.any_in(&pods, Phase::Succeeded).0, Answer::Bool(true));
        assert_eq!(every.any_in(&pods, Phase::Running).0, Answer::Bool(false));
    }
}
