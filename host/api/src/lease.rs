//! A coordination.k8s.io/v1 `Lease` of a node: when it was renewed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

use crate::lenient;
use crate::slim::{Identity, resource};

/// The namespace of the leases of nodes.
pub const NODE_LEASES: &str = "kube-node-lease";

/// A lease as it was read. It cannot be serialized: a PUT of it would wipe what was skipped.
#[derive(Debug, Clone)]
pub struct NodeLease {
    /// Name, which is that of its node, namespace and resource version.
    pub metadata: ObjectMeta,
    /// `spec.renewTime`
    pub renewed: Option<Timestamp>,
}

resource!(
    NodeLease,
    NamespaceResourceScope,
    "coordination.k8s.io",
    "v1",
    "Lease",
    "leases"
);

impl<'de> Deserialize<'de> for NodeLease {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let WireLease { metadata, spec } = WireLease::deserialize(from)?;
        Ok(Self {
            metadata: metadata.into(),
            renewed: spec.renew_time,
        })
    }
}

#[derive(Deserialize)]
struct WireLease {
    metadata: Identity,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WireSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    #[serde(default, deserialize_with = "lenient::timestamp")]
    renew_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_arrives_and_an_odd_one_does_not_spoil_a_list() {
        let lease: NodeLease = serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "n", "namespace": "kube-node-lease", "resourceVersion": "7"},
            "spec": {"holderIdentity": "n", "leaseDurationSeconds": 40,
                     "renewTime": "1970-01-01T00:00:01.500000Z"}}))
        .unwrap();
        let renewed = lease.renewed.map(Timestamp::as_millisecond);
        assert_eq!(
            (lease.metadata.name.as_deref(), renewed),
            (Some("n"), Some(1500))
        );
        assert_eq!(lease.metadata.resource_version.as_deref(), Some("7"));
        for spec in [json!(null), json!({}), json!({"renewTime": "soon"})] {
            let odd = json!({"metadata": {"name": "n"}, "spec": spec});
            let odd: NodeLease = serde_json::from_value(odd).unwrap();
            assert_eq!(odd.renewed, None);
        }
    }
}
