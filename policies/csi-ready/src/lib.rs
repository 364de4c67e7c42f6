//! Holds a node until the CSI drivers that the rule names are registered on it, with the keys of their topology.
//! Nobody has to report a condition. See the README beside it.

mod parameters;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Policy, Problem, Problems, Rule,
};

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
        let bootstrap = facts.rule.enforcement() == Enforcement::BootstrapOnly;
        // Then its drivers do not matter any more, and their changes bring no node back.
        if bootstrap && facts.bootstrap.completed() != Completion::None {
            return Ok(Decision::keep("BootstrapAlreadyCompleted"));
        }
        let (satisfied, mut findings) = facts.conditions(|_| true);
        if !satisfied {
            return Ok(Decision::present("ConditionsNotMet").findings(findings));
        }
        for driver in &wanted {
            let missing = driver.missing(facts);
            let words = format!("CSI driver {}", driver.name);
            findings.push(Finding::other(words.as_str(), missing.is_none()));
            if let Some(missing) = missing {
                let decision = Decision::present("DriversNotRegistered").findings(findings);
                return Ok(decision.message(format!("{words}: {missing}")));
            }
        }
        Ok(match bootstrap {
            true => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            false => Decision::absent("DriversRegistered"),
        }
        .findings(findings))
    }
}
