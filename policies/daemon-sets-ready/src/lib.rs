//! Holds a node until each DaemonSet that should run on it, of those that the rule selects, has a pod there that is
//! Ready. Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Policy, Problem, Problems, Rule,
};

use parameters::Wanted;

/// The policy.
#[derive(Debug)]
pub struct DaemonSetsReady;

guest_sdk::export!(DaemonSetsReady);

impl Policy for DaemonSetsReady {
    fn describe() -> Description {
        Description::new("daemon-sets-ready", env!("CARGO_PKG_VERSION"))
            .parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        parameters::read(&rule.parameters())
            .err()
            .unwrap_or_default()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let wanted = parameters::read(&facts.rule.parameters()).map_err(Problems::first)?;
        let bootstrap = facts.rule.enforcement() == Enforcement::BootstrapOnly;
        // Then its pods do not matter any more, and their changes bring no node back.
        if bootstrap && facts.bootstrap.completed() != Completion::None {
            return Ok(Decision::keep("BootstrapAlreadyCompleted"));
        }
        let (satisfied, mut findings) = facts.conditions(|_| true);
        if !satisfied {
            return Ok(Decision::present("ConditionsNotMet").findings(findings));
        }
        for sets in &wanted {
            let met = facts
                .daemon_sets
                .all_pods_ready(&sets.which, sets.ready_for);
            findings.push(Finding::other(sets.words.as_str(), met));
            if !met {
                let decision = Decision::present("DaemonSetsNotReady").findings(findings);
                return Ok(decision.message(missing(facts, sets)));
            }
        }
        Ok(match bootstrap {
            true => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            false => Decision::absent("DaemonSetsReady"),
        }
        .findings(findings))
    }
}

/// Why these DaemonSets do not do.
fn missing(facts: &Facts, sets: &Wanted) -> String {
    let words = &sets.words;
    if !facts.daemon_sets.has(&sets.which) {
        format!("{words}: none should run on the node")
    } else if sets.lasting.is_empty() {
        format!("{words}: not each that should run on the node has a pod there that is Ready")
    } else {
        format!(
            "{words}: not each that should run on the node has a pod there that has been Ready for {}",
            sets.lasting
        )
    }
}
