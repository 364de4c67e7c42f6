//! A policy as a rule has it: what decides, and what it means where that fails.

use std::ops::Deref;
use std::sync::Arc;

use engine::Policy;
use planner::Timestamp;
use planner::question::Answers;
use planner::rule::Rule;
use planner::verdict::{Decision, TaintAction, Verdict};

use super::guard::Guard;
use crate::status::clip;

/// The longest message of a decision, in bytes.
const MESSAGE: usize = 1024;

/// `spec.onFailure` of a policy: what becomes of a node where it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Its taint stays as it is.
    #[default]
    Hold,
    /// The node is held.
    Taint,
    /// The node is let go. Its bootstrap is not complete.
    Release,
}

impl OnFailure {
    /// From the API's word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "Hold" => Some(Self::Hold),
            "Taint" => Some(Self::Taint),
            "Release" => Some(Self::Release),
            _ => None,
        }
    }
}

/// A policy that decides for rules.
#[derive(Debug, Clone)]
pub struct RulePolicy {
    policy: Policy,
    on_failure: OnFailure,
    /// None: it is asked however often it fails.
    guard: Option<Arc<Guard>>,
}

impl From<Policy> for RulePolicy {
    /// Its failures hold.
    fn from(policy: Policy) -> Self {
        Self {
            policy,
            on_failure: OnFailure::Hold,
            guard: None,
        }
    }
}

impl Deref for RulePolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}

impl RulePolicy {
    /// One that is left alone where it fails again and again.
    pub(super) fn of_object(policy: Policy, on_failure: OnFailure) -> Self {
        Self {
            policy,
            on_failure,
            guard: Some(Arc::default()),
        }
    }

    /// Is it the same one, loaded by the same call, and do its failures mean the same?
    pub fn is(&self, other: &Self) -> bool {
        self.policy.is(&other.policy) && self.on_failure == other.on_failure
    }

    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_deref()
    }

    /// Asks it, unless it failed too often.
    pub(crate) fn ask(
        &self,
        rule: &Arc<Rule>,
        answers: Box<dyn Answers>,
        now: Timestamp,
    ) -> Verdict {
        let Some(guard) = &self.guard else {
            return self.policy.evaluate(rule, answers);
        };
        match guard.ask(now) {
            Ok(permit) => {
                let verdict = self.policy.evaluate(rule, answers);
                guard.tell(permit, &verdict);
                verdict
            }
            Err(refused) => refused,
        }
    }

    /// A run of it was found again that it made before.
    pub(crate) fn recalled(&self) {
        if let Some(guard) = &self.guard {
            guard.recalled();
        }
    }

    /// What counts in place of a failure; none: the verdict itself.
    pub(crate) fn instead(&self, verdict: &Verdict) -> Option<Verdict> {
        let failure = verdict.result.as_ref().err()?;
        let (taint, word) = match self.on_failure {
            OnFailure::Hold => return None,
            OnFailure::Taint => (TaintAction::Present, "Taint"),
            OnFailure::Release => (TaintAction::Absent, "Release"),
        };
        let message = format!(
            "the policy failed ({}), and its onFailure is {word}: {}",
            failure.kind, failure.message
        );
        let decision = Decision {
            taint,
            complete_bootstrap: false,
            per_boot: false,
            reason: failure.kind.to_owned(),
            message: clip(&message, MESSAGE),
            findings: Vec::new(),
        };
        Some(Verdict {
            result: Ok(decision),
            reads: verdict.reads.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use planner::verdict::Failure;

    use super::*;

    fn failed() -> Verdict {
        Verdict {
            result: Err(Failure {
                kind: "Trapped",
                message: "x".repeat(2000),
            }),
            reads: Vec::new(),
        }
    }

    #[test]
    fn what_a_failure_means_is_what_the_policy_says() {
        let engine = engine::Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let policy = engine.default_policy().unwrap();
        let with = |word| RulePolicy::of_object(policy.clone(), OnFailure::parse(word).unwrap());
        assert_eq!(with("Hold").instead(&failed()), None);
        assert_eq!(RulePolicy::from(policy.clone()).instead(&failed()), None);
        for (word, taint) in [
            ("Taint", TaintAction::Present),
            ("Release", TaintAction::Absent),
        ] {
            let decision = with(word).instead(&failed()).unwrap().result.unwrap();
            assert_eq!(
                (decision.taint, decision.reason.as_str()),
                (taint, "Trapped")
            );
            assert!(!decision.complete_bootstrap && decision.message.len() <= MESSAGE);
            assert!(!with(word).is(&with("Hold")));
        }
        let decided = with("Taint").instead(&failed()).unwrap();
        assert_eq!(with("Release").instead(&decided), None, "it decided");
        assert_eq!(OnFailure::parse("Panic"), None);
    }
}
