//! How often in a row a check must say the same before it is believed. Pure.

use crate::condition::{Report, Status};

/// Until a success is believed for the first time.
pub const NOT_YET: &str = "ThresholdNotReached";

/// How many times in a row; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes, before the condition becomes True.
    pub success: u32,
    /// Failures, before the condition is True no more.
    pub failure: u32,
}

/// What a check said so far.
#[derive(Debug)]
pub struct Believed {
    thresholds: Thresholds,
    report: Report,
    successes: u32,
    failures: u32,
}

impl Believed {
    /// Nothing is known yet.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            report: Report {
                status: Status::Unknown,
                reason: NOT_YET,
                message: String::new(),
            },
            successes: 0,
            failures: 0,
        }
    }

    /// What the condition shall say, now that the check said this. What was not ready before is not
    /// ready at its first failure: there is nothing to protect from a flap.
    pub fn after(&mut self, said: Report) -> &Report {
        let was_ready = self.report.status == Status::True;
        let is_believed = if said.status == Status::True {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
            was_ready || self.successes >= self.thresholds.success
        } else {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
            !was_ready || self.failures >= self.thresholds.failure
        };
        if is_believed {
            self.report = said;
        } else if self.report.status == Status::Unknown {
            let (seen, wanted) = (self.successes, self.thresholds.success);
            self.report.message = format!("{}, {seen} of {wanted} times in a row", said.message);
        }
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` for a success, `-` for a failure; the status after each.
    fn statuses(success: u32, failure: u32, said: &str) -> String {
        let mut believed = Believed::new(Thresholds { success, failure });
        let after = |character| {
            let status = match character {
                '+' => Status::True,
                _ => Status::False,
            };
            let report = believed.after(Report {
                status,
                reason: "",
                message: String::new(),
            });
            report.status.as_str().chars().next().unwrap()
        };
        said.chars().map(after).collect()
    }

    #[test]
    fn the_first_word_counts_where_nothing_else_is_asked_for() {
        assert_eq!(statuses(1, 1, "+-+--+"), "TFTFFT");
    }

    #[test]
    fn failures_are_believed_when_there_are_enough_in_a_row() {
        assert_eq!(statuses(1, 3, "+--+---+"), "TTTTTTFT");
        assert_eq!(statuses(1, 3, "-+"), "FT");
    }

    #[test]
    fn successes_are_believed_when_there_are_enough_in_a_row() {
        assert_eq!(statuses(3, 1, "++-+++-++-"), "UUFFFTFFFF");
    }

    #[test]
    fn what_is_not_believed_changes_nothing_of_the_report() {
        let mut believed = Believed::new(Thresholds {
            success: 1,
            failure: 2,
        });
        let said = |status, message: &str| Report {
            status,
            reason: "R",
            message: message.to_owned(),
        };
        believed.after(said(Status::True, "ready"));
        let kept = believed.after(said(Status::False, "away"));
        assert_eq!(*kept, said(Status::True, "ready"));
    }
}
