//! What a policy answered, or why it did not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::question::Read;

/// The decision of a policy about one node and one rule, checked against the limits of the
/// contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What shall become of the taint.
    pub taint: TaintAction,
    /// Record that the bootstrap is complete. Only with [`TaintAction::Absent`].
    pub complete_bootstrap: bool,
    /// The bootstrap is to be completed once in each boot.
    pub per_boot: bool,
    /// CamelCase word, 1 to 64 characters.
    pub reason: String,
    /// Sentence, at most 1 KiB; empty: to be written from the findings.
    pub message: String,
    /// What was looked at, in order.
    pub findings: Vec<Finding>,
}

/// What shall become of a rule's taint on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaintAction {
    /// Shall be there.
    Present,
    /// Shall not be there.
    Absent,
    /// As it is.
    Keep,
}

/// One thing that a policy looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// Was it as it should be?
    pub met: bool,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Index into the rule's requirements; always a valid one.
    Requirement(usize),
    /// Anything else, in words, at most 256 bytes.
    Other(String),
}

/// Why a policy gave no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// CamelCase word for status reasons and metric labels: `DeadlineExceeded`, `MemoryExceeded`,
    /// `StackOverflow`, `Trapped`, `PolicyError`, `OutputTooLarge`, `InvalidDecision`, …
    pub kind: &'static str,
    /// What happened, for people.
    pub message: String,
}

/// One evaluation: what came out, and what was read on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The decision, or why there is none.
    pub result: Result<Decision, Failure>,
    /// The questions in the order asked, each once.
    pub reads: Vec<Read>,
}

impl Verdict {
    /// The first moment at which time alone changes an answer that was read.
    pub fn ask_again_at(&self) -> Option<Timestamp> {
        self.reads.iter().filter_map(|read| read.until).min()
    }
}
