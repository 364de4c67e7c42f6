//! Holds a node until pods on it are Ready: those of a DaemonSet, or those with given labels. Nobody has to
//! report a condition. See the README beside it.

mod parameters;

use guest_sdk::{Decision, Description, Facts, Policy, Problem, Problems, Rule};

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
        let look = |pods: &Wanted| (pods.words.clone(), missing(facts, pods));
        Ok(facts.wait_for(&wanted, look, "PodsReady", "PodsNotReady"))
    }
}

/// Why these pods do not do, if they do not.
fn missing(facts: &Facts, pods: &Wanted) -> Option<String> {
    if facts.pods.all_ready(&pods.which, pods.ready_for) {
        None
    } else if !facts.pods.has(&pods.which) {
        Some("there is no pod on the node".to_owned())
    } else if pods.lasting.is_empty() {
        Some("not every pod on the node is Ready".to_owned())
    } else {
        Some(format!(
            "not every pod on the node has been Ready for {}",
            pods.lasting
        ))
    }
}
