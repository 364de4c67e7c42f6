//! A core/v1 `Node`, as little of it as a decision and a patch need.
//!
//! It stands in for `k8s_openapi`'s in an `Api`, a watcher and a reflector. Images, managed fields,
//! addresses and the rest are skipped by the parser and never in memory.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use planner::facts::{self, Observed, Texts};
use planner::rule::Effect;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::lenient;
use crate::quantity::Whole;
use crate::slim::resource;

/// A node as it was read. A clone is cheap.
///
/// It cannot be serialized: a PUT of it would wipe what was skipped.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name, resource version, creation and deletion time. **UID, labels and annotations are in
    /// `facts`** and not here as well: they are the most of a slim node.
    pub metadata: ObjectMeta,
    /// What the planner knows.
    pub facts: Arc<facts::Node>,
    /// As JSON, which takes a fifth of the memory of values.
    raw_taints: Option<Arc<str>>,
}

impl Node {
    /// `spec.taints` exactly as read, also fields that this version does not know; none where the
    /// field is absent.
    pub fn taints(&self) -> Option<Vec<Value>> {
        // It was written from such values. A patch that tests for none would be refused.
        serde_json::from_str(self.raw_taints.as_deref()?).ok()
    }
}

resource!(Node, ClusterResourceScope, "", "v1", "Node", "nodes");

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        WireNode::deserialize(from).map(Self::from)
    }
}

#[derive(Deserialize)]
struct WireNode {
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
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    labels: Texts,
    #[serde(default, deserialize_with = "lenient::or_default")]
    annotations: Texts,
    #[serde(default, deserialize_with = "lenient::timestamp")]
    creation_timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::mark")]
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
struct WireSpec {
    #[serde(default)]
    taints: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    unschedulable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStatus {
    #[serde(default, deserialize_with = "lenient::or_default")]
    conditions: Vec<WireCondition>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    node_info: WireInfo,
    #[serde(default, deserialize_with = "lenient::or_default")]
    allocatable: Extended,
}

/// Of resources the extended ones: those are the devices, and only they come after the node does.
#[derive(Default)]
struct Extended(Vec<(Box<str>, u64)>);

/// As Kubernetes tells its own resources from others.
fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/")
}

impl<'de> Deserialize<'de> for Extended {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Resources;

        impl<'de> Visitor<'de> for Resources {
            type Value = Extended;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("resources by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Extended, A::Error> {
                let mut extended = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if is_extended(&name) {
                        let Whole(amount) = map.next_value()?;
                        extended.push((name.into(), amount));
                    } else {
                        let IgnoredAny = map.next_value()?;
                    }
                }
                Ok(Extended(extended))
            }
        }

        from.deserialize_map(Resources)
    }
}

#[derive(Default, Deserialize)]
struct WireInfo {
    #[serde(rename = "bootID", default, deserialize_with = "lenient::string")]
    boot_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(default, deserialize_with = "lenient::string")]
    r#type: String,
    #[serde(default = "other", deserialize_with = "observed")]
    status: Observed,
    #[serde(default, deserialize_with = "lenient::string")]
    reason: String,
    #[serde(default, deserialize_with = "lenient::timestamp")]
    last_transition_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::timestamp")]
    last_heartbeat_time: Option<Timestamp>,
}

fn other() -> Observed {
    Observed::Other
}

fn observed<'de, D: Deserializer<'de>>(from: D) -> Result<Observed, D::Error> {
    lenient::text(from, |text| text.map_or(Observed::Other, Observed::parse))
}

impl From<WireNode> for Node {
    fn from(wire: WireNode) -> Self {
        let WireNode {
            metadata,
            spec,
            status,
        } = wire;
        let mut conditions: Vec<_> = status.conditions.into_iter().map(condition).collect();
        conditions.shrink_to_fit();
        let facts = facts::Node {
            name: metadata.name.clone(),
            uid: metadata.uid.unwrap_or_default(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            created: metadata.creation_timestamp,
            terminating: metadata.deletion_timestamp.is_some(),
            taints: spec.taints.iter().flatten().map(taint).collect(),
            unschedulable: spec.unschedulable,
            conditions,
            extended: status.allocatable.0.into(),
            boot_id: status.node_info.boot_id,
        };
        Self {
            metadata: ObjectMeta {
                name: Some(metadata.name),
                resource_version: metadata.resource_version,
                creation_timestamp: metadata.creation_timestamp.map(Time),
                deletion_timestamp: metadata.deletion_timestamp.map(Time),
                ..ObjectMeta::default()
            },
            facts: Arc::new(facts),
            raw_taints: spec
                .taints
                .map(|taints| Value::from(taints).to_string().into()),
        }
    }
}

fn taint(raw: &Value) -> facts::Taint {
    let text = |field: &str| raw.get(field).and_then(Value::as_str).unwrap_or_default();
    facts::Taint {
        key: text("key").to_owned(),
        effect: Effect::parse(text("effect")),
        value: text("value").to_owned(),
    }
}

fn condition(wire: WireCondition) -> facts::Condition {
    facts::Condition {
        name: wire.r#type,
        status: wire.status,
        reason: wire.reason,
        changed: wire.last_transition_time,
        heartbeat: wire.last_heartbeat_time,
    }
}

#[cfg(test)]
mod tests {
    use planner::rule::Status;
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_whole_node_arrives() {
        let node: Node = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "n1", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-03T03:04:05Z",
                "labels": {"l": "1"}, "annotations": {"a": "2"}, "managedFields": [{"manager": "m"}]},
            "spec": {"unschedulable": true, "podCIDR": "10.0.0.0/24", "taints": [
                {"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"},
                {"key": "k2", "effect": "NewEffect", "later": {"x": [1, 2.5]}}]},
            "status": {
                "nodeInfo": {"bootID": "b", "kernelVersion": "6"},
                "capacity": {"cpu": "8", "nvidia.com/gpu": "8"},
                "allocatable": {
                    "cpu": "7900m", "hugepages-2Mi": "0", "scheduling.kubernetes.io/x": "1",
                    "example.com/nic": "1k", "nvidia.com/gpu": "0"},
                "images": [{"names": ["x"], "sizeBytes": 1}],
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "R", "message": "m",
                     "lastTransitionTime": "2026-01-02T03:04:05Z", "lastHeartbeatTime": "2026-01-02T03:04:06Z"},
                    {"type": "Odd", "status": "Maybe"}]}
        }))
        .unwrap();
        let taint = |key: &str, effect, value: &str| facts::Taint {
            key: key.into(),
            effect,
            value: value.into(),
        };
        assert_eq!(
            *node.facts,
            facts::Node {
                name: "n1".into(),
                uid: "u".into(),
                labels: [("l", "1")].into(),
                annotations: [("a", "2")].into(),
                created: time("2026-01-02T03:04:05Z"),
                terminating: true,
                taints: vec![
                    taint("k", Some(Effect::NoExecute), "v"),
                    taint("k2", None, "")
                ],
                unschedulable: true,
                conditions: vec![
                    facts::Condition {
                        name: "Ready".into(),
                        status: Observed::Known(Status::True),
                        reason: "R".into(),
                        changed: time("2026-01-02T03:04:05Z"),
                        heartbeat: time("2026-01-02T03:04:06Z"),
                    },
                    facts::Condition {
                        name: "Odd".into(),
                        status: Observed::Other,
                        reason: String::new(),
                        changed: None,
                        heartbeat: None,
                    },
                ],
                extended: [
                    ("example.com/nic".into(), 1000),
                    ("nvidia.com/gpu".into(), 0)
                ]
                .into(),
                boot_id: "b".into(),
            }
        );
        assert_eq!(node.taints().unwrap()[1]["later"], json!({"x": [1, 2.5]}));
        assert_eq!(node.metadata.resource_version.as_deref(), Some("7"));
        assert!(node.metadata.deletion_timestamp.is_some());
    }

    #[test]
    fn what_is_missing_null_or_odd_does_not_spoil_a_list() {
        let bare = facts::Node {
            name: "n".into(),
            ..facts::Node::default()
        };
        let cases = [
            json!({"metadata": {"name": "n"}}),
            json!({"metadata": {"name": "n"}, "spec": null, "status": null}),
            json!({"metadata": {"name": "n", "uid": null, "labels": null, "annotations": null,
                                "creationTimestamp": null, "deletionTimestamp": null},
                   "spec": {"taints": null, "unschedulable": null},
                   "status": {"conditions": null, "nodeInfo": null, "allocatable": null}}),
            json!({"metadata": {"name": "n", "creationTimestamp": "soon"},
                   "spec": {"taints": []}, "status": {"nodeInfo": {"bootID": null}}}),
        ];
        for case in cases {
            let node: Node = serde_json::from_value(case.clone()).unwrap();
            assert_eq!(*node.facts, bare, "{case}");
        }
        let odd: Node =
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [
            {"type": "A", "lastTransitionTime": "soon", "lastHeartbeatTime": null},
            {"status": null}]}}))
            .unwrap();
        assert_eq!(odd.facts.conditions[0].status, Observed::Other);
        assert_eq!(odd.facts.conditions[0].changed, None);
        assert_eq!(odd.facts.conditions[1].name, "");
        let leaving: Node =
            serde_json::from_value(json!({"metadata": {"name": "n", "deletionTimestamp": "soon"}}))
                .unwrap();
        assert!(leaving.facts.terminating);
    }

    #[test]
    fn a_node_without_a_name_is_not_a_node() {
        let error = serde_json::from_value::<Node>(json!({"metadata": {}})).unwrap_err();
        assert!(
            error.to_string().contains("missing field `name`"),
            "{error}"
        );
    }

    #[test]
    fn from_yaml() {
        let node: Node = serde_saphyr::from_str(
            "metadata: {name: n}\nspec:\n  taints:\n  - {key: a, effect: NoSchedule, weight: 3}\n",
        )
        .unwrap();
        assert_eq!(
            node.taints().unwrap()[0],
            json!({"key": "a", "effect": "NoSchedule", "weight": 3})
        );
    }
}
