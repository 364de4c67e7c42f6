//! One pass over an object that may be a node, a DaemonSet, a pod, a lease, a CSINode, a ResourceSlice, or a list of them.
//!
//! Which of them it is says `kind`, and `kubectl` prints that of a list after the items. So the
//! fields that are not ours are handed on to the node's own decoder as they come, and `metadata`,
//! without which that decoder gives up, once everything else was seen.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny,
    IntoDeserializer, MapAccess, Visitor,
};
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

/// What a DaemonSet calls itself.
pub const DAEMON_SET: &str = "DaemonSet";
/// What a pod calls itself.
pub const POD: &str = "Pod";
/// What a lease calls itself.
pub const LEASE: &str = "Lease";
/// What a CSINode calls itself.
pub const CSI_NODE: &str = "CSINode";
/// What a ResourceSlice calls itself.
pub const RESOURCE_SLICE: &str = "ResourceSlice";

/// A document: an object, or a list of objects.
#[derive(Debug)]
pub struct Document {
    /// The object; of a list, what a list and an object have in common.
    pub object: Object,
    /// The items of a list; none if it is none.
    pub items: Option<Vec<Spanned<Object>>>,
}

/// An object that is hoped to be a node.
#[derive(Debug)]
pub struct Object {
    /// `apiVersion`
    pub api_version: Option<String>,
    /// `kind`
    pub kind: Option<String>,
    /// Has it a `metadata.name`?
    pub has_name: bool,
    /// Has it a `status`?
    pub has_status: bool,
    /// The node, or why it is none.
    pub node: Result<api::Node, String>,
    /// The DaemonSet, or why it cannot be read; none if it calls itself something else.
    pub daemon_set: Option<Result<api::DaemonSet, String>>,
    /// The same of a pod.
    pub pod: Option<Result<api::Pod, String>>,
    /// The same of a lease.
    pub lease: Option<Result<api::NodeLease, String>>,
    /// The same of a CSINode.
    pub csi_node: Option<Result<api::CsiNode, String>>,
    /// The same of a ResourceSlice.
    pub resource_slice: Option<Result<api::ResourceSlice, String>>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(DocumentVisitor)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Document::deserialize(from).map(|document| document.object)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Node or a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Document, A::Error> {
        let seen = RefCell::new(Seen::default());
        let tap = Tap {
            access,
            seen: &seen,
            next: None,
        };
        let node = api::Node::deserialize(MapAccessDeserializer::new(tap));
        let seen = seen.into_inner();
        // What comes before the end is an error of the file; a list or an object without metadata
        // is read to its end.
        let node = match node {
            Err(error) if !seen.at_end => return Err(error),
            node => node.map_err(|error| error.to_string()),
        };
        let is = |kind| seen.kind.as_deref() == Some(kind);
        let daemon_set = is(DAEMON_SET).then(|| seen.decode());
        let pod = is(POD).then(|| seen.decode());
        let lease = is(LEASE).then(|| seen.decode());
        let csi_node = is(CSI_NODE).then(|| seen.decode());
        let resource_slice = is(RESOURCE_SLICE).then(|| seen.decode());
        let object = Object {
            daemon_set,
            pod,
            lease,
            csi_node,
            resource_slice,
            api_version: seen.api_version,
            kind: seen.kind,
            has_name: seen.metadata.get("name").is_some_and(|name| name != ""),
            has_status: seen.has_status,
            node,
        };
        Ok(Document {
            object,
            items: seen.items,
        })
    }
}

/// What is kept of the fields on their way.
#[derive(Default)]
struct Seen {
    api_version: Option<String>,
    kind: Option<String>,
    items: Option<Vec<Spanned<Object>>>,
    metadata: Map<String, Value>,
    /// Of what may be an object beside a node.
    spec: Value,
    status: Value,
    has_status: bool,
    at_end: bool,
}

impl Seen {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        let object = json!({ "metadata": self.metadata, "spec": self.spec, "status": self.status });
        serde_json::from_value(object).map_err(|error| error.to_string())
    }
}

/// The fields of an object, without those that are kept, and `metadata` last.
struct Tap<'a, A> {
    access: A,
    seen: &'a RefCell<Seen>,
    /// A field that was kept, to be handed on next.
    next: Option<(&'static str, Value)>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Tap<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        if self.seen.borrow().at_end {
            return Ok(None);
        }
        while let Some(key) = self.access.next_key::<String>()? {
            let mut seen = self.seen.borrow_mut();
            match key.as_str() {
                "apiVersion" => seen.api_version = self.access.next_value()?,
                "kind" => seen.kind = self.access.next_value()?,
                "items" => {
                    drop(seen);
                    let items = self.access.next_value::<Option<Vec<_>>>()?;
                    self.seen.borrow_mut().items = Some(items.unwrap_or_default());
                }
                "metadata" => {
                    seen.metadata = self
                        .access
                        .next_value::<Option<Metadata>>()?
                        .unwrap_or_default()
                        .0
                }
                "spec"
                    if matches!(
                        seen.kind.as_deref(),
                        None | Some(DAEMON_SET | POD | LEASE | CSI_NODE | RESOURCE_SLICE)
                    ) =>
                {
                    seen.spec = self.access.next_value()?;
                    if seen.kind.is_none() {
                        self.next = Some(("spec", seen.spec.clone()));
                        return seed.deserialize("spec".into_deserializer()).map(Some);
                    }
                }
                "status" if matches!(seen.kind.as_deref(), None | Some(POD)) => {
                    seen.has_status = true;
                    seen.status = self.access.next_value()?;
                    if seen.kind.is_none() {
                        self.next = Some(("status", seen.status.clone()));
                        return seed.deserialize("status".into_deserializer()).map(Some);
                    }
                }
                _ => {
                    seen.has_status |= key == "status";
                    return seed.deserialize(key.into_deserializer()).map(Some);
                }
            }
        }
        let mut seen = self.seen.borrow_mut();
        seen.at_end = true;
        // A list's metadata is no node's.
        if seen.items.is_some() || seen.metadata.is_empty() {
            return Ok(None);
        }
        self.next = Some(("metadata", Value::Object(seen.metadata.clone())));
        seed.deserialize("metadata".into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.next.take() {
            Some((field, value)) => seed
                .deserialize(value)
                .map_err(|error| A::Error::custom(format_args!("{field}: {error}"))),
            None => self.access.next_value_seed(seed),
        }
    }
}

/// `metadata` without the managed fields, which are the most of it.
#[derive(Default)]
struct Metadata(Map<String, Value>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Metadata, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == "managedFields" {
                access.next_value::<IgnoredAny>()?;
            } else {
                map.insert(key, access.next_value()?);
            }
        }
        Ok(Metadata(map))
    }
}
