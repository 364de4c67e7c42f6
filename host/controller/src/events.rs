//! Events on nodes, as the Go controller words them.
//!
//! An event is news, not state: it waits in a bounded queue, is sent once, and may be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::NodeReadinessRule;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Client, Resource};
use planner::Timestamp;
use planner::rule::TaintId;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::client::{RequestError, create_event};
use crate::metrics::{Metrics, Write};
use crate::status::clip;

/// The component that events name: clients filter by it.
const CONTROLLER: &str = "node-readiness-controller";
/// More are dropped, with a warning: an event storm must not become a memory leak.
const WAITING: usize = 1024;
/// From half of that on, who tells waits this long for an event to be sent, before the next node: taints are
/// faster to write than to tell.
const PACE: Duration = Duration::from_millis(20);
/// Nobody waits for an API server that has taken no event for so long: a taint is worth more.
const STALLED: Duration = Duration::from_secs(1);
/// A warning is told again after this time: the API server keeps an event for an hour.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// So many warnings are remembered; further ones are not told until some are old.
const REMEMBERED: usize = 10_000;
/// How many are sent at the same time.
const IN_FLIGHT: usize = 8;

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
    told: Arc<Mutex<HashMap<Told, Instant>>>,
    sent: watch::Sender<Instant>,
    metrics: Arc<Metrics>,
}

/// UID, reason and subject of a warning.
type Told = (String, &'static str, String);

impl Events {
    /// The sender, and the work of sending: ends when all senders are gone.
    pub(crate) fn new(
        client: Client,
        timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()>) {
        let (send, receive) = mpsc::channel(WAITING);
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let instance = clip(&format!("{CONTROLLER}-{host}"), 128).into();
        let waiting =
            futures::stream::unfold(receive, |mut receive: mpsc::Receiver<Event>| async {
                receive.recv().await.map(|event| (event, receive))
            });
        let counted = Arc::clone(&metrics);
        let sent = watch::Sender::new(Instant::now());
        let last = sent.clone();
        let work = waiting.for_each_concurrent(IN_FLIGHT, move |event| {
            let (client, metrics) = (client.clone(), Arc::clone(&counted));
            let last = last.clone();
            async move {
                let sent = create_event(&client, &event, timeout).await;
                metrics.wrote(Write::Event, &sent);
                last.send_replace(Instant::now());
                // It is there already: another process told it.
                match sent.or_else(RequestError::accept_conflict) {
                    Ok(()) => {}
                    Err(error @ RequestError::NotLeading(_)) => {
                        debug!(%error, note = event.note, "an event was not sent");
                    }
                    Err(error) => warn!(%error, note = event.note, "an event was not stored"),
                }
            }
        });
        let events = Self {
            send,
            instance,
            told: Arc::default(),
            sent,
            metrics,
        };
        (events, work)
    }

    /// Waits a moment where so many events wait that the next ones might be dropped.
    pub(crate) async fn keep_pace(&self) {
        let mut sent = self.sent.subscribe();
        let stalled = |last: &Instant| last.elapsed() > STALLED;
        if self.send.capacity() < WAITING / 2 && !stalled(&sent.borrow_and_update()) {
            let _ = tokio::time::timeout(PACE, sent.changed()).await;
        }
    }

    /// Tells that something happened to a taint of a node, by a rule with this name and UID. An adoption
    /// is told once for a node and a rule, by whatever process and whatever became of the record of
    /// it, as long as the API server keeps the event.
    pub(crate) fn tell(
        &self,
        node: &planner::facts::Node,
        kind: Kind,
        taint: &TaintId,
        (rule, rule_uid): (&str, &str),
        now: Timestamp,
    ) {
        let (reason, action, words) = kind.words();
        let note = format!("Taint '{taint}' {words} rule '{rule}'");
        let name = match kind {
            Kind::Adopted => format!("{}.{}.{rule_uid}", short(&node.name), node.uid),
            _ => {
                let suffix = taint.key.rsplit('/').next().unwrap_or_default();
                event_name(&node.name, suffix, now)
            }
        };
        self.send(Object::Node(node), "Normal", (reason, action), name, note);
    }

    /// Warns of something about a node or a rule that will not mend itself. The same about the same
    /// `subject` is told once an hour at most, however often it is met.
    pub(crate) fn warn(
        &self,
        object: Object<'_>,
        reason: &'static str,
        subject: &str,
        note: String,
    ) {
        self.warn_since(object, reason, subject, note, Timestamp::now());
    }

    /// As [`Events::warn`], of something that is so since a time: also another process tells it only
    /// once, as long as the API server keeps the event.
    pub(crate) fn warn_since(
        &self,
        object: Object<'_>,
        reason: &'static str,
        subject: &str,
        note: String,
        since: Timestamp,
    ) {
        let (kind, name, uid) = object.identity();
        let event = event_name(name, reason, since);
        let key = (uid.to_owned(), reason, subject.to_owned());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.retain(|_, at| at.elapsed() < AGAIN);
        }
        let again = told.get(&key).is_none_or(|at| at.elapsed() >= AGAIN);
        if !again || told.len() >= REMEMBERED {
            return;
        }
        told.insert(key, Instant::now());
        drop(told);
        warn!(object = format!("{kind}/{name}"), reason, "{note}");
        self.send(object, "Warning", (reason, "Reconcile"), event, note);
    }

    /// Tells that something of which was warned is over.
    pub(crate) fn inform(&self, object: Object<'_>, reason: &'static str, note: String) {
        let (kind, name, _) = object.identity();
        info!(object = format!("{kind}/{name}"), reason, "{note}");
        let event = event_name(name, reason, Timestamp::now());
        self.send(object, "Normal", (reason, "Reconcile"), event, note);
    }

    /// What was warned of is over: if it comes again it is told again.
    pub(crate) fn settled(&self, uid: &str, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(about, why, _), _| about != uid || *why != reason);
    }

    fn send(
        &self,
        object: Object<'_>,
        type_: &str,
        (reason, action): (&str, &str),
        event_name: String,
        note: String,
    ) {
        let (kind, name, uid) = object.identity();
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some("default".into()),
                name: Some(event_name),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some(type_.into()),
            reason: Some(reason.into()),
            action: Some(action.into()),
            note: Some(clip(&note, 1024)),
            regarding: Some(ObjectReference {
                api_version: Some(object.api_version()),
                kind: Some(kind.into()),
                name: Some(name.to_owned()),
                uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        };
        if self.send.try_send(event).is_err() {
            self.metrics.dropped(Write::Event);
            debug!(object = format!("{kind}/{name}"), reason, "event dropped");
            let key = (String::new(), "EventsDropped", String::new());
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(&key).is_none_or(|at| at.elapsed() >= AGAIN) {
                told.insert(key, Instant::now());
                warn!(
                    "events are dropped: more happens than the API server takes; metric \
                       node_readiness_api_writes_total counts them, and this is said once an hour"
                );
            }
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    Node(&'a planner::facts::Node),
    Rule {
        name: &'a str,
        uid: &'a str,
    },
    Policy {
        name: &'a str,
        uid: &'a str,
    },
    /// A `ValidatingWebhookConfiguration`, which may not exist.
    Configuration {
        name: &'a str,
    },
}

impl Object<'_> {
    /// Kind, name and UID.
    fn identity(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Node(node) => ("Node", &node.name, &node.uid),
            Self::Rule { name, uid } => ("NodeReadinessRule", name, uid),
            Self::Policy { name, uid } => ("ReadinessPolicy", name, uid),
            Self::Configuration { name } => ("ValidatingWebhookConfiguration", name, ""),
        }
    }

    fn api_version(&self) -> String {
        match self {
            Self::Node(_) => "v1".into(),
            Self::Rule { .. } | Self::Policy { .. } => {
                NodeReadinessRule::api_version(&()).into_owned()
            }
            Self::Configuration { .. } => "admissionregistration.k8s.io/v1".into(),
        }
    }
}

/// A name that the API server takes, at most 253 characters, whatever the object's is. Unique by its
/// time: one thing happens to an object once in a nanosecond at most.
fn event_name(object: &str, suffix: &str, now: Timestamp) -> String {
    let suffix = suffix.to_ascii_lowercase();
    let suffix = suffix.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let (object, suffix) = (short(object), suffix.trim_matches('-'));
    format!("{object}.{suffix}.{:x}", now.as_nanosecond())
}

/// The beginning of the name of an object, so that more may follow. Each part must end in a letter or a
/// digit.
fn short(name: &str) -> String {
    let name = clip(name, 150);
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_keeps_pace_loses_no_event() {
        let stored = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&stored);
        let service = tower::service_fn(move |_: Request<Body>| {
            let count = Arc::clone(&count);
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, tower::BoxError>(Response::new(Body::from(b"{}".to_vec())))
            }
        });
        let client = Client::new(service, "default");
        let metrics = Arc::new(Metrics::new(false).unwrap());
        let (events, send) = Events::new(client, Duration::from_secs(30), metrics);
        let send = tokio::spawn(send);
        for number in 0..2 * WAITING {
            let name = format!("rule-{number}");
            let rule = Object::Rule {
                name: &name,
                uid: &name,
            };
            events.warn(rule, "Reason", "subject", "note".to_owned());
            events.keep_pace().await;
        }
        drop(events);
        send.await.unwrap();
        assert_eq!(stored.load(Ordering::SeqCst), 2 * WAITING);
    }

    #[test]
    fn an_event_of_the_longest_node_name_has_a_valid_name() {
        let suffix = "T_".repeat(31);
        let now = Timestamp::UNIX_EPOCH;
        for length in [1, 149, 150, 151, 253] {
            let node = "a.".repeat(127)[..length].trim_end_matches('.').to_owned();
            let name = event_name(&node, &suffix, now);
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
