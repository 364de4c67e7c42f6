//! Why a module does not get to decide.

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
