//! Why a module does not get to decide.

/// How far a module came: each is a condition of its `ReadinessPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Fetched,
    Verified,
    Compatible,
}

impl Step {
    pub(super) const ALL: [Self; 3] = [Self::Fetched, Self::Verified, Self::Compatible];

    /// Type of the condition.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Fetched => "Fetched",
            Self::Verified => "Verified",
            Self::Compatible => "Compatible",
        }
    }

    /// Reason of the event that warns where it was not reached.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Fetched => "PolicyNotFetched",
            Self::Verified => "PolicyNotVerified",
            Self::Compatible => "PolicyNotCompatible",
        }
    }
}

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

    /// It is worth another attempt.
    pub(super) fn passing(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self {
            passes: true,
            ..Self::lasting(step, reason, message)
        }
    }
}
