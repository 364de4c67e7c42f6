//! The parameters: which resources and which drivers, and how much of each.

use guest_sdk::names::{is_driver_name, is_label_key};
use guest_sdk::{Facts, Json, Problem, Problems};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most resources, and the most drivers.
const MOST: usize = 16;
/// The longest name of a resource, so that a finding takes it.
const RESOURCE: usize = 240;
/// The most devices: as many as the contract can ask for.
const DEVICES: u64 = u32::MAX as u64;

/// What the node has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// So many of an extended resource.
    Resource(String, u64),
    /// A driver's pools complete, where no number is given; or so many devices in those that are.
    Driver(String, Option<u32>),
}

impl Wanted {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Resource(name, _) => format!("resource {name}"),
            Self::Driver(name, _) => format!("devices of {name}"),
        }
    }

    /// What the node lacks of it.
    pub(crate) fn missing(&self, facts: &Facts) -> Option<String> {
        match self {
            Self::Resource(name, amount) => missing_resource(facts, name, *amount),
            Self::Driver(name, Some(devices)) => {
                let has = facts.devices.has(name, *devices);
                (!has).then(|| format!("complete pools on the node have fewer than {devices}"))
            }
            Self::Driver(name, None) => (!facts.devices.all_pools_complete(name))
                .then(|| "the node has no pool of it, or one that is not complete".into()),
        }
    }
}

fn missing_resource(facts: &Facts, name: &str, amount: u64) -> Option<String> {
    let has = |amount| facts.node.allocatable_at_least(name, amount);
    if has(amount) {
        None
    } else if has(1) {
        Some(format!("the node has fewer than {amount}"))
    } else if has(0) {
        Some("the node has 0 of it, as where its device plugin is gone".into())
    } else {
        Some("the node does not have it".into())
    }
}

/// From JSON.
pub(crate) fn read(json: &str) -> Result<Vec<Wanted>, Vec<Problem>> {
    let parameters = Problems::object(json)?;
    let mut problems = Problems::default();
    problems.unknown("", &parameters, &["resources", "drivers"]);
    let mut wanted = Vec::new();
    let (resources, drivers) = (parameters.get("resources"), parameters.get("drivers"));
    if resources.is_none() && drivers.is_none() {
        problems.add(
            "",
            "give resources, drivers or both, such as {\"resources\": {\"nvidia.com/gpu\": 8}}",
        );
    }
    match resources {
        None => {}
        Some(Json::Map(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (name, amount) in entries {
                wanted.extend(resource(&mut problems, name, amount));
            }
        }
        Some(_) => problems.add(
            "/resources",
            "give an object of 1 to 16 extended resources, each with the least number of them",
        ),
    }
    match drivers {
        None => {}
        Some(Json::List(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (index, item) in entries.iter().enumerate() {
                wanted.extend(driver(&mut problems, &format!("/drivers/{index}"), item));
            }
        }
        Some(_) => problems.add(
            "/drivers",
            "give a list of 1 to 16 entries, such as [{\"name\": \"gpu.nvidia.com\", \"devices\": 8}]",
        ),
    }
    problems.or(wanted)
}

fn resource(problems: &mut Problems, name: &str, amount: &Json) -> Option<Wanted> {
    let is_extended = name.contains('/') && !name.contains("kubernetes.io/") && is_label_key(name);
    if !is_extended || name.len() > RESOURCE {
        problems.add(
            "/resources",
            "each name has to be that of an extended resource, such as nvidia.com/gpu: cpu and the like are there \
             as soon as the node is",
        );
        return None;
    }
    let amount = amount.whole().filter(|amount| *amount > 0);
    if amount.is_none() {
        let name = name.replace('~', "~0").replace('/', "~1");
        problems.add(
            &format!("/resources/{name}"),
            "must be a whole number from 1: the node has to have at least so many",
        );
    }
    Some(Wanted::Resource(name.into(), amount?))
}

fn driver(problems: &mut Problems, path: &str, entry: &Json) -> Option<Wanted> {
    if !matches!(entry, Json::Map(_)) {
        problems.add(path, "must be an object with the name of a driver");
        return None;
    }
    problems.unknown(path, entry, &["name", "devices"]);
    let name = entry.get("name").and_then(Json::text).unwrap_or_default();
    if !is_driver_name(name) {
        problems.add(
            &format!("{path}/name"),
            "give the name of the driver: 1 to 63 letters, digits, '-' and '.', with a letter or digit at both ends and beside \
             each '.'",
        );
    }
    let devices = match entry.get("devices") {
        None => None,
        Some(devices) => {
            let devices = devices
                .whole()
                .filter(|devices| (1..=DEVICES).contains(devices));
            if devices.is_none() {
                problems.add(
                    &format!("{path}/devices"),
                    "must be a whole number from 1 to 4294967295",
                );
            }
            Some(u32::try_from(devices?).ok()?)
        }
    };
    Some(Wanted::Driver(name.into(), devices))
}
