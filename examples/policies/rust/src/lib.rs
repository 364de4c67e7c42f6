//! The semantics of the default policy, without its parameters.

use core::time::Duration;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Matching, Policy, Problem,
    Requirement, Rule, Status,
};

struct Conditions;

guest_sdk::export!(Conditions);

impl Policy for Conditions {
    fn describe() -> Description {
        Description::new("conditions", env!("CARGO_PKG_VERSION"))
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        if rule.parameters().is_empty() {
            Vec::new()
        } else {
            vec![Problem::new("", "this policy takes no parameters")]
        }
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let requirements = facts.rule.requirements();
        if requirements.is_empty() {
            // An empty list must not open a gate.
            return Err("the rule has no conditions".into());
        }
        // The first one that is met decides, or the first one that is not.
        let decisive = facts.rule.matching() == Matching::AnyOf;
        let mut satisfied = !decisive;
        let mut findings = Vec::new();
        for (index, requirement) in requirements.iter().enumerate() {
            let met = is_met(facts, requirement);
            findings.push(Finding::requirement(index, met));
            if met == decisive {
                satisfied = decisive;
                break;
            }
        }
        let decision = match facts.rule.enforcement() {
            Enforcement::Continuous if satisfied => Decision::absent("ConditionsMet"),
            Enforcement::Continuous => Decision::present("ConditionsNotMet"),
            Enforcement::BootstrapOnly => {
                let completed = facts.bootstrap.completed() != Completion::None;
                match (satisfied, completed) {
                    (true, false) => Decision::absent("BootstrapCompleted").complete_bootstrap(),
                    (true, true) => Decision::absent("ConditionsMet"),
                    (false, false) => Decision::present("ConditionsNotMet"),
                    (false, true) => Decision::keep("BootstrapAlreadyCompleted"),
                }
            }
        };
        Ok(decision.findings(findings))
    }
}

fn is_met(facts: &Facts, requirement: &Requirement) -> bool {
    let Requirement {
        condition,
        required,
        fallback,
    } = requirement;
    if facts
        .node
        .condition_is(condition, *required, Duration::ZERO)
    {
        return true;
    }
    // Whether the node shows it at all matters only where its absence would do.
    fallback.unwrap_or(Status::Unknown) == *required && !facts.node.has_condition(condition)
}
