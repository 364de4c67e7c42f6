//! Holds a node until each DaemonSet that should run on it, of those that the rule selects, has a pod there that is
//! Ready. Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{Decision, Description, Facts, Policy, Problem, Problems, Rule};

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
        let look = |sets: &Wanted| (sets.words.clone(), missing(facts, sets));
        Ok(facts.wait_for(&wanted, look, "DaemonSetsReady", "DaemonSetsNotReady"))
    }
}

/// Why these DaemonSets do not do, if they do not.
fn missing(facts: &Facts, sets: &Wanted) -> Option<String> {
    if (facts.daemon_sets).all_pods_ready(&sets.which, sets.ready_for) {
        None
    } else if !facts.daemon_sets.has(&sets.which) {
        Some("none should run on the node".to_owned())
    } else if sets.lasting.is_empty() {
        Some("not each that should run on the node has a pod there that is Ready".to_owned())
    } else {
        Some(format!(
            "not each that should run on the node has a pod there that has been Ready for {}",
            sets.lasting
        ))
    }
}
