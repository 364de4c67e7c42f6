//! A resource.k8s.io/v1 `ResourceSlice`: devices that a driver publishes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use planner::devices::Slice;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::lenient;
use crate::slim::{Identity, resource};

/// A ResourceSlice as it was read. It cannot be serialized: a PUT of it would wipe what was skipped.
#[derive(Debug, Clone)]
pub struct ResourceSlice {
    /// Name and resource version.
    pub metadata: ObjectMeta,
    /// `spec.nodeName`; empty where its devices are not those of one node.
    pub node: String,
    /// What the planner knows.
    pub facts: Slice,
}

resource!(
    ResourceSlice,
    ClusterResourceScope,
    "resource.k8s.io",
    "v1",
    "ResourceSlice",
    "resourceslices"
);

impl<'de> Deserialize<'de> for ResourceSlice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WireSlice { metadata, spec } = WireSlice::deserialize(from)?;
        let metadata = ObjectMeta::from(metadata);
        let facts = Slice {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            driver: spec.driver.into(),
            pool: spec.pool.name.into(),
            generation: spec.pool.generation,
            count: spec.pool.resource_slice_count,
            devices: u32::try_from(spec.devices.len()).unwrap_or(u32::MAX),
        };
        Ok(Self {
            metadata,
            node: spec.node_name,
            facts,
        })
    }
}

#[derive(Deserialize)]
struct WireSlice {
    metadata: Identity,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WireSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    #[serde(default, deserialize_with = "lenient::string")]
    node_name: String,
    #[serde(default, deserialize_with = "lenient::string")]
    driver: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pool: WirePool,
    #[serde(default, deserialize_with = "lenient::or_default")]
    devices: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePool {
    #[serde(default, deserialize_with = "lenient::string")]
    name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    generation: i64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    resource_slice_count: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_arrives_and_an_odd_one_does_not_spoil_a_list() {
        let read: ResourceSlice = serde_json::from_value(json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
            "metadata": {"name": "s", "resourceVersion": "7"},
            "spec": {
                "nodeName": "n", "driver": "gpu.nvidia.com",
                "pool": {"name": "p", "generation": 3, "resourceSliceCount": 2},
                "devices": [{"name": "a", "attributes": {"x": {"int": 1}}}, {"name": "b"}]}}))
        .unwrap();
        let slice = Slice {
            name: "s".into(),
            driver: "gpu.nvidia.com".into(),
            pool: "p".into(),
            generation: 3,
            count: 2,
            devices: 2,
        };
        assert_eq!((read.node.as_str(), read.facts), ("n", slice));
        assert_eq!(read.metadata.resource_version.as_deref(), Some("7"));
        for spec in [
            json!(null),
            json!({"devices": null, "pool": null}),
            json!({"allNodes": true}),
        ] {
            let odd = json!({"metadata": {"name": "s"}, "spec": spec});
            let odd: ResourceSlice = serde_json::from_value(odd).unwrap();
            assert_eq!((odd.node.as_str(), odd.facts.devices), ("", 0));
        }
    }
}
