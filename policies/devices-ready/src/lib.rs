//! Holds a node until the devices that the rule names are there: extended resources of device plugins, and pools of
//! drivers of Dynamic Resource Allocation. Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Policy, Problem, Problems, Rule,
};

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
        let bootstrap = facts.rule.enforcement() == Enforcement::BootstrapOnly;
        // Then its devices do not matter any more, and their changes bring no node back.
        if bootstrap && facts.bootstrap.completed() != Completion::None {
            return Ok(Decision::keep("BootstrapAlreadyCompleted"));
        }
        let (satisfied, mut findings) = facts.conditions(|_| true);
        if !satisfied {
            return Ok(Decision::present("ConditionsNotMet").findings(findings));
        }
        for devices in &wanted {
            let missing = devices.missing(facts);
            let words = devices.words();
            findings.push(Finding::other(words.as_str(), missing.is_none()));
            if let Some(missing) = missing {
                let decision = Decision::present("DevicesNotReady").findings(findings);
                return Ok(decision.message(format!("{words}: {missing}")));
            }
        }
        Ok(match bootstrap {
            true => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            false => Decision::absent("DevicesReady"),
        }
        .findings(findings))
    }
}
