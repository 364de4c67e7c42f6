//! The parameters: which pods, and for how long they have to be Ready.

use core::time::Duration;

use guest_sdk::{Json, PodSelection, Problem, Problems};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most entries.
const MOST: usize = 16;

/// The longest words about pods, in bytes: a finding takes no more.
const WORDS: usize = 240;

/// An entry of `pods`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) which: PodSelection,
    /// Such as `DaemonSet kube-system/cilium`.
    pub(crate) words: String,
    pub(crate) ready_for: Duration,
    /// `readyFor` as it was written.
    pub(crate) lasting: String,
}

/// From JSON.
pub(crate) fn read(json: &str) -> Result<Vec<Wanted>, Vec<Problem>> {
    let parameters = Problems::object(json)?;
    let mut problems = Problems::default();
    problems.unknown("", &parameters, &["pods"]);
    let mut wanted = Vec::new();
    match parameters.get("pods") {
        Some(Json::List(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (index, item) in entries.iter().enumerate() {
                wanted.extend(entry(&mut problems, &format!("/pods/{index}"), item));
            }
        }
        _ => problems.add(
            "/pods",
            "give a list of 1 to 16 entries, such as [{\"namespace\": \"kube-system\", \"daemonSet\": \"cilium\"}]",
        ),
    }
    problems.or(wanted)
}

fn entry(problems: &mut Problems, path: &str, entry: &Json) -> Option<Wanted> {
    if !matches!(entry, Json::Map(_)) {
        problems.add(
            path,
            "must be an object with namespace, and daemonSet or labels",
        );
        return None;
    }
    problems.unknown(
        path,
        entry,
        &["namespace", "daemonSet", "labels", "readyFor"],
    );
    if entry.get("namespace").is_none() {
        problems.add(
            path,
            "namespace is missing: pods of another namespace must not let a node go",
        );
    }
    if entry.get("daemonSet").is_none() && entry.get("labels").is_none() {
        problems.add(
            path,
            "give daemonSet, labels or both: which pods have to be Ready?",
        );
    }
    let namespace = problems.namespace(path, entry, "namespace");
    let daemon_set = problems.object_name(path, entry, "daemonSet");
    let mut which = PodSelection::new();
    let mut words = match daemon_set {
        Some(name) => {
            which = which.daemon_set(name);
            format!("DaemonSet {}/{name}", namespace.unwrap_or_default())
        }
        None => format!("pods of namespace {}", namespace.unwrap_or_default()),
    };
    let labels = problems.labels(path, entry, "labels");
    for (index, (key, value)) in labels.into_iter().enumerate() {
        which = which.label(key, value);
        words.push_str(if index == 0 { " with " } else { "," });
        words.push_str(&format!("{key}={value}"));
    }
    let (ready_for, lasting) = match entry.get("readyFor") {
        None => (Duration::ZERO, ""),
        Some(_) => problems.duration(path, entry, "readyFor")?,
    };
    Some(Wanted {
        which: which.namespace(namespace?),
        words: clip(words),
        ready_for,
        lasting: lasting.into(),
    })
}

fn clip(mut words: String) -> String {
    let mut end = words.len().min(WORDS);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words.truncate(end);
    words
}
