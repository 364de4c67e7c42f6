//! The parameters: which pods, and for how long they have to be Ready.

use core::time::Duration;

use guest_sdk::{Json, PodSelection, Problem, milliseconds};

/// JSON Schema 2020-12: a file, for people as well.
pub(crate) const SCHEMA: &str = include_str!("parameters.json");

/// The most entries, and the most labels of one.
const MOST: usize = 16;
/// The most problems that are told.
const MOST_PROBLEMS: usize = 16;

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
    let mut problems = Problems(Vec::new());
    let parameters = match Json::parse(json) {
        Some(parameters @ Json::Map(_)) => parameters,
        _ if json.is_empty() => Json::Map(Vec::new()),
        _ => {
            problems.add("", "the parameters are not a JSON object");
            return Err(problems.0);
        }
    };
    problems.unknown("", &parameters, &["pods"]);
    let mut wanted = Vec::new();
    match parameters.get("pods") {
        Some(Json::List(entries)) if (1..=MOST).contains(&entries.len()) => {
            for (index, entry) in entries.iter().enumerate() {
                wanted.extend(problems.entry(&format!("/pods/{index}"), entry));
            }
        }
        _ => problems.add(
            "/pods",
            "give a list of 1 to 16 entries, such as [{\"namespace\": \"kube-system\", \"daemonSet\": \"cilium\"}]",
        ),
    }
    if problems.0.is_empty() {
        Ok(wanted)
    } else {
        Err(problems.0)
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: &str, message: &str) {
        if self.0.len() < MOST_PROBLEMS {
            self.0.push(Problem::new(path, message));
        }
    }

    fn unknown(&mut self, path: &str, object: &Json, known: &[&str]) {
        let Json::Map(members) = object else { return };
        let names = members.iter().map(|(name, _)| name);
        let unknown = names.filter(|name| !known.contains(&name.as_str()));
        for name in unknown.take(MOST_PROBLEMS) {
            let name = name.replace('~', "~0").replace('/', "~1");
            let has = known.join(", ");
            if name.len() <= 200 {
                self.add(
                    &format!("{path}/{name}"),
                    &format!("there is no such parameter; there is {has}"),
                );
            } else {
                self.add(
                    path,
                    &format!("a parameter that there is not; there is {has}"),
                );
            }
        }
    }

    /// A text that is not empty; none also where it is wrong.
    fn text<'a>(&mut self, path: &str, object: &'a Json, name: &str) -> Option<&'a str> {
        match object.get(name)? {
            Json::Text(text) if (1..=253).contains(&text.len()) => Some(text),
            _ => {
                self.add(
                    &format!("{path}/{name}"),
                    "must be a text of 1 to 253 characters",
                );
                None
            }
        }
    }

    fn entry(&mut self, path: &str, entry: &Json) -> Option<Wanted> {
        if !matches!(entry, Json::Map(_)) {
            self.add(
                path,
                "must be an object with namespace, and daemonSet or labels",
            );
            return None;
        }
        self.unknown(
            path,
            entry,
            &["namespace", "daemonSet", "labels", "readyFor"],
        );
        if entry.get("namespace").is_none() {
            self.add(
                path,
                "namespace is missing: pods of another namespace must not let a node go",
            );
        }
        if entry.get("daemonSet").is_none() && entry.get("labels").is_none() {
            self.add(
                path,
                "give daemonSet, labels or both: which pods have to be Ready?",
            );
        }
        let namespace = self.text(path, entry, "namespace");
        let daemon_set = self.text(path, entry, "daemonSet");
        let mut which = PodSelection::new();
        let mut words = match daemon_set {
            Some(name) => {
                which = which.daemon_set(name);
                format!("DaemonSet {}/{name}", namespace.unwrap_or_default())
            }
            None => format!("pods of namespace {}", namespace.unwrap_or_default()),
        };
        let labels = entry.get("labels").map(|labels| self.labels(path, labels));
        for (index, (key, value)) in labels.into_iter().flatten().enumerate() {
            which = which.label(&key, &value);
            words.push_str(if index == 0 { " with " } else { "," });
            words.push_str(&format!("{key}={value}"));
        }
        let (lasting, ready_for) = match entry.get("readyFor") {
            None => ("", Duration::ZERO),
            Some(Json::Text(text)) if milliseconds(text).is_some() => {
                let ready_for = milliseconds(text).map(Duration::from_millis);
                (text.as_str(), ready_for.unwrap_or_default())
            }
            Some(_) => {
                self.add(
                    &format!("{path}/readyFor"),
                    "must be a duration such as \"30s\", \"5m\" or \"1h30m\"",
                );
                return None;
            }
        };
        Some(Wanted {
            which: which.namespace(namespace?),
            words: clip(words),
            ready_for,
            lasting: lasting.into(),
        })
    }

    fn labels(&mut self, path: &str, labels: &Json) -> Vec<(String, String)> {
        let label = |(key, value): &(String, Json)| Some((key.clone(), value.text()?.to_owned()));
        let found: Option<Vec<_>> = match labels {
            Json::Map(labels) if (1..=MOST).contains(&labels.len()) => {
                labels.iter().map(label).collect()
            }
            _ => None,
        };
        if found.is_none() {
            let message = "must be an object of 1 to 16 labels, each with a text as its value";
            self.add(&format!("{path}/labels"), message);
        }
        found.unwrap_or_default()
    }
}

fn clip(mut words: String) -> String {
    let mut end = words.len().min(WORDS);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words.truncate(end);
    words
}
