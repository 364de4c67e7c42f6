//! A node as the API server sent it. What is not ours goes back as it came, byte for byte: a field that
//! a later version of the API adds must survive a reporter that does not know it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::condition::{Report, Stored, transition};

/// An object whose values are not looked at.
type Raw<'a> = BTreeMap<String, &'a RawValue>;

/// A node, borrowed from the text that it was read from.
#[derive(Debug)]
pub struct Node<'a> {
    object: Raw<'a>,
    status: Raw<'a>,
    conditions: Vec<&'a RawValue>,
}

/// What is looked at of a condition. Nothing of it may be wrong enough to hide another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    last_heartbeat_time: Option<String>,
    last_transition_time: Option<String>,
}

impl<'a> Node<'a> {
    /// # Errors
    /// It is no object of this form.
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let object: Raw = serde_json::from_slice(text)?;
        let status: Raw = match object.get("status") {
            Some(status) => from_raw(status)?.unwrap_or_default(),
            None => Raw::new(),
        };
        let conditions = match status.get("conditions") {
            Some(conditions) => from_raw(conditions)?.unwrap_or_default(),
            None => Vec::new(),
        };
        Ok(Self {
            object,
            status,
            conditions,
        })
    }

    /// What it says of a condition. Of several of a type the first counts, as for everybody who reads
    /// them.
    pub fn condition(&self, name: &str) -> Option<Stored> {
        let (_, condition) = self.find(name)?;
        let time = |text: Option<String>| text?.parse::<Timestamp>().ok();
        Some(Stored {
            status: condition.status.unwrap_or_default(),
            reason: condition.reason.unwrap_or_default(),
            message: condition.message.unwrap_or_default(),
            heartbeat: time(condition.last_heartbeat_time),
            transition: time(condition.last_transition_time),
        })
    }

    /// The node with these conditions, and nothing else changed.
    ///
    /// # Errors
    /// It cannot be printed: a defect.
    pub fn with(&self, reports: &[(&str, &Report)], now: Timestamp) -> serde_json::Result<Vec<u8>> {
        let mut written = Vec::new();
        for (name, report) in reports {
            let place = self.find(name).map(|(place, _)| place);
            let mut condition: Map<String, Value> = place
                .and_then(|place| self.conditions.get(place))
                .and_then(|raw| serde_json::from_str(raw.get()).ok())
                .unwrap_or_default();
            let stored = self.condition(name);
            let transition = transition(stored.as_ref(), report, now);
            for (field, value) in [
                ("type", json!(name)),
                ("status", json!(report.status.as_str())),
                ("reason", json!(report.reason)),
                ("message", json!(report.message)),
                ("lastHeartbeatTime", json!(time(now))),
                ("lastTransitionTime", json!(time(transition))),
            ] {
                condition.insert(field.to_owned(), value);
            }
            written.push((place, to_raw_value(&condition)?));
        }
        let mut conditions = self.conditions.clone();
        for (place, raw) in &written {
            match place.and_then(|place| conditions.get_mut(place)) {
                Some(condition) => *condition = raw,
                None => conditions.push(raw),
            }
        }
        let conditions = to_raw_value(&conditions)?;
        let mut status = self.status.clone();
        status.insert("conditions".to_owned(), &conditions);
        let status = to_raw_value(&status)?;
        let mut object = self.object.clone();
        object.insert("status".to_owned(), &status);
        serde_json::to_vec(&object)
    }

    fn find(&self, name: &str) -> Option<(usize, Condition)> {
        let read = |raw: &&RawValue| serde_json::from_str::<Condition>(raw.get()).ok();
        let conditions = self.conditions.iter().map(read).enumerate();
        let mut conditions = conditions.filter_map(|(place, read)| Some((place, read?)));
        conditions.find(|(_, condition)| condition.r#type.as_deref() == Some(name))
    }
}

/// `null` is what is not there.
fn from_raw<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> serde_json::Result<Option<T>> {
    serde_json::from_str(raw.get())
}

/// As the API server prints a time: to the second.
fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Status;

    const NODE: &str = r#"{"kind":"Node","metadata":{"name":"n","future":18446744073709551616},
        "status":{"conditions":[{"type":"Ready","status":"True","exact":1.10},
        {"type":"a","status":"False","reason":"R","message":"m","more":{"x":1},
         "lastHeartbeatTime":"2026-01-02T03:04:05Z","lastTransitionTime":"2026-01-01T00:00:00Z"},
        {"type":"a","status":"True"}, 7],"images":[{"sizeBytes":9007199254740993}]}}"#;

    fn now() -> Timestamp {
        "2026-01-02T03:05:00.9Z".parse().unwrap()
    }

    fn report(status: Status) -> Report {
        Report {
            status,
            reason: "EndpointOK",
            message: "fine".to_owned(),
        }
    }

    fn written(text: &str, name: &str, report: &Report) -> String {
        let node = Node::parse(text.as_bytes()).unwrap();
        String::from_utf8(node.with(&[(name, report)], now()).unwrap()).unwrap()
    }

    #[test]
    fn compat_049_what_is_not_ours_is_kept_byte_for_byte() {
        let text = written(NODE, "a", &report(Status::True));
        for part in [
            r#""metadata":{"name":"n","future":18446744073709551616}"#,
            r#"[{"type":"Ready","status":"True","exact":1.10},{"#,
            r#",{"type":"a","status":"True"},7]"#,
            r#""images":[{"sizeBytes":9007199254740993}]"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let ours = Node::parse(text.as_bytes()).unwrap().condition("a");
        let ours = ours.unwrap();
        assert_eq!(ours.status, "True");
        assert_eq!(
            ours.heartbeat,
            Some("2026-01-02T03:05:00Z".parse().unwrap())
        );
        assert_eq!(ours.transition, ours.heartbeat);
        assert!(text.contains(r#""more":{"x":1}"#), "{text}");
        let same = written(NODE, "a", &report(Status::False));
        let transition = r#""lastTransitionTime":"2026-01-01T00:00:00Z""#;
        assert!(same.contains(transition), "{same}");
    }

    #[test]
    fn compat_049_a_new_condition_is_appended() {
        let text = written(NODE, "b", &report(Status::True));
        assert!(
            text.contains(r#"{"type":"a","status":"True"},7,{"#),
            "{text}"
        );
        for bare in [
            r#"{"kind":"Node"}"#,
            r#"{"status":null}"#,
            r#"{"status":{"conditions":null}}"#,
            r#"{"status":{"conditions":[]}}"#,
        ] {
            let text = written(bare, "b", &report(Status::Unknown));
            let node = Node::parse(text.as_bytes()).unwrap();
            assert_eq!(node.condition("b").unwrap().status, "Unknown");
            assert_eq!(node.conditions.len(), 1);
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"status":1}"#,
            r#"{"status":{"conditions":1}}"#,
        ] {
            assert!(Node::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
