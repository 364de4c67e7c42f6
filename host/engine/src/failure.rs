//! What can go wrong in a call of a policy.

use planner::verdict::Failure;
use wasmtime::Trap;

use crate::class::Allowance;
use crate::size::Size;

/// What went wrong in a call. [`Failure::kind`] is the [`as_str`](Self::as_str) of one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// It ran longer than its deadline.
    DeadlineExceeded,
    /// It wanted more memory than it may have, or too large a table.
    MemoryExceeded,
    /// It recursed too deeply.
    StackOverflow,
    /// It trapped: a panic, a division by zero, a wild pointer.
    Trapped,
    /// It returned an error: it says itself that it cannot decide.
    PolicyError,
    /// It handed over more data than a call may.
    OutputTooLarge,
    /// It asked more different questions than a call may.
    TooManyQuestions,
    /// It asked a question in `describe` or `check` that may only be asked in `evaluate`.
    QuestionNotAllowed,
    /// Its decision breaks a limit of the contract.
    InvalidDecision,
    /// What its `check` found breaks a limit of the contract.
    InvalidProblem,
    /// What it handed over cannot be read, such as text that is not UTF-8.
    WrongAbi,
    /// The host itself failed.
    HostError,
}

impl FailureKind {
    /// The CamelCase word for status reasons and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::MemoryExceeded => "MemoryExceeded",
            Self::StackOverflow => "StackOverflow",
            Self::Trapped => "Trapped",
            Self::PolicyError => "PolicyError",
            Self::OutputTooLarge => "OutputTooLarge",
            Self::TooManyQuestions => "TooManyQuestions",
            Self::QuestionNotAllowed => "QuestionNotAllowed",
            Self::InvalidDecision => "InvalidDecision",
            Self::InvalidProblem => "InvalidProblem",
            Self::WrongAbi => "WrongAbi",
            Self::HostError => "HostError",
        }
    }

    pub(crate) fn because(self, message: impl Into<String>) -> Failure {
        Failure {
            kind: self.as_str(),
            message: message.into(),
        }
    }
}

/// Why the host stops a policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it wanted {} of memory", Size::of(*.wanted))]
    Memory { wanted: usize },
    #[error("it wanted a table of {wanted} elements; {most} are allowed")]
    Table { wanted: usize, most: usize },
    #[error("it asked more than {0}")]
    Questions(&'static str),
    #[error("it asked `{asked}` in `{call}`, where {allowed} may be asked")]
    NotAllowed {
        asked: &'static str,
        call: &'static str,
        allowed: &'static str,
    },
    #[error("the host gave an answer of the wrong type")]
    WrongAnswer,
    #[error("the host has no memory left for it")]
    NoMemory,
}

/// The typed form of what ended a call that had this allowance, of this kind if it is nothing better
/// known.
pub(crate) fn failure(
    error: &wasmtime::Error,
    allowance: &Allowance,
    other: FailureKind,
) -> Failure {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Memory { .. } => FailureKind::MemoryExceeded.because(format!(
                "{stop}; {} are allowed",
                Size::of(allowance.memory)
            )),
            Stop::Table { .. } => FailureKind::MemoryExceeded.because(stop.to_string()),
            Stop::Questions(_) => FailureKind::TooManyQuestions.because(stop.to_string()),
            Stop::NotAllowed { .. } => FailureKind::QuestionNotAllowed.because(stop.to_string()),
            Stop::WrongAnswer | Stop::NoMemory => FailureKind::HostError.because(stop.to_string()),
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            return FailureKind::DeadlineExceeded
                .because(format!("it ran longer than {:?}", allowance.deadline));
        }
        Some(Trap::StackOverflow) => {
            return FailureKind::StackOverflow.because("it recursed too deeply");
        }
        Some(Trap::UnreachableCodeReached) => {
            return FailureKind::Trapped.because("it gave up: a panic, or an `unreachable`");
        }
        Some(Trap::MemoryOutOfBounds) => {
            return FailureKind::Trapped.because(
                "it reached outside its memory: a wild pointer, or a larger stack than it was \
                 linked with",
            );
        }
        Some(trap) => return FailureKind::Trapped.because(trap.to_string()),
        None => {}
    }
    let cause = error.root_cause().to_string();
    // The error has no type that could be asked for; a test holds on to its text.
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return FailureKind::OutputTooLarge.because(format!(
            "it handed over more than {} bytes at once",
            crate::sandbox::TRANSFER
        ));
    }
    other.because(match other {
        FailureKind::WrongAbi => format!("what it handed over cannot be read: {cause}"),
        _ => format!("it could not be started: {cause}"),
    })
}
