//! Events on nodes, as the Go controller words them.
//!
//! An event is news, not state: it waits in a bounded queue, is sent once, and may be lost.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use planner::Timestamp;
use planner::rule::TaintId;
use tokio::sync::mpsc;
use tracing::warn;

use crate::client::create_event;

/// The component that events name: clients filter by it.
const CONTROLLER: &str = "node-readiness-controller";
/// More are dropped, with a warning: an event storm must not become a memory leak.
const WAITING: usize = 4096;
/// How many are sent at the same time.
const IN_FLIGHT: usize = 4;

/// What happened to a taint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Added,
    Removed,
    Adopted,
}

impl Kind {
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Added => ("TaintAdded", "AddTaint", "added by"),
            Self::Removed => ("TaintRemoved", "RemoveTaint", "removed by"),
            Self::Adopted => ("TaintAdopted", "AdoptTaint", "is now managed by"),
        }
    }
}

/// Where events are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    send: mpsc::Sender<Event>,
    instance: Arc<str>,
}

impl Events {
    /// The sender, and the work of sending: ends when all senders are gone.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (send, receive) = mpsc::channel(WAITING);
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let instance = clip(format!("{CONTROLLER}-{host}"), 128).into();
        let waiting =
            futures::stream::unfold(receive, |mut receive: mpsc::Receiver<Event>| async {
                receive.recv().await.map(|event| (event, receive))
            });
        let work = waiting.for_each_concurrent(IN_FLIGHT, move |event| {
            let client = client.clone();
            async move {
                if let Err(error) = create_event(&client, &event).await {
                    warn!(%error, note = event.note, "an event was not stored");
                }
            }
        });
        (Self { send, instance }, work)
    }

    /// Tells that something happened to a taint of a node.
    pub(crate) fn tell(
        &self,
        node: &planner::facts::Node,
        kind: Kind,
        taint: &TaintId,
        rule: &str,
        now: Timestamp,
    ) {
        let (reason, action, words) = kind.words();
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some("default".into()),
                // Unique by its time: a taint of a node changes once in a nanosecond at most.
                name: Some(event_name(&node.name, taint, now)),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some("Normal".into()),
            reason: Some(reason.into()),
            action: Some(action.into()),
            note: Some(clip(format!("Taint '{taint}' {words} rule '{rule}'"), 1024)),
            regarding: Some(ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Node".into()),
                name: Some(node.name.clone()),
                uid: Some(node.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        };
        if self.send.try_send(event).is_err() {
            warn!(
                node = node.name,
                reason, "an event was dropped: too many are waiting"
            );
        }
    }
}

/// A name that the API server takes, at most 253 characters, whatever the node's is.
fn event_name(node: &str, taint: &TaintId, now: Timestamp) -> String {
    let suffix = taint
        .key
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let suffix = suffix.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let node = clip(node.to_owned(), 150);
    // Each part must end in a letter or a digit.
    let node = node.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!(
        "{node}.{}.{:x}",
        suffix.trim_matches('-'),
        now.as_nanosecond()
    )
}

fn clip(mut text: String, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use planner::rule::Effect;

    use super::*;

    #[test]
    fn an_event_of_the_longest_node_name_has_a_valid_name() {
        let taint = TaintId {
            key: format!("readiness.k8s.io/{}", "T_".repeat(31)),
            effect: Effect::NoSchedule,
        };
        let now = Timestamp::UNIX_EPOCH;
        for length in [1, 149, 150, 151, 253] {
            let node = "a.".repeat(127)[..length].trim_end_matches('.').to_owned();
            let name = event_name(&node, &taint, now);
            assert!(name.len() <= 253, "{name}");
            let valid = |part: &str| {
                let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                part.starts_with(ends)
                    && part.ends_with(ends)
                    && part.chars().all(|c| ends(c) || c == '-')
            };
            assert!(name.split('.').all(valid), "{name}");
        }
    }
}
