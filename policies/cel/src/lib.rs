//! A policy in one line: a node is ready when an expression of CEL is true. What an expression can ask
//! stands in the README.

mod expression;
mod instant;
mod outline;
mod parameters;
mod questions;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Policy, Problem, Rule,
};

use expression::Expression;
use parameters::Parameters;

/// Of what a finding is about, in bytes.
const SUBJECT: usize = 256;
/// Of a sentence, in bytes.
const SENTENCE: usize = 1024;

/// The policy.
#[derive(Debug)]
pub struct Cel;

guest_sdk::export!(Cel);

impl Policy for Cel {
    fn describe() -> Description {
        Description::new("cel", env!("CARGO_PKG_VERSION")).parameters(parameters::SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        let parameters = match Parameters::read(&rule.parameters()) {
            Ok(parameters) => parameters,
            Err(problems) => return problems,
        };
        let problems = match Expression::parse(&parameters.expression) {
            Ok(expression) => expression.problems(&parameters.expression),
            Err(problems) => problems,
        };
        let told = problems.iter().map(|problem| clipped(problem, SENTENCE));
        told.map(|problem| Problem::new("/expression", problem))
            .collect()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let parameters = Parameters::read(&facts.rule.parameters())
            .map_err(|problems| first(problems.into_iter().map(|problem| problem.message)))?;
        let text = parameters.expression.as_str();
        let expression = Expression::parse(text).map_err(|problems| first(problems.into_iter()))?;
        let ready = expression
            .evaluate(facts)
            .map_err(|error| clipped(&error, SENTENCE).to_owned())?;
        let decision = match facts.rule.enforcement() {
            Enforcement::Continuous if ready => Decision::absent("ExpressionTrue"),
            Enforcement::Continuous => Decision::present("ExpressionFalse"),
            Enforcement::BootstrapOnly => {
                let completed = facts.bootstrap.completed() != Completion::None;
                match (ready, completed) {
                    (true, false) => Decision::absent("BootstrapCompleted").complete_bootstrap(),
                    (true, true) => Decision::absent("ExpressionTrue"),
                    (false, false) => Decision::present("ExpressionFalse"),
                    (false, true) => Decision::keep("BootstrapAlreadyCompleted"),
                }
            }
        };
        let message = if ready {
            String::new()
        } else {
            parameters.message
        };
        let finding = Finding::other(clipped(text, SUBJECT), ready);
        Ok(decision.message(message).findings(vec![finding]))
    }
}

/// A host asks `check` first, so that nobody should see this.
fn first(mut problems: impl Iterator<Item = String>) -> String {
    let problem = problems.next().unwrap_or_default();
    clipped(&problem, SENTENCE).to_owned()
}

/// As much of a text as has this many bytes.
fn clipped(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
