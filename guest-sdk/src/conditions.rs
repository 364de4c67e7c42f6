//! The conditions of a rule, as the default policy counts them.

use core::time::Duration;

use crate::{Facts, Finding, Matching, Requirement, Status};

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
}
