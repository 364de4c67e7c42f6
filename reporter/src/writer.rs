//! Keeps the conditions of the node as the checks say, by as few requests as that takes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::{Api, ApiError};
use crate::condition::{Change, Report, Status, Stored, change, transition};
use crate::log;
use crate::metrics::Metrics;
use crate::node::Node;

/// For so long it is believed that nobody else changed the node. The kubelet looks as often.
const LOOK: Duration = Duration::from_secs(10);
/// Before the second attempt after a failure; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that a failure is waited after.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts at one write while others change the node.
const ATTEMPTS: usize = 5;
/// For the last word. A pod has 30 s.
const LAST: Duration = Duration::from_secs(5);

/// What a check has to say, and how often it has spoken.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Nothing before the first check.
    pub report: Option<Report>,
    /// Checks so far.
    pub times: u64,
}

/// A condition of the node.
struct Kept {
    name: String,
    said: Said,
    /// Was there a check that nothing came of yet?
    is_new: bool,
    /// As it was on the node when somebody looked.
    stored: Option<Stored>,
    /// Did this process write it? The first time it is always written: after a boot that is the proof
    /// that it is not yesterday's.
    is_begun: bool,
    /// When a message was last written although nothing else was new.
    message_written: Option<Instant>,
}

/// Who writes.
pub struct Writer {
    api: Api,
    node: String,
    heartbeat: Duration,
    conditions: Vec<Kept>,
    seen: Option<Instant>,
    metrics: Arc<Metrics>,
    /// What does not work at the moment, in a word.
    problem: Option<String>,
    failures: u32,
}

impl Writer {
    /// Writes these conditions.
    pub fn new(
        api: Api,
        node: String,
        heartbeat: Duration,
        conditions: impl Iterator<Item = String>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let kept = |name| Kept {
            name,
            said: Said::default(),
            is_new: false,
            stored: None,
            is_begun: false,
            message_written: None,
        };
        Self {
            api,
            node,
            heartbeat,
            conditions: conditions.map(kept).collect(),
            seen: None,
            metrics,
            problem: None,
            failures: 0,
        }
    }

    /// Writes whenever a check has spoken. It may be dropped at any moment.
    pub async fn keep(&mut self, mut said: watch::Receiver<Vec<Said>>) {
        while said.changed().await.is_ok() {
            self.hear(&said.borrow_and_update());
            while let Err(error) = self.write().await {
                let pause = self.failed(&error);
                sleep_until(Instant::now() + pause).await;
                self.hear(&said.borrow_and_update());
            }
            self.worked();
        }
    }

    /// Takes back what was said.
    pub async fn set_unknown(&mut self) {
        for kept in &mut self.conditions {
            kept.said.report = Some(Report {
                status: Status::Unknown,
                reason: "ReporterStopped",
                message: "The reporter was told to end".to_owned(),
            });
        }
        match timeout(LAST, self.write()).await {
            Ok(Ok(())) => log::info!("the condition is Unknown from now on"),
            Ok(Err(error)) => log::error!("the condition was not set to Unknown: {error}"),
            Err(_) => log::error!("the condition was not set to Unknown: it took too long"),
        }
    }

    fn hear(&mut self, said: &[Said]) {
        for (kept, said) in self.conditions.iter_mut().zip(said) {
            kept.is_new |= said.times != kept.said.times;
            kept.said = said.clone();
        }
    }

    /// Writes what has to be written, if anything.
    async fn write(&mut self) -> Result<(), ApiError> {
        let is_known = self.seen.is_some_and(|seen| seen.elapsed() < LOOK);
        if is_known && self.due(Timestamp::now()).is_empty() {
            self.skip();
            return Ok(());
        }
        // To look, the cache of the API server will do, and costs it little. Where it is behind, the
        // write is refused.
        let mut cached = !is_known;
        let mut attempt = 1;
        loop {
            let text = self.api.get(cached).await?;
            let node = Node::parse(&text).map_err(|error| ApiError::NoNode(error.to_string()))?;
            for kept in &mut self.conditions {
                kept.stored = node.condition(&kept.name);
            }
            self.seen = Some(Instant::now());
            let now = Timestamp::now();
            let due = self.due(now);
            if due.is_empty() {
                self.skip();
                return Ok(());
            }
            let reports: Vec<(&str, &Report)> = due
                .iter()
                .filter_map(|(place, _)| self.conditions.get(*place))
                .filter_map(|kept| Some((kept.name.as_str(), kept.said.report.as_ref()?)))
                .collect();
            let body = node
                .with(&reports, now)
                .map_err(|error| ApiError::NoNode(error.to_string()))?;
            match self.api.put_status(body).await {
                Ok(()) => {
                    self.wrote(&due, now);
                    return Ok(());
                }
                Err(error) if error.status() == Some(409) && attempt < ATTEMPTS => {
                    cached = false;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The places of the conditions that have to be written, by what is known of the node.
    fn due(&self, now: Timestamp) -> Vec<(usize, Change)> {
        let due = |kept: &Kept| {
            let report = kept.said.report.as_ref()?;
            let message_may_change = kept
                .message_written
                .is_none_or(|written| written.elapsed() >= self.heartbeat);
            let stored = kept.stored.as_ref();
            let change = change(stored, report, now, self.heartbeat, message_may_change);
            change.or((!kept.is_begun).then_some(Change::Heartbeat))
        };
        let all = self.conditions.iter().enumerate();
        all.filter_map(|(place, kept)| Some((place, due(kept)?)))
            .collect()
    }

    fn skip(&mut self) {
        for kept in self.conditions.iter_mut().filter(|kept| kept.is_new) {
            kept.is_new = false;
            self.metrics.skipped.inc();
        }
    }

    fn wrote(&mut self, due: &[(usize, Change)], now: Timestamp) {
        for (place, change) in due {
            let Some(kept) = self.conditions.get_mut(*place) else {
                continue;
            };
            let Some(report) = &kept.said.report else {
                continue;
            };
            kept.is_new = false;
            kept.is_begun = true;
            if *change == Change::Message {
                kept.message_written = Some(Instant::now());
            }
            let transition = transition(kept.stored.as_ref(), report, now);
            kept.stored = Some(Stored {
                status: report.status.as_str().to_owned(),
                reason: report.reason.to_owned(),
                message: report.message.clone(),
                heartbeat: Some(now),
                transition: Some(transition),
            });
            self.metrics.written.inc();
            let level = if *change == Change::Different { 0 } else { 2 };
            log::detail!(
                level,
                "{} is {}: {}: {}",
                kept.name,
                report.status.as_str(),
                report.reason,
                report.message
            );
        }
        self.skip();
    }

    fn worked(&mut self) {
        self.failures = 0;
        if self.problem.take().is_some() {
            log::info!("node {} is written again", self.node);
        }
    }

    /// Counts a failure, says it once, and says how long to wait.
    fn failed(&mut self, error: &ApiError) -> Duration {
        self.seen = None;
        self.failures = self.failures.saturating_add(1);
        let conditions = self.due(Timestamp::now()).len().max(1);
        self.metrics.failed.inc_by(conditions as u64);
        let (problem, advice) = match error {
            ApiError::Unreachable(_) => ("unreachable".to_owned(), ""),
            ApiError::NoToken(_) => ("no token".to_owned(), ""),
            ApiError::NoNode(_) => ("no node".to_owned(), ""),
            ApiError::Answered { status, .. } => {
                let advice = match status {
                    401 => "; is the token of this cluster?",
                    403 => "; docs/reporter.md lists the rights that it needs",
                    404 => "; the node is written as soon as it is there",
                    _ => "",
                };
                (status.to_string(), advice)
            }
        };
        if self.problem.as_ref() == Some(&problem) {
            log::detail!(2, "node {} is still not written: {error}", self.node);
        } else {
            log::warning!("node {} is not written: {error}{advice}", self.node);
            self.problem = Some(problem);
        }
        pause(error, self.failures)
    }
}

/// How long to wait after so many failures in a row: not all nodes at the same moment.
fn pause(error: &ApiError, failures: u32) -> Duration {
    let wanted = match error {
        // The server is well, and a node that comes back shall not wait.
        ApiError::Answered { status: 404, .. } => return LOOK,
        ApiError::Answered { retry_after, .. } => *retry_after,
        _ => Duration::ZERO,
    };
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.clamp(1, 6).saturating_sub(1));
    let random = (RandomState::new().hash_one(failures) >> 40) as f64 / f64::from(1 << 24);
    let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + random / 2.0);
    pause.max(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: u64) -> ApiError {
        ApiError::Answered {
            status,
            message: String::new(),
            retry_after: Duration::from_secs(retry_after),
        }
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let away = ApiError::Unreachable(String::new());
        for (failures, most) in [
            (1, 1),
            (2, 2),
            (3, 4),
            (5, 16),
            (6, 30),
            (7, 30),
            (u32::MAX, 30),
        ] {
            let pause = pause(&away, failures).as_secs_f64();
            let most = f64::from(most);
            assert!(
                (most / 2.0..=most).contains(&pause),
                "{failures}: {pause} s"
            );
        }
        assert_eq!(pause(&answered(429, 7), 1), Duration::from_secs(7));
        assert!(pause(&answered(503, 1), 6) >= Duration::from_secs(15));
        // Whoever waits for a node is as quick after an hour as at first.
        assert_eq!(pause(&answered(404, 0), 1), LOOK);
        assert_eq!(pause(&answered(404, 0), 1000), LOOK);
    }
}
