//! The parameters: which DaemonSets, and for how long their pods have to be Ready.

use core::time::Duration;

use guest_sdk::{DaemonSetSelection, Json, Problem, Problems};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most entries.
const MOST: usize = 16;

/// The longest words about DaemonSets, in bytes: a finding takes no more.
const WORDS: usize = 240;

/// An entry of `daemonSets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) which: DaemonSetSelection,
    /// Such as `DaemonSets of namespace kube-system with tier=node`.
    pub(crate) words: String,
    pub(crate) ready_for: Duration,
    /// `readyFor` as it was written.
    pub(crate) lasting: String,
}

/// From JSON.
pub(crate) fn read(json: &str) -> Result<Vec<Wanted>, Vec<Problem>> {
    let parameters = Problems::object(json)?;
    let mut problems = Problems::default();
    problems.unknown("", &parameters, &["daemonSets"]);
    let mut wanted = Vec::new();
    match parameters.get("daemonSets") {
        Some(Json::List(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (index, item) in entries.iter().enumerate() {
                wanted.extend(entry(&mut problems, &format!("/daemonSets/{index}"), item));
            }
        }
        _ => problems.add(
            "/daemonSets",
            "give a list of 1 to 16 entries, such as [{\"namespace\": \"kube-system\", \"labels\": {\"tier\": \"node\"}}]",
        ),
    }
    problems.or(wanted)
}

fn entry(problems: &mut Problems, path: &str, entry: &Json) -> Option<Wanted> {
    if !matches!(entry, Json::Map(_)) {
        problems.add(path, "must be an object with namespace, and maybe labels");
        return None;
    }
    problems.unknown(path, entry, &["namespace", "labels", "readyFor"]);
    if entry.get("namespace").is_none() {
        problems.add(
            path,
            "namespace is missing: whoever may create DaemonSets in another one must not let a node go, or hold it",
        );
    }
    let namespace = problems.namespace(path, entry, "namespace");
    let mut which = DaemonSetSelection::new();
    let mut words = format!("DaemonSets of namespace {}", namespace.unwrap_or_default());
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
