//! Holds a node until the devices that the rule names are there: extended resources of device plugins, and pools of
//! drivers of Dynamic Resource Allocation. Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{Decision, Description, Facts, Policy, Problem, Problems, Rule};

use parameters::Wanted;

/// The policy.
#[derive(Debug)]
pub struct DevicesReady;

guest_sdk::export!(DevicesReady);

impl Policy for DevicesReady {
    fn describe() -> Description {
        Description::new("devices-ready", env!("CARGO_PKG_VERSION")).parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        parameters::read(&rule.parameters())
            .err()
            .unwrap_or_default()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let wanted = parameters::read(&facts.rule.parameters()).map_err(Problems::first)?;
        let look = |devices: &Wanted| (devices.words(), devices.missing(facts));
        Ok(facts.wait_for(&wanted, look, "DevicesReady", "DevicesNotReady"))
    }
}
