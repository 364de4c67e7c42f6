//! Holds a node whose lease is not renewed any more, or whose conditions are not what the rule wants, or are
//! not reported any more. See the README beside it.

use core::time::Duration;

use guest_sdk::{
    Completion, Decision, Description, Enforcement, Facts, Finding, Json, Policy, Problem,
    Problems, Rule,
};

/// JSON Schema 2020-12: a file, for people as well.
const SCHEMA: &str = include_str!("parameters.json");

/// After this the cluster takes a node for lost: four renewals that did not come.
const LEASE: Duration = Duration::from_secs(40);

/// The policy.
#[derive(Debug)]
pub struct Heartbeat;

guest_sdk::export!(Heartbeat);

impl Policy for Heartbeat {
    fn describe() -> Description {
        Description::new("heartbeat", env!("CARGO_PKG_VERSION")).parameters(SCHEMA)
    }

    fn check(rule: &Rule) -> Vec<Problem> {
        Parameters::read(&rule.parameters())
            .err()
            .unwrap_or_default()
    }

    fn evaluate(facts: &Facts) -> Result<Decision, String> {
        let parameters = Parameters::read(&facts.rule.parameters()).map_err(Problems::first)?;
        let bootstrap = facts.rule.enforcement() == Enforcement::BootstrapOnly;
        // Then its heart does not matter any more, and no time brings the node back.
        if bootstrap && facts.bootstrap.completed() != Completion::None {
            return Ok(Decision::keep("BootstrapAlreadyCompleted"));
        }
        let (satisfied, mut findings) = facts.conditions(|requirement| {
            let age = parameters.max_heartbeat_age;
            age.is_none_or(|age| facts.node.heartbeat_within(&requirement.condition, age))
        });
        if !satisfied {
            return Ok(Decision::present("ConditionsNotMet").findings(findings));
        }
        let lives = facts.lease.renewed_within(parameters.max_lease_age);
        findings.push(Finding::other("lease of the node", lives));
        Ok(match (lives, bootstrap) {
            (false, _) => {
                let message = if facts.lease.exists() {
                    "the node's lease was not renewed in time"
                } else {
                    "the node has no lease"
                };
                Decision::present("LeaseNotRenewed").message(message)
            }
            (true, true) => Decision::absent("BootstrapCompleted").complete_bootstrap(),
            (true, false) => Decision::absent("LeaseRenewed"),
        }
        .findings(findings))
    }
}

/// What a rule may tell the policy.
struct Parameters {
    max_lease_age: Duration,
    max_heartbeat_age: Option<Duration>,
}

impl Parameters {
    fn read(json: &str) -> Result<Self, Vec<Problem>> {
        let given = Problems::object(json)?;
        let mut problems = Problems::default();
        problems.unknown("", &given, &["maxLeaseAge", "maxHeartbeatAge"]);
        let parameters = Self {
            max_lease_age: age(&mut problems, &given, "maxLeaseAge").unwrap_or(LEASE),
            max_heartbeat_age: age(&mut problems, &given, "maxHeartbeatAge"),
        };
        problems.or(parameters)
    }
}

/// An age of nothing is none: no node would ever be that fresh.
fn age(problems: &mut Problems, given: &Json, name: &str) -> Option<Duration> {
    let (age, _) = problems.duration("", given, name)?;
    if age.is_zero() {
        problems.add(&format!("/{name}"), "must be longer than 0");
    }
    Some(age)
}
