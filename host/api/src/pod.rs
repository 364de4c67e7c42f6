//! A core/v1 `Pod`, as little of it as a policy can ask about.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use planner::facts::Texts;
use planner::pods::{self, Controller, Kin, Phase, Ready, Uid};
use serde::{Deserialize, Deserializer};

use crate::lenient;
use crate::slim::resource;

/// A pod as it was read. It cannot be serialized: a PUT of it would wipe what was skipped.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Name, namespace and resource version.
    pub metadata: ObjectMeta,
    /// `spec.nodeName`; empty where it is not bound.
    pub node: String,
    /// Is it being deleted? Then nobody can ask about it any more.
    pub terminating: bool,
    /// What the planner knows.
    pub facts: pods::Pod,
}

resource!(Pod, NamespaceResourceScope, "", "v1", "Pod", "pods");

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        WirePod::deserialize(from).map(Self::from)
    }
}

#[derive(Deserialize)]
struct WirePod {
    metadata: WireMeta,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WireSpec,
    #[serde(default, deserialize_with = "lenient::or_default")]
    status: WireStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMeta {
    name: String,
    #[serde(default, deserialize_with = "lenient::string")]
    namespace: String,
    #[serde(default, deserialize_with = "lenient::string")]
    uid: String,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    labels: Texts,
    #[serde(default, deserialize_with = "lenient::or_default")]
    owner_references: Vec<WireOwner>,
    #[serde(default, deserialize_with = "lenient::mark")]
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct WireOwner {
    #[serde(default, deserialize_with = "lenient::string")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::string")]
    name: String,
    #[serde(default, deserialize_with = "lenient::string")]
    uid: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    controller: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    #[serde(default, deserialize_with = "lenient::string")]
    node_name: String,
}

#[derive(Default, Deserialize)]
struct WireStatus {
    #[serde(default, deserialize_with = "phase")]
    phase: Phase,
    #[serde(default, deserialize_with = "lenient::or_default")]
    conditions: Vec<WireCondition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(default, deserialize_with = "lenient::string")]
    r#type: String,
    #[serde(default, deserialize_with = "lenient::string")]
    status: String,
    #[serde(default, deserialize_with = "lenient::timestamp")]
    last_transition_time: Option<Timestamp>,
}

fn phase<'de, D: Deserializer<'de>>(from: D) -> Result<Phase, D::Error> {
    lenient::text(from, |text| text.map_or(Phase::Unknown, Phase::parse))
}

impl From<WirePod> for Pod {
    fn from(wire: WirePod) -> Self {
        let WirePod {
            metadata,
            spec,
            status,
        } = wire;
        let mut owners = metadata.owner_references.into_iter();
        let controller = owners.find(|owner| owner.controller);
        let daemon_set = controller
            .as_ref()
            .filter(|owner| owner.kind == "DaemonSet")
            .and_then(|owner| uid(&owner.uid));
        let controller = controller.map(|WireOwner { kind, name, .. }| Controller { kind, name });
        let kin = Kin {
            namespace: metadata.namespace.as_str().into(),
            controller: controller.map(Box::new),
            daemon_set: daemon_set.map(Box::new),
            labels: metadata.labels,
        };
        let facts = pods::Pod {
            id: id(&metadata.uid, &metadata.namespace, &metadata.name),
            kin: Arc::new(kin),
            phase: status.phase,
            ready: ready(&status.conditions),
        };
        Self {
            metadata: ObjectMeta {
                name: Some(metadata.name),
                namespace: Some(metadata.namespace),
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
            node: spec.node_name,
            terminating: metadata.deletion_timestamp.is_some(),
            facts,
        }
    }
}

fn ready(conditions: &[WireCondition]) -> Ready {
    let mut conditions = conditions.iter();
    match conditions.find(|condition| condition.r#type == "Ready") {
        Some(found) if found.status == "True" => found
            .last_transition_time
            .map_or(Ready::Yes, |time| Ready::Since(time.as_second())),
        _ => Ready::No,
    }
}

/// The UID where it is one; something as good where it is not.
fn id(of_pod: &str, namespace: &str, name: &str) -> Uid {
    uid(of_pod).unwrap_or_else(|| {
        [0, 1].map(|part: u8| {
            let mut hasher = DefaultHasher::new();
            (part, of_pod, namespace, name).hash(&mut hasher);
            hasher.finish()
        })
    })
}

/// A UID as a number. The API server makes no others: anything else was written by hand, and says nothing.
pub(crate) fn uid(text: &str) -> Option<Uid> {
    let digits = text.replace('-', "");
    let number = u128::from_str_radix(&digits, 16);
    let number = number.ok().filter(|_| digits.len() == 32)?;
    Some([(number >> 64) as u64, number as u64])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_whole_pod_arrives() {
        let read = pod(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "cni-x", "namespace": "kube-system", "resourceVersion": "7",
                "uid": "00000000-0000-0001-0000-000000000002", "labels": {"app": "cni"},
                "ownerReferences": [{"kind": "Other", "name": "o"},
                                    {"kind": "DaemonSet", "name": "cni", "controller": true,
                                     "uid": "00000000-0000-0003-0000-000000000004"}]},
            "spec": {"nodeName": "n1", "containers": [{"name": "a"}]},
            "status": {"phase": "Running", "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:01:00Z"}]}}));
        assert_eq!((read.node.as_str(), read.terminating), ("n1", false));
        assert_eq!(read.metadata.resource_version.as_deref(), Some("7"));
        let controller = Controller {
            kind: "DaemonSet".into(),
            name: "cni".into(),
        };
        let kin = Kin {
            namespace: "kube-system".into(),
            controller: Some(Box::new(controller)),
            daemon_set: Some(Box::new([3, 4])),
            labels: [("app", "cni")].into(),
        };
        let facts = pods::Pod {
            id: [1, 2],
            kin: Arc::new(kin),
            phase: Phase::Running,
            ready: Ready::Since(60),
        };
        assert_eq!(read.facts, facts);
    }

    #[test]
    fn what_is_missing_null_or_odd_does_not_spoil_a_list() {
        let bare = pod(json!({"metadata": {"name": "p"}}));
        assert_eq!((bare.node.as_str(), bare.terminating), ("", false));
        assert_eq!(
            (bare.facts.phase, bare.facts.ready),
            (Phase::Unknown, Ready::No)
        );
        let odd = pod(json!({
            "metadata": {"name": "p", "uid": null, "labels": null, "ownerReferences": null,
                         "deletionTimestamp": "soon"},
            "spec": null,
            "status": {"phase": "Odd", "conditions": [{"type": "Ready", "status": "True"}, {}]}}));
        assert!(odd.terminating);
        assert_eq!(
            (odd.facts.phase, odd.facts.ready),
            (Phase::Unknown, Ready::Yes)
        );
        // Nobody asks for the UID of another keeper, and one written by hand is none.
        let whole = "00000000-0000-0003-0000-000000000004";
        for (kind, uid) in [("Job", whole), ("DaemonSet", "u"), ("DaemonSet", "")] {
            let owner = json!([{"kind": kind, "name": "a", "uid": uid, "controller": true}]);
            let kept = pod(json!({"metadata": {"name": "p", "ownerReferences": owner}}));
            assert_eq!(kept.facts.kin.daemon_set, None, "{kind} {uid}");
        }
        // Without UIDs they are told apart by their names.
        assert_eq!(odd.facts.id, bare.facts.id);
        assert_ne!(
            bare.facts.id,
            pod(json!({"metadata": {"name": "q"}})).facts.id
        );
    }
}
