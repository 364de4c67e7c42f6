//! The policy of rules that name none. It decides by the rule's `conditions`, `conditionPolicy`
//! and `enforcementMode`, and by the parameters that its README describes.

mod parameters;

use core::time::Duration;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Matching, Policy, Problem,
    Requirement, Rule, Status,
};

use parameters::Parameters;

/// The policy.
#[derive(Debug)]
pub struct Default;

guest_sdk::export!(Default);

impl Policy for Default {
    fn describe() -> Description {
        Description::new("default", env!("CARGO_PKG_VERSION")).parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        match Parameters::read(&rule.parameters()) {
            Err(problems) => problems,
            Ok(parameters)
                if parameters.rearm_on_reboot && rule.enforcement() == Enforcement::Continuous =>
            {
                vec![Problem::new(
                    "/rearmOnReboot",
                    "only a bootstrap-only rule can be armed again: a continuous one always is",
                )]
            }
            Ok(_) => Vec::new(),
        }
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let requirements = facts.rule.requirements();
        if requirements.is_empty() {
            // An empty list must not open a gate.
            return Err("the rule has no conditions".into());
        }
        let parameters = Parameters::read(&facts.rule.parameters()).map_err(first)?;
        let enforcement = facts.rule.enforcement();
        let rearm = parameters.rearm_on_reboot && enforcement == Enforcement::BootstrapOnly;
        // Asked first only where it matters for what is asked then.
        let in_this_boot = rearm.then(|| facts.bootstrap.completed() == Completion::ThisBoot);
        let look = Look {
            facts,
            parameters,
            only_this_boot: in_this_boot == Some(false),
        };
        let (satisfied, findings) = look.at(&requirements, facts.rule.matching());
        let mut decision = match enforcement {
            Enforcement::Continuous if satisfied => Decision::absent("ConditionsMet"),
            Enforcement::Continuous => Decision::present("ConditionsNotMet"),
            Enforcement::BootstrapOnly => {
                let completed =
                    in_this_boot.unwrap_or_else(|| facts.bootstrap.completed() != Completion::None);
                match (satisfied, completed) {
                    (true, false) => Decision::absent("BootstrapCompleted").complete_bootstrap(),
                    (true, true) => Decision::absent("ConditionsMet"),
                    (false, false) => Decision::present("ConditionsNotMet"),
                    (false, true) => Decision::keep("BootstrapAlreadyCompleted"),
                }
            }
        };
        decision.per_boot = rearm;
        Ok(decision.findings(findings))
    }
}

/// A host asks `check` first, so that nobody should see this.
fn first(problems: Vec<Problem>) -> String {
    let mut sentence = String::from("parameters");
    if let Some(problem) = problems.first() {
        sentence.push_str(&problem.path);
        sentence.push_str(": ");
        sentence.push_str(&problem.message);
    }
    sentence
}

/// The node, as the parameters want it seen.
struct Look<'a> {
    facts: &'a Facts,
    parameters: Parameters,
    /// A condition that was not reported since the node's reboot is not met.
    only_this_boot: bool,
}

impl Look<'_> {
    /// Are as many requirements met as the rule wants? Looks no further than it has to.
    fn at(&self, requirements: &[Requirement], matching: Matching) -> (bool, Vec<Finding>) {
        let decisive = matches!(matching, Matching::AnyOf);
        let mut findings = Vec::with_capacity(requirements.len());
        for (index, requirement) in requirements.iter().enumerate() {
            let met = self.is_met(requirement);
            findings.push(Finding::requirement(index, met));
            if met == decisive {
                return (decisive, findings);
            }
        }
        (!decisive, findings)
    }

    fn is_met(&self, requirement: &Requirement) -> bool {
        let (name, required) = (&requirement.condition, requirement.required);
        let min_ready_time = self.parameters.min_ready_time;
        let at_least = Duration::from_millis(min_ready_time);
        if self.facts.node.condition_is(name, required, at_least) {
            // Unknown is what it stays, however old it is.
            let lives = required == Status::Unknown || self.is_fresh(name, 0);
            return lives && self.is_of_this_boot(name);
        }
        // Whether the node shows the condition at all matters only where its absence, or its age,
        // would do.
        let absence_will_do = requirement.fallback.unwrap_or(Status::Unknown) == required;
        let age_will_do =
            required == Status::Unknown && self.parameters.max_heartbeat_age.is_some();
        if !absence_will_do && !age_will_do {
            return false;
        }
        if !self.facts.node.has_condition(name) {
            return absence_will_do;
        }
        age_will_do && !self.is_fresh(name, min_ready_time) && self.is_of_this_boot(name)
    }

    /// Is its last heartbeat young enough? Milliseconds are added to what is enough.
    fn is_fresh(&self, name: &str, longer: u64) -> bool {
        let age = self.parameters.max_heartbeat_age;
        age.is_none_or(|age| {
            let at_most = Duration::from_millis(age.saturating_add(longer));
            self.facts.node.heartbeat_within(name, at_most)
        })
    }

    fn is_of_this_boot(&self, name: &str) -> bool {
        !self.only_this_boot || self.facts.bootstrap.reported_this_boot(name)
    }
}
