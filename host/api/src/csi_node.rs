//! A storage.k8s.io/v1 `CSINode`: the drivers that are registered on a node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use planner::csi::{Driver, Drivers};
use serde::{Deserialize, Deserializer};

use crate::lenient;
use crate::slim::{Identity, resource};

/// A CSINode as it was read. It cannot be serialized: a PUT of it would wipe what was skipped.
#[derive(Debug, Clone)]
pub struct CsiNode {
    /// Name, which is that of its node, and resource version.
    pub metadata: ObjectMeta,
    /// What the planner knows.
    pub drivers: Drivers,
}

resource!(
    CsiNode,
    ClusterResourceScope,
    "storage.k8s.io",
    "v1",
    "CSINode",
    "csinodes"
);

impl<'de> Deserialize<'de> for CsiNode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WireCsiNode { metadata, spec } = WireCsiNode::deserialize(from)?;
        let drivers = spec.drivers.into_iter().map(|driver| Driver {
            name: driver.name.into(),
            topology_keys: driver.topology_keys.into_iter().map(Into::into).collect(),
        });
        Ok(Self {
            metadata: metadata.into(),
            drivers: drivers.collect(),
        })
    }
}

#[derive(Deserialize)]
struct WireCsiNode {
    metadata: Identity,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WireSpec,
}

#[derive(Default, Deserialize)]
struct WireSpec {
    #[serde(default, deserialize_with = "lenient::or_default")]
    drivers: Vec<WireDriver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDriver {
    #[serde(default, deserialize_with = "lenient::string")]
    name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    topology_keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_csi_node_arrives_and_an_odd_one_does_not_spoil_a_list() {
        let read: CsiNode = serde_json::from_value(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": "n", "resourceVersion": "7"},
            "spec": {"drivers": [
                {"name": "a", "nodeID": "x", "topologyKeys": ["zone"], "allocatable": {"count": 9}},
                {"name": "b", "nodeID": "y", "topologyKeys": null}]}}))
        .unwrap();
        let driver = |name: &str, keys: &[&str]| Driver {
            name: name.into(),
            topology_keys: keys.iter().map(|key| (*key).into()).collect(),
        };
        let drivers: Drivers = [driver("a", &["zone"]), driver("b", &[])]
            .into_iter()
            .collect();
        assert_eq!(read.drivers, drivers);
        assert_eq!(read.metadata.resource_version.as_deref(), Some("7"));
        for spec in [json!(null), json!({}), json!({"drivers": null})] {
            let odd = json!({"metadata": {"name": "n"}, "spec": spec});
            let odd: CsiNode = serde_json::from_value(odd).unwrap();
            assert_eq!(odd.drivers, Drivers::default());
        }
    }
}
