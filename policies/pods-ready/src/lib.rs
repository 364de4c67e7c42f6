//! Holds a node until pods on it are Ready: those of a DaemonSet, or those with given labels. Nobody has to
//! report a condition. See the README beside it.

mod parameters;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Policy, Problem, Problems, Rule,
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
