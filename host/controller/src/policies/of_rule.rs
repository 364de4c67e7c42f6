//! A policy as a rule has it: what decides, and what it means where that fails.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use engine::{Class, Policy};
use planner::memo::Memo;
use planner::question::NodeAnswers;
use planner::rule::Rule;
use planner::verdict::{Decision, TaintAction, Verdict};
use rustix::time::{ClockId, clock_gettime};

use super::aside::{Aside, Asked, Wake};
use super::guard::Guard;
use crate::rules::{Against, accepts};
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
    /// None: it is asked on the thread that wants to know, always.
    aside: Option<Arc<Aside>>,
}

impl From<Policy> for RulePolicy {
    /// Its failures hold.
    fn from(policy: Policy) -> Self {
        Self {
            policy,
            on_failure: OnFailure::Hold,
            guard: None,
            aside: None,
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
    pub(crate) fn of_object(policy: Policy, on_failure: OnFailure) -> Self {
        Self {
            policy,
            on_failure,
            guard: Some(Arc::default()),
            aside: None,
        }
    }

    /// The same, asked on other threads where it may take long.
    pub(super) fn aside(mut self, wake: Wake) -> Self {
        let is_large = self.policy.class() == Class::Large;
        self.aside = Some(Arc::new(Aside::new(wake, is_large)));
        self
    }

    /// Is it the same one, loaded by the same call, and do its failures mean the same?
    pub fn is(&self, other: &Self) -> bool {
        self.policy.is(&other.policy) && self.on_failure == other.on_failure
    }

    /// Is it that of an object, and not the one that is built in?
    pub(crate) fn is_object(&self) -> bool {
        self.guard.is_some()
    }

    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_deref()
    }

    /// Asks it, unless it failed too often. None: it will be known, and then the node is due.
    pub(crate) fn ask(
        &self,
        memo: &Arc<RwLock<Memo>>,
        rule: &Arc<Rule>,
        answers: NodeAnswers,
    ) -> Option<Asked> {
        let permit = match (&self.guard, self.used_aside()) {
            (Some(guard), Some(aside)) => {
                return aside.ask((&self.policy, guard), memo, rule, answers);
            }
            (Some(guard), None) => match guard.ask(answers.now) {
                Ok(permit) => Some((guard, permit)),
                Err(verdict) => {
                    return Some(Asked {
                        verdict,
                        took: None,
                    });
                }
            },
            (None, _) => None,
        };
        let (began, processor) = (Instant::now(), processor_time());
        let verdict = self.policy.evaluate(rule, Box::new(answers));
        let took = Some(began.elapsed());
        if let Some(aside) = &self.aside {
            aside.took(processor_time().saturating_sub(processor));
        }
        if let Some((guard, permit)) = permit {
            guard.tell(permit, &verdict);
        }
        let mut memo = memo.write().unwrap_or_else(PoisonError::into_inner);
        memo.learn(&verdict);
        Some(Asked { verdict, took })
    }

    /// The same where it answers at once; none where it is asked aside.
    pub(crate) fn ask_at_once(
        &self,
        memo: &Arc<RwLock<Memo>>,
        rule: &Arc<Rule>,
        answers: NodeAnswers,
    ) -> Option<Verdict> {
        let now = self.used_aside().is_none();
        let asked = now.then(|| self.ask(memo, rule, answers))?;
        asked.map(|asked| asked.verdict)
    }

    /// Has it nothing against this rule? None: it will be known, and then the rules are looked at again.
    pub(crate) fn accepts(&self, rule: &Arc<Rule>) -> Option<Result<(), Against>> {
        match self.large_aside() {
            Some(aside) => aside.accepts(&self.policy, rule),
            None => Some(accepts(&self.policy, rule)),
        }
    }

    fn used_aside(&self) -> Option<&Arc<Aside>> {
        self.aside.as_ref().filter(|aside| aside.is_used())
    }

    fn large_aside(&self) -> Option<&Arc<Aside>> {
        self.aside.as_ref().filter(|aside| aside.is_large())
    }

    /// Asks what [`accepts`](Self::accepts) would, where that takes its time and somebody can wait.
    pub(super) fn check_ahead(&self, rule: &Arc<Rule>) {
        if let Some(aside) = self.large_aside() {
            aside.checked(rule, accepts(&self.policy, rule));
        }
    }

    /// The node is gone.
    pub(crate) fn forget(&self, rule: &Rule, node: &str) {
        if let Some(aside) = &self.aside {
            aside.forget(rule, node);
        }
    }

    /// A run of it was found again that it made before.
    pub(crate) fn recalled(&self, rule: &Rule, node: &str) {
        if let Some(guard) = &self.guard {
            guard.recalled();
        }
        if let Some(aside) = self.used_aside() {
            aside.recalled(rule, node);
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

/// Of this thread: that it had to wait for others says nothing about a policy.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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
