//! The parameters: which drivers, and which keys of their topology.

use guest_sdk::names::{is_driver_name, is_label_key};
use guest_sdk::{Facts, Json, Problem, Problems};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most entries, and the most keys of one.
const MOST: usize = 16;

/// An entry of `drivers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    topology_keys: Vec<String>,
}

impl Wanted {
    /// What the node lacks of it.
    pub(crate) fn missing(&self, facts: &Facts) -> Option<String> {
        let name = &self.name;
        let mut keys = self.topology_keys.iter();
        let key = keys.find(|key| !facts.csi.has_topology_key(name, key));
        match key {
            None if !self.topology_keys.is_empty() || facts.csi.has_driver(name) => None,
            Some(key) if facts.csi.has_driver(name) => {
                Some(format!("it is registered without the topology key {key}"))
            }
            _ => Some("it is not registered on the node".into()),
        }
    }
}

/// From JSON.
pub(crate) fn read(json: &str) -> Result<Vec<Wanted>, Vec<Problem>> {
    let parameters = Problems::object(json)?;
    let mut problems = Problems::default();
    problems.unknown("", &parameters, &["drivers"]);
    let mut wanted = Vec::new();
    match parameters.get("drivers") {
        Some(Json::List(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (index, item) in entries.iter().enumerate() {
                wanted.extend(entry(&mut problems, &format!("/drivers/{index}"), item));
            }
        }
        _ => problems.add(
            "/drivers",
            "give a list of 1 to 16 entries, such as [{\"name\": \"ebs.csi.aws.com\"}]",
        ),
    }
    problems.or(wanted)
}

fn entry(problems: &mut Problems, path: &str, entry: &Json) -> Option<Wanted> {
    if !matches!(entry, Json::Map(_)) {
        problems.add(path, "must be an object with the name of a driver");
        return None;
    }
    problems.unknown(path, entry, &["name", "topologyKeys"]);
    let name = entry.get("name").and_then(Json::text).unwrap_or_default();
    if !is_driver_name(name) {
        problems.add(
            &format!("{path}/name"),
            "give the name of the driver: 1 to 63 letters, digits, '-' and '.', with a letter or digit at both ends and beside \
             each '.'",
        );
    }
    let key = |key: &Json| {
        let key = key.text().filter(|key| is_label_key(key))?;
        Some(key.to_owned())
    };
    let topology_keys: Option<Vec<_>> = match entry.get("topologyKeys") {
        None => Some(Vec::new()),
        Some(Json::List(keys)) if (1..=MOST).contains(&keys.len()) => {
            keys.iter().map(key).collect()
        }
        Some(_) => None,
    };
    if topology_keys.is_none() {
        problems.add(
            &format!("{path}/topologyKeys"),
            "must be a list of 1 to 16 texts that can be keys of labels, such as topology.ebs.csi.aws.com/zone",
        );
    }
    Some(Wanted {
        name: name.into(),
        topology_keys: topology_keys?,
    })
}
