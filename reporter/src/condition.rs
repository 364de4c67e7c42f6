//! What a condition says, and whether it has to be written. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Ready.
    True,
    /// Not ready.
    False,
    /// Nobody knows.
    Unknown,
}

impl Status {
    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Status.
    pub status: Status,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What the node says already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Status, as it stands there.
    pub status: String,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
    /// When it was last written, if that can be read.
    pub heartbeat: Option<Timestamp>,
    /// When its status changed last, if that can be read.
    pub transition: Option<Timestamp>,
}

/// Why a condition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is not there, or says something else.
    Different,
    /// It says the same with another message.
    Message,
    /// It says the same, and its heartbeat is old.
    Heartbeat,
}

/// What there is to write. A change of the message alone counts only where `message_may_change`:
/// somebody may put the time into it.
pub fn change(
    stored: Option<&Stored>,
    report: &Report,
    now: Timestamp,
    period: Duration,
    message_may_change: bool,
) -> Option<Change> {
    let Some(stored) = stored else {
        return Some(Change::Different);
    };
    if stored.status != report.status.as_str() || stored.reason != report.reason {
        return Some(Change::Different);
    }
    if stored.message != report.message && message_may_change {
        return Some(Change::Message);
    }
    let Some(heartbeat) = stored.heartbeat else {
        return Some(Change::Heartbeat);
    };
    let age = now.duration_since(heartbeat);
    let is_fresh = match Duration::try_from(age) {
        Ok(age) => age < period,
        // The API knows times to the second. One further in the future is of a clock that was set
        // since, and says nothing.
        Err(_) => age.abs().as_secs() < 2,
    };
    (!is_fresh).then_some(Change::Heartbeat)
}

/// When the status became what it is, once the report is written.
pub fn transition(stored: Option<&Stored>, report: &Report, now: Timestamp) -> Timestamp {
    stored
        .filter(|stored| stored.status == report.status.as_str())
        .and_then(|stored| stored.transition)
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn report(status: Status, reason: &'static str, message: &str) -> Report {
        Report {
            status,
            reason,
            message: message.to_owned(),
        }
    }

    fn stored(report: &Report, heartbeat: i64, transition: i64) -> Stored {
        Stored {
            status: report.status.as_str().to_owned(),
            reason: report.reason.to_owned(),
            message: report.message.clone(),
            heartbeat: Some(at(heartbeat)),
            transition: Some(at(transition)),
        }
    }

    #[test]
    fn compat_049_what_says_the_same_is_written_when_its_heartbeat_is_old() {
        let ready = report(Status::True, "EndpointOK", "m");
        let stored = stored(&ready, 0, -1000);
        for (now, expected) in [
            (0, None),
            (299, None),
            (300, Some(Change::Heartbeat)),
            (301, Some(Change::Heartbeat)),
            (-1, None),
            (-60, Some(Change::Heartbeat)),
        ] {
            let change = change(Some(&stored), &ready, at(now), PERIOD, true);
            assert_eq!(change, expected, "after {now} s");
            assert_eq!(transition(Some(&stored), &ready, at(now)), at(-1000));
        }
        let without = Stored {
            heartbeat: None,
            transition: None,
            ..stored
        };
        let change = change(Some(&without), &ready, at(1), PERIOD, true);
        assert_eq!(change, Some(Change::Heartbeat));
        assert_eq!(transition(Some(&without), &ready, at(1)), at(1));
    }

    #[test]
    fn compat_049_a_new_status_or_reason_is_written_at_once() {
        let ready = report(Status::True, "EndpointOK", "m");
        let stored = stored(&ready, 0, -1000);
        let unready = report(Status::False, "EndpointNotReady", "m");
        for may in [true, false] {
            let change = |stored, report| change(stored, report, at(1), PERIOD, may);
            assert_eq!(change(Some(&stored), &unready), Some(Change::Different));
            assert_eq!(change(None, &ready), Some(Change::Different));
            let reason = report(Status::True, "Other", "m");
            assert_eq!(change(Some(&stored), &reason), Some(Change::Different));
            assert_eq!(transition(Some(&stored), &reason, at(1)), at(-1000));
        }
        assert_eq!(transition(Some(&stored), &unready, at(1)), at(1));
        assert_eq!(transition(None, &ready, at(1)), at(1));
    }

    #[test]
    fn compat_049_a_new_message_waits_until_it_may_be_written() {
        let unready = report(Status::False, "EndpointNotReady", "at 12:00:00");
        let stored = stored(&unready, 0, 0);
        let later = report(Status::False, "EndpointNotReady", "at 12:00:05");
        let change = |may, now| change(Some(&stored), &later, at(now), PERIOD, may);
        assert_eq!(change(true, 5), Some(Change::Message));
        assert_eq!(change(false, 5), None);
        assert_eq!(change(false, 300), Some(Change::Heartbeat));
    }
}
