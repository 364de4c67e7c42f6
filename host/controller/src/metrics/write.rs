//! Writes to the API server, by what they are for.

use planner::plan::Plan;

use crate::client::RequestError;
use crate::metrics::Metrics;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// Taints of a node, with all that goes with them.
    NodeTaints,
    /// Only that a bootstrap is complete.
    NodeCompletion,
    /// Only who owns a taint, or that a completion goes.
    NodeRecord,
    RuleFinalizer,
    /// The annotation that freezes every rule: put on one, or taken off one that goes.
    RuleFreeze,
    RuleStatus,
    PolicyStatus,
    Event,
}

impl Write {
    /// What the patch of a plan is for.
    pub(crate) fn of(plan: &Plan) -> Self {
        if !(plan.changes.add.is_empty() && plan.changes.remove.is_empty()) {
            Self::NodeTaints
        } else if plan.outcomes.iter().any(|outcome| outcome.completes) {
            Self::NodeCompletion
        } else {
            Self::NodeRecord
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::NodeTaints => "node_taints",
            Self::NodeCompletion => "node_completion",
            Self::NodeRecord => "node_record",
            Self::RuleFinalizer => "rule_finalizer",
            Self::RuleFreeze => "rule_freeze",
            Self::RuleStatus => "rule_status",
            Self::PolicyStatus => "policy_status",
            Self::Event => "event",
        }
    }
}

impl Metrics {
    /// A write was answered, or was not.
    pub(crate) fn wrote<T>(&self, kind: Write, answer: &Result<T, RequestError>) {
        let result = match answer {
            Ok(_) => "success",
            Err(RequestError::Conflict(_)) => "conflict",
            Err(RequestError::Refused(_)) => "refused",
            Err(RequestError::NotFound(_)) => "not_found",
            Err(RequestError::NotLeading(_)) => "not_leading",
            Err(RequestError::Other(_)) => "error",
        };
        self.writes
            .with_label_values(&[kind.as_str(), result])
            .inc();
    }

    /// A write was given up before it was sent.
    pub(crate) fn dropped(&self, kind: Write) {
        self.writes
            .with_label_values(&[kind.as_str(), "dropped"])
            .inc();
    }
}
