//! Why a module does not get to decide, or not yet.

use planner::rule::Status;

/// How far a module came: each is a condition of its `ReadinessPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Fetched,
    Verified,
    Compatible,
    FactsAvailable,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [
        Self::Fetched,
        Self::Verified,
        Self::Compatible,
        Self::FactsAvailable,
    ];

    /// Type of the condition.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Fetched => "Fetched",
            Self::Verified => "Verified",
            Self::Compatible => "Compatible",
            Self::FactsAvailable => "FactsAvailable",
        }
    }

    /// Reason of the event that warns where it was not reached.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Fetched => "PolicyNotFetched",
            Self::Verified => "PolicyNotVerified",
            Self::Compatible => "PolicyNotCompatible",
            Self::FactsAvailable => "PolicyFactsUnavailable",
        }
    }
}

/// [`Trouble::reason`] of a policy that asks about objects which are just being listed.
pub(super) const BEING_LISTED: &str = "BeingListed";

/// [`Trouble::reason`] of a module that is just being brought …
const FETCHING: &str = "Fetching";
/// … and of one that is just being compiled.
const COMPILING: &str = "Compiling";

/// Which step was not reached, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) step: Step,
    /// CamelCase.
    pub(super) reason: String,
    /// A sentence.
    pub(super) message: String,
    /// May it pass, or be corrected, without a change of the object?
    pub(super) passes: bool,
}

impl Trouble {
    /// Somebody has to change the object.
    pub(super) fn lasting(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self {
            step,
            reason: reason.to_owned(),
            message: message.into(),
            passes: false,
        }
    }

    /// Nothing is wrong: it is being brought.
    pub(super) fn fetching(message: String) -> Self {
        Self::passing(Step::Fetched, FETCHING, message)
    }

    /// Nothing is wrong: it is being compiled.
    pub(super) fn compiling(message: String) -> Self {
        Self::passing(Step::Compatible, COMPILING, message)
    }

    /// Is its step under way, and nothing known to be wrong?
    pub(super) fn is_under_way(&self) -> bool {
        [FETCHING, COMPILING].contains(&self.reason.as_str())
    }

    /// Of its step's condition.
    pub(super) fn status(&self) -> Status {
        if self.is_under_way() {
            Status::Unknown
        } else {
            Status::False
        }
    }

    /// Is it nothing to warn about?
    pub(super) fn is_a_wait(&self) -> bool {
        self.reason == BEING_LISTED
    }

    /// It is worth another attempt.
    pub(super) fn passing(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self {
            passes: true,
            ..Self::lasting(step, reason, message)
        }
    }
}
