//! Who may lead, judged from what one host saw of the lease. Pure: the clock is passed in.
//!
//! Two clocks. *Monotonic* time of this host decides when a lease is over: another holder's from the
//! moment at which we saw its record change, our own from the moment at which the renewal was sent.
//! *Wall* time is written into the record for people to read, and never compared.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use planner::Timestamp;
use tokio::time::Instant;

/// The times of an election.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// How long others must see no change before they take a lease over. In the record in whole
    /// seconds.
    pub(crate) duration: Duration,
    /// How long after the last successful renewal was sent its holder leads.
    pub(crate) renew_deadline: Duration,
    /// From one attempt to the next.
    pub(crate) retry: Duration,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Nothing before this moment.
    Wait(Instant),
    /// Read the lease.
    Read,
    /// Create it.
    Create(Box<Lease>),
    /// Replace it; its resource version says what may be replaced.
    Replace(Box<Lease>),
}

/// One who wants to lead.
#[derive(Debug)]
pub(crate) struct Candidate {
    name: String,
    identity: String,
    timing: Timing,
    seen: Seen,
    /// What was seen is known to be old.
    stale: bool,
    /// The last write came too late. The next one that does waits: somebody writes all the time.
    conflicted: bool,
    /// When the last successful renewal was sent, while we lead.
    renewed: Option<Instant>,
    /// How often we began to lead.
    terms: u64,
    /// Nothing is asked or written before.
    not_before: Instant,
    /// When the lease was read last.
    asked: Option<Instant>,
}

/// The shortest time from one look at the lease to the next, however often it changes.
const PACE: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Seen {
    /// There is no lease.
    Absent,
    /// There is, and its record is as it is since then.
    Since(Box<Lease>, Instant),
}

impl Candidate {
    /// One who knows nothing yet. `name` is the lease's.
    pub(crate) fn new(name: &str, identity: String, timing: Timing, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            identity,
            timing,
            seen: Seen::Absent,
            stale: true,
            conflicted: false,
            renewed: None,
            terms: 0,
            not_before: now,
            asked: None,
        }
    }

    /// Which of our terms this is; it means something while we lead.
    pub(crate) fn term(&self) -> u64 {
        self.terms
    }

    /// Until when we lead, if we do.
    pub(crate) fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|sent| sent + self.timing.renew_deadline)
    }

    /// Who holds the lease, as far as we know: nobody, we, or another one.
    pub(crate) fn holder(&self) -> Option<&str> {
        match &self.seen {
            Seen::Absent => None,
            Seen::Since(lease, _) => holder(lease),
        }
    }

    /// What to do at this moment.
    pub(crate) fn next(&mut self, now: Instant, wall: Timestamp) -> Step {
        if self.leads_until().is_some_and(|until| until <= now) {
            self.renewed = None;
        }
        // A lease that ends meanwhile is not waited for any longer.
        let at = match self.ends() {
            Some(end) if !self.stale && self.renewed.is_none() => self.not_before.min(end),
            _ => self.not_before,
        };
        if now < at {
            return Step::Wait(at);
        }
        if self.stale {
            return Step::Read;
        }
        match &self.seen {
            Seen::Absent => Step::Create(Box::new(self.record(None, wall))),
            Seen::Since(lease, _) if self.may_take(now) => {
                Step::Replace(Box::new(self.record(Some(lease), wall)))
            }
            Seen::Since(..) => Step::Read,
        }
    }

    /// The lease was read: this is it, or there is none. `now` is when the answer was here: a renewal
    /// that it shows was sent before. Says whether it is another one's turn.
    pub(crate) fn read(&mut self, lease: Option<Lease>, asked: Instant, now: Instant) -> bool {
        self.stale = false;
        self.asked = Some(asked);
        self.see(lease, now);
        let wait = !self.may_take(now);
        if wait {
            self.renewed = None;
            self.conflicted = false;
            self.not_before = asked + self.timing.retry;
        }
        wait
    }

    /// Our record was stored.
    pub(crate) fn wrote(&mut self, lease: Lease, sent: Instant, now: Instant) {
        self.stale = false;
        self.conflicted = false;
        self.see(Some(lease), now);
        if self.renewed.replace(sent).is_none() {
            self.terms += 1;
        }
        self.not_before = sent + self.timing.retry;
    }

    /// Somebody wrote, created or deleted the lease since we saw it.
    pub(crate) fn conflict(&mut self, sent: Instant, now: Instant) {
        self.stale = true;
        self.not_before = if self.conflicted {
            sent + self.timing.retry
        } else {
            now
        };
        self.conflicted = true;
    }

    /// There was no answer, or none that helps. What was sent may have been stored all the same.
    pub(crate) fn failed(&mut self, sent: Instant) {
        self.stale = true;
        self.not_before = sent + self.timing.retry;
    }

    /// The lease may have changed: do not wait for the next look.
    pub(crate) fn hint(&mut self, now: Instant) {
        if self.renewed.is_none() {
            self.stale = true;
            let at = self.asked.map_or(now, |asked| now.max(asked + PACE));
            self.not_before = self.not_before.min(at);
        }
    }

    /// The record of one who gives the lease back, if it is ours: others need not wait.
    pub(crate) fn release(&self, wall: Timestamp) -> Option<Lease> {
        let Seen::Since(lease, _) = &self.seen else {
            return None;
        };
        if !self.is_ours(lease) {
            return None;
        }
        let mut lease = Lease::clone(lease);
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: transitions,
            ..LeaseSpec::default()
        });
        Some(lease)
    }

    fn see(&mut self, lease: Option<Lease>, now: Instant) {
        self.seen = match (lease, &self.seen) {
            (None, _) => Seen::Absent,
            // A new label is no sign of life.
            (Some(lease), Seen::Since(before, since)) if before.spec == lease.spec => {
                Seen::Since(Box::new(lease), *since)
            }
            (Some(lease), _) => Seen::Since(Box::new(lease), now),
        };
    }

    fn may_take(&self, now: Instant) -> bool {
        match &self.seen {
            Seen::Absent => true,
            Seen::Since(lease, _) => {
                self.is_ours(lease)
                    || holder(lease).is_none()
                    || self.ends().is_some_and(|end| end <= now)
            }
        }
    }

    /// When the lease of another one is over, if it does not change.
    fn ends(&self) -> Option<Instant> {
        let Seen::Since(lease, since) = &self.seen else {
            return None;
        };
        if holder(lease).is_none() || self.is_ours(lease) {
            return None;
        }
        let seconds = lease.spec.as_ref()?.lease_duration_seconds;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        since.checked_add(seconds.map_or(self.timing.duration, Duration::from_secs))
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(self.identity.as_str())
    }

    /// Our record, in the place of another one.
    fn record(&self, before: Option<&Lease>, wall: Timestamp) -> Lease {
        let Some(before) = before else {
            return Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(wall, wall, 0)),
            };
        };
        let old = before.spec.clone().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or_default();
        let spec = if self.is_ours(before) {
            let acquired = old.acquire_time.map_or(wall, |time| time.0);
            // A wall clock that stands still must not look like a holder that is gone.
            let renewed = match old.renew_time {
                Some(MicroTime(last)) if last.as_microsecond() == wall.as_microsecond() => {
                    last.checked_add(Duration::from_micros(1)).unwrap_or(wall)
                }
                _ => wall,
            };
            self.spec(acquired, renewed, transitions)
        } else {
            self.spec(wall, wall, transitions.saturating_add(1))
        };
        Lease {
            metadata: before.metadata.clone(),
            spec: Some(spec),
        }
    }

    fn spec(&self, acquired: Timestamp, renewed: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref();
    holder.filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests;
