//! Holds a node until the CSI drivers that the rule names are registered on it, with the keys of their topology.
//! Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{Decision, Description, Facts, Policy, Problem, Problems, Rule};

use parameters::Wanted;

/// The policy.
#[derive(Debug)]
pub struct CsiReady;

guest_sdk::export!(CsiReady);

impl Policy for CsiReady {
    fn describe() -> Description {
        Description::new("csi-ready", env!("CARGO_PKG_VERSION")).parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        parameters::read(&rule.parameters())
            .err()
            .unwrap_or_default()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let wanted = parameters::read(&facts.rule.parameters()).map_err(Problems::first)?;
        let look = |driver: &Wanted| {
            let words = format!("CSI driver {}", driver.name);
            (words, driver.missing(facts))
        };
        Ok(facts.wait_for(&wanted, look, "DriversRegistered", "DriversNotRegistered"))
    }
}
