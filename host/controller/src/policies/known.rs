//! What is known of one policy: what its object asked for, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::ReadinessPolicy;
use api::policy::ReadinessPolicyStatus;
use api::rule::status::Condition;
use fetch::{Digest, Signer};
use kube::ResourceExt;
use planner::related::Kind;
use planner::rule::{Rule, Status};
use tokio::time::Instant;

use super::facts::available;
use super::order::Order;
use super::status::{Found, Good};
use super::trouble::{Step, Trouble};
use super::{RulePolicy, admit};
use crate::related;

/// A new value of this annotation has the module brought again, and a tag looked up again.
const FETCH_AGAIN: &str = "readiness.node.x-k8s.io/fetch-again";
/// How long before a second attempt; twice as long before each further one, …
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// … and at most so long.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// Digest of the module that decides, as a status has it.
pub(super) fn decides(status: Option<&ReadinessPolicyStatus>) -> Option<&str> {
    let status = status?;
    let mut conditions = status.conditions.iter();
    let lacks = conditions.any(|condition| {
        condition.r#type == Step::FactsAvailable.condition() && condition.status != Status::True
    });
    status.last_good_digest.as_deref().filter(|_| !lacks)
}

/// What is known of one policy.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) uid: String,
    pub(super) asked: Asked,
    pub(super) digest: Option<String>,
    pub(super) signer: Option<Signer>,
    pub(super) trouble: Option<Trouble>,
    /// Loaded, and kept from deciding by a rule or by facts that are missing: both may change.
    pub(super) candidate: Option<RulePolicy>,
    pub(super) good: Option<Good>,
    /// Was anything brought, or tried to be, since this host began? What decides before was kept from then.
    tried: bool,
    /// What keeps the good one from deciding.
    pub(super) lacks: Option<Trouble>,
    pub(super) failures: u32,
    pub(super) again: Option<Instant>,
    /// As they were told last.
    pub(super) told: Vec<Condition>,
    /// Digest of the module of which was told last that it decides.
    pub(super) decides: Option<String>,
}

/// What makes a module to be brought again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) generation: Option<i64>,
    pub(super) annotation: Option<String>,
}

impl Asked {
    pub(super) fn of(object: &ReadinessPolicy) -> Self {
        Self {
            generation: object.metadata.generation,
            annotation: object.annotations().get(FETCH_AGAIN).cloned(),
        }
    }
}

/// How far a module came.
pub(super) struct Attempt {
    pub(super) digest: Option<String>,
    pub(super) signer: Option<Signer>,
    pub(super) policy: Result<RulePolicy, Trouble>,
}

impl Known {
    pub(super) fn new(uid: String, object: &ReadinessPolicy) -> Self {
        Self {
            uid,
            asked: Asked::of(object),
            digest: None,
            signer: None,
            trouble: None,
            candidate: None,
            good: None,
            tried: false,
            lacks: None,
            failures: 0,
            again: None,
            told: Vec::new(),
            decides: decides(object.status.as_ref()).map(str::to_owned),
        }
    }

    pub(super) fn is_untried(&self) -> bool {
        !self.tried
    }

    /// Was something else asked for than the stored status is about? A host that starts anew brings what was asked
    /// for before, and tells nothing of that unless it ends otherwise.
    pub(super) fn is_news(&self, object: &ReadinessPolicy, asked: &Asked) -> bool {
        let status = object.status.as_ref();
        let told = status.and_then(|status| status.observed_generation);
        let by_hand = !self.is_untried() && self.asked.annotation != asked.annotation;
        told != asked.generation || by_hand
    }

    /// What the module was found to be for the same generation, by this host or by the one before: a tag
    /// is looked up once. Who changes the annotation wants it looked up again.
    pub(super) fn pin(&self, object: &ReadinessPolicy, asked: &Asked) -> Option<Digest> {
        if self.asked.annotation != asked.annotation {
            return None;
        }
        if !self.is_untried() && self.asked.generation == asked.generation {
            return self.digest.as_deref()?.parse().ok();
        }
        let status = object.status.as_ref()?;
        let is_of_it = status.observed_generation == object.metadata.generation;
        status.digest.as_deref().filter(|_| is_of_it)?.parse().ok()
    }

    /// Takes what was loaded, or why nothing was.
    pub(super) async fn take(
        &mut self,
        attempt: Attempt,
        rules: Vec<Arc<Rule>>,
        related: &related::Known,
    ) {
        let Attempt {
            digest,
            signer,
            policy,
        } = attempt;
        (self.digest, self.signer, self.candidate) = (digest, signer, None);
        self.tried = true;
        match policy {
            Ok(policy) => {
                self.candidate = Some(policy);
                self.compare(rules, related).await;
            }
            Err(trouble) => self.fail(trouble),
        }
    }

    /// Lets the candidate decide, where the rules can have it.
    pub(super) async fn compare(&mut self, rules: Vec<Arc<Rule>>, related: &related::Known) {
        let Some(candidate) = self.candidate.clone() else {
            return;
        };
        if let Err(trouble) = available(&candidate, related) {
            return self.fail(trouble);
        }
        let good = self.good.as_ref().map(|good| good.policy.clone());
        let asked = candidate.clone();
        let agree = move || {
            admit::agree(&asked, &rules, good.as_deref())?;
            // They know it at once when it decides.
            rules.iter().for_each(|rule| asked.check_ahead(rule));
            Ok(())
        };
        match apart(agree).await {
            Ok(()) => {
                self.good = Some(Good {
                    policy: candidate,
                    digest: self.digest.clone().unwrap_or_default(),
                    signer: self.signer.clone(),
                });
                self.candidate = None;
                self.trouble = None;
                (self.failures, self.again) = (0, None);
            }
            Err(trouble) => self.fail(trouble),
        }
    }

    /// Where what is wanted cannot decide, the one before goes on only if the object still trusts who signed it, and
    /// lets it ask what it asks. It would not be used after a restart either.
    pub(super) fn revoke(&mut self, object: &ReadinessPolicy) {
        if self.trouble.is_none() {
            return;
        }
        if let (Some(good), Ok(order)) = (&self.good, Order::of(&object.spec))
            && !order.allows(&good.policy, good.signer.as_ref())
        {
            (self.good, self.decides) = (None, None);
        }
    }

    /// The one that is good does not decide while it cannot be told what it asks about.
    pub(super) fn check_facts(&mut self, related: &related::Known) {
        let good = self.good.as_ref();
        self.lacks = good.and_then(|good| available(&good.policy, related).err());
    }

    /// The kinds of objects that it asks about, or would ask about if it decided.
    pub(super) fn asks(&self) -> BTreeSet<Kind> {
        let good = self.good.iter().map(|good| &good.policy);
        let policies = good.chain(&self.candidate);
        policies.flat_map(|policy| policy.asks()).collect()
    }

    /// Will it be tried again by itself, once facts are there that are being listed?
    pub(super) fn waits_for_facts(&self) -> bool {
        self.trouble.as_ref().is_some_and(Trouble::is_a_wait)
    }

    pub(super) fn fail(&mut self, trouble: Trouble) {
        self.again = None;
        if trouble.passes {
            let wait = FIRST_RETRY
                .saturating_mul(1 << self.failures.min(16))
                .min(LONGEST_RETRY);
            self.failures += 1;
            self.again = Some(Instant::now() + wait);
        }
        self.trouble = Some(trouble);
    }

    pub(super) fn found(&self) -> Found<'_> {
        Found {
            generation: self.asked.generation,
            digest: self.digest.as_deref(),
            signer: self.signer.as_ref(),
            trouble: self.trouble.as_ref(),
            good: self.good.as_ref(),
            lacks: self.lacks.as_ref(),
        }
    }
}

/// Off the thread that does everything else.
pub(super) async fn apart<T: Send + 'static>(
    blocks: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(blocks).await;
    done.unwrap_or_else(|error| {
        let message = format!("the host failed: {error}; please report this");
        Err(Trouble::passing(Step::Compatible, "HostError", message))
    })
}

#[cfg(test)]
mod tests;
