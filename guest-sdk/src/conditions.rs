//! The conditions of a rule, as the default policy counts them, and what else a node may wait for.

use core::time::Duration;

use crate::{Completion, Decision, Enforcement, Facts, Finding, Matching, Requirement, Status};

impl Facts {
    /// Does the node show as many of the rule's conditions as the rule wants? As the default policy sees them: one
    /// that is absent counts as its default. One that the node shows counts where `also` says so too. A rule
    /// without conditions waits for none.
    ///
    /// For policies that look at something more. None is asked about once the answer is known.
    ///
    /// ```
    /// use guest_sdk::{Status, fake::Fake};
    ///
    /// let node = Fake::new().requires("Ready", Status::True).condition("Ready", Status::True);
    /// let (satisfied, findings) = node.facts().conditions(|_| true);
    /// assert!(satisfied && findings[0].met);
    /// assert!(!node.facts().conditions(|_| false).0);
    /// ```
    pub fn conditions(&self, also: impl Fn(&Requirement) -> bool) -> (bool, Vec<Finding>) {
        let requirements = self.rule.requirements();
        let decisive = matches!(self.rule.matching(), Matching::AnyOf);
        let mut findings = Vec::with_capacity(requirements.len() + 1);
        for (index, requirement) in requirements.iter().enumerate() {
            let (name, required) = (&requirement.condition, requirement.required);
            let by_default = requirement.fallback.unwrap_or(Status::Unknown) == required;
            let met = if self.node.condition_is(name, required, Duration::ZERO) {
                also(requirement)
            } else {
                by_default && !self.node.has_condition(name)
            };
            findings.push(Finding::requirement(index, met));
            if met == decisive {
                return (decisive, findings);
            }
        }
        (!decisive || requirements.is_empty(), findings)
    }

    /// Decides about a node that waits for the conditions of the rule, and then for each of these, one after the
    /// other. `look` says what one is, in words for people, and what is missing of it, if anything; `ready` and
    /// `not_ready` are the reasons of the decision. Where the rule is `bootstrap-only` and the bootstrap of the
    /// node is complete, nothing more is asked, and no change brings the node back.
    ///
    /// ```
    /// use guest_sdk::{Status, fake::Fake};
    ///
    /// let node = Fake::new().requires("Ready", Status::True).condition("Ready", Status::True);
    /// let facts = node.facts();
    /// let zone = |key: &&str| {
    ///     let missing = facts.node.label(key).is_none();
    ///     (format!("label {key}"), missing.then(|| "it is not there".to_owned()))
    /// };
    /// let decision = facts.wait_for(&["zone"], zone, "Labelled", "NotLabelled");
    /// assert_eq!((decision.reason.as_str(), decision.message.as_str()),
    ///     ("NotLabelled", "label zone: it is not there"));
    /// ```
    pub fn wait_for<T>(
        &self,
        wanted: &[T],
        look: impl Fn(&T) -> (String, Option<String>),
        ready: &str,
        not_ready: &str,
    ) -> Decision {
        let bootstrap = self.rule.enforcement() == Enforcement::BootstrapOnly;
        if bootstrap && self.bootstrap.completed() != Completion::None {
            return Decision::keep("BootstrapAlreadyCompleted");
        }
        let (satisfied, mut findings) = self.conditions(|_| true);
        if !satisfied {
            return Decision::present("ConditionsNotMet").findings(findings);
        }
        for one in wanted {
            let (words, missing) = look(one);
            findings.push(Finding::other(words.as_str(), missing.is_none()));
            if let Some(missing) = missing {
                let decision = Decision::present(not_ready).findings(findings);
                return decision.message(format!("{words}: {missing}"));
            }
        }
        match bootstrap {
            true => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            false => Decision::absent(ready),
        }
        .findings(findings)
    }
}
