//! Holds a node until pods on it are Ready: those of a DaemonSet, or those with given labels. Nobody has to
//! report a condition. See the README beside it.

mod parameters;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Matching, Policy, Problem,
    Requirement, Rule, Status,
};

use parameters::Wanted;

/// The policy.
#[derive(Debug)]
pub struct PodsReady;

guest_sdk::export!(PodsReady);

impl Policy for PodsReady {
    fn describe() -> Description {
        Description::new("pods-ready", env!("CARGO_PKG_VERSION")).parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        parameters::read(&rule.parameters())
            .err()
            .unwrap_or_default()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let wanted = parameters::read(&facts.rule.parameters()).map_err(first)?;
        let bootstrap = facts.rule.enforcement() == Enforcement::BootstrapOnly;
        // Then its pods do not matter any more, and their changes bring no node back.
        if bootstrap && facts.bootstrap.completed() != Completion::None {
            return Ok(Decision::keep("BootstrapAlreadyCompleted"));
        }
        let (satisfied, mut findings) =
            conditions(facts, &facts.rule.requirements(), facts.rule.matching());
        if !satisfied {
            return Ok(Decision::present("ConditionsNotMet").findings(findings));
        }
        for pods in &wanted {
            let met = facts.pods.all_ready(&pods.which, pods.ready_for);
            findings.push(Finding::other(pods.words.as_str(), met));
            if !met {
                let decision = Decision::present("PodsNotReady").findings(findings);
                return Ok(decision.message(missing(facts, pods)));
            }
        }
        Ok(match bootstrap {
            true => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            false => Decision::absent("PodsReady"),
        }
        .findings(findings))
    }
}

/// A host asks `check` first, so that nobody should see this.
fn first(problems: Vec<Problem>) -> String {
    let first = problems.into_iter().next();
    first.map_or_else(String::new, |problem| {
        format!("parameters{}: {}", problem.path, problem.message)
    })
}

/// As many as the rule wants? As the default policy sees them: an absent one counts as its default.
fn conditions(
    facts: &Facts,
    requirements: &[Requirement],
    matching: Matching,
) -> (bool, Vec<Finding>) {
    let decisive = matches!(matching, Matching::AnyOf);
    let mut findings = Vec::with_capacity(requirements.len() + 1);
    for (index, requirement) in requirements.iter().enumerate() {
        let (name, required) = (&requirement.condition, requirement.required);
        let by_default = requirement.fallback.unwrap_or(Status::Unknown) == required;
        let met = facts
            .node
            .condition_is(name, required, core::time::Duration::ZERO)
            || by_default && !facts.node.has_condition(name);
        findings.push(Finding::requirement(index, met));
        if met == decisive {
            return (decisive, findings);
        }
    }
    // A rule without conditions waits for pods alone.
    (!decisive || requirements.is_empty(), findings)
}

/// Why these pods do not do.
fn missing(facts: &Facts, pods: &Wanted) -> String {
    let words = &pods.words;
    if !facts.pods.has(&pods.which) {
        format!("{words}: there is no pod on the node")
    } else if pods.lasting.is_empty() {
        format!("{words}: not every pod on the node is Ready")
    } else {
        format!(
            "{words}: not every pod on the node has been Ready for {}",
            pods.lasting
        )
    }
}
