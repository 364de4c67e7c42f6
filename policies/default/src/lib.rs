//! The policy of rules that name none. It decides by the rule's `conditions`, `conditionPolicy`
//! and `enforcementMode`.

use core::time::Duration;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Matching, Node, Policy,
    Problem, Requirement, Rule, Status,
};

/// The policy.
#[derive(Debug)]
pub struct Default;

guest_sdk::export!(Default);

impl Policy for Default {
    fn describe() -> Description {
        Description::new("default", env!("CARGO_PKG_VERSION"))
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        match rule.parameters().as_str() {
            "" | "{}" => Vec::new(),
            _ => vec![Problem::new("", "the default policy takes no parameters")],
        }
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let requirements = facts.rule.requirements();
        if requirements.is_empty() {
            // An empty list must not open a gate.
            return Err("the rule has no conditions".into());
        }
        let (satisfied, findings) = look(&facts.node, &requirements, facts.rule.matching());
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

/// Are as many requirements met as the rule wants? Looks no further than it has to.
fn look(node: &Node, requirements: &[Requirement], matching: Matching) -> (bool, Vec<Finding>) {
    let decisive = matches!(matching, Matching::AnyOf);
    let mut findings = Vec::with_capacity(requirements.len());
    for (index, requirement) in requirements.iter().enumerate() {
        let met = is_met(node, requirement);
        findings.push(Finding::requirement(index, met));
        if met == decisive {
            return (decisive, findings);
        }
    }
    (!decisive, findings)
}

fn is_met(node: &Node, requirement: &Requirement) -> bool {
    let name = &requirement.condition;
    if node.condition_is(name, requirement.required, Duration::ZERO) {
        return true;
    }
    // Whether the node shows the condition at all matters only where its absence would do.
    requirement.fallback.unwrap_or(Status::Unknown) == requirement.required
        && !node.has_condition(name)
}
