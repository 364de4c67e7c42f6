//! A YAML document whose every value knows its place.
//!
//! For rules: few, small, and read as the API server reads them. For nodes with a mistake in them. There `requiredStatus: True` is a
//! boolean and refused, where a typed decoder would let it pass for a string.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it begins.
    pub location: Location,
    node: Node,
}

#[derive(Debug, Clone)]
enum Node {
    Scalar(Value),
    List(Vec<Tree>),
    /// In the order of the file; each key with its place.
    Map(Vec<(Spanned<String>, Tree)>),
}

impl Tree {
    /// As JSON.
    pub fn to_value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(list) => list.iter().map(Self::to_value).collect(),
            Node::Map(map) => map
                .iter()
                .map(|(key, value)| (key.value.clone(), value.to_value()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// The value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Node::Map(map) = &self.node else {
            return None;
        };
        map.iter()
            .find(|(found, _)| found.value == key)
            .map(|(_, value)| value)
    }

    /// The document itself, or the items of a `List` or of a list of this kind.
    pub fn objects(&self, list: &str) -> impl Iterator<Item = &Self> {
        let is_list = self
            .get("kind")
            .and_then(Self::text)
            .is_some_and(|kind| kind == "List" || kind == list);
        let items = is_list.then(|| {
            self.get("items")
                .and_then(Self::entries)
                .unwrap_or_default()
        });
        let single = items.is_none().then_some(self);
        items.unwrap_or_default().iter().chain(single)
    }

    /// The entries of a list.
    fn entries(&self) -> Option<&[Self]> {
        match &self.node {
            Node::List(list) => Some(list),
            _ => None,
        }
    }

    /// A string.
    pub fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    /// The place of a field such as `spec.conditions[0].type`: of its key where it has one. The
    /// place of what is nearest above it where it is not there.
    pub fn locate(&self, field: &str) -> Location {
        self.step(field, self.location)
    }

    fn step(&self, field: &str, nearest: Location) -> Location {
        let field = field.strip_prefix('.').unwrap_or(field);
        match &self.node {
            Node::Map(map) => {
                // Keys may have dots in them: the longest that fits.
                let fits = |key: &str| {
                    field
                        .strip_prefix(key)
                        .filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let found = map
                    .iter()
                    .filter_map(|(key, value)| Some((key, value, fits(&key.value)?)))
                    .max_by_key(|(key, ..)| key.value.len());
                match found {
                    Some((key, value, rest)) => value.step(rest, key.referenced),
                    None => nearest,
                }
            }
            Node::List(list) => {
                let entry = field.strip_prefix('[').and_then(|rest| {
                    let (index, rest) = rest.split_once(']')?;
                    Some((list.get(index.parse::<usize>().ok()?)?, rest))
                });
                entry.map_or(nearest, |(value, rest)| value.step(rest, value.location))
            }
            Node::Scalar(_) => nearest,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(from)?;
        Ok(Self {
            location: spanned.referenced,
            node: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value);
        Ok(Node::Scalar(
            number
                .ok_or_else(|| E::custom("a number is not finite"))?
                .into(),
        ))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = access.next_element()? {
            list.push(entry);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = access.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
kind: Rule
spec:
  labels: {a.b/c: x, a: z}
  conditions:
  - type: One
  - type: Two
    required: True
  count: 3
  nothing:
";

    fn place(field: &str) -> (u64, u64) {
        let tree: Tree = serde_saphyr::from_str(YAML).unwrap();
        let location = tree.locate(field);
        (location.line(), location.column())
    }

    #[test]
    fn a_field_is_found_and_what_is_missing_is_placed_above() {
        assert_eq!(place("kind"), (1, 1));
        assert_eq!(place("spec.conditions[1].required"), (7, 5));
        assert_eq!(place("spec.conditions[1].missing"), (6, 5));
        assert_eq!(place("spec.conditions[7]"), (4, 3));
        assert_eq!(place("spec.labels.a.b/c"), (3, 12));
        assert_eq!(place("spec.taint.key"), (2, 1));
        assert_eq!(place("metadata.name"), (1, 1));
    }

    #[test]
    fn values_have_the_types_that_the_api_server_sees() {
        let tree: Tree = serde_saphyr::from_str(YAML).unwrap();
        let value = tree.to_value();
        assert_eq!(value["spec"]["conditions"][1]["required"], true);
        assert_eq!(value["spec"]["count"], 3);
        assert_eq!(value["spec"]["nothing"], Value::Null);
        assert_eq!(
            value["spec"]["labels"],
            serde_json::json!({"a": "z", "a.b/c": "x"})
        );
    }
}
