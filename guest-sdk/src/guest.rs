//! On wasm: facts come from the host, and a policy is exported to it.

use crate::{
    Completion, Decision, Effect, Enforcement, Facts, Matching, Policy, Requirement, Rule, Status,
    Subject, TaintAction,
};

/// Generated from the contract.
#[expect(missing_docs, reason = "what it binds is documented in wit/")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "policy-with-facts",
        pub_export_macro: true,
        export_macro_name: "export_policy",
        runtime_path: "::guest_sdk::__guest::rt",
    });
}

pub use bindings::export_policy;
pub use bindings::exports::node_readiness::policy::decide::Guest;
pub use wit_bindgen::rt;

pub use bindings::node_readiness::policy::types;

use bindings::node_readiness::policy::{bootstrap, node, rule, time};

#[path = "beyond/guest.rs"]
mod beyond;

/// The host. Has no size.
#[derive(Debug, Clone)]
pub(crate) struct Source;

impl Source {
    pub(crate) fn has_condition(&self, name: &str) -> bool {
        node::has_condition(name)
    }

    pub(crate) fn condition_is(&self, name: &str, status: Status, at_least: u64) -> bool {
        let status = match status {
            Status::True => types::Status::True,
            Status::False => types::Status::False,
            Status::Unknown => types::Status::Unknown,
        };
        node::condition_is(name, status, at_least)
    }

    pub(crate) fn heartbeat_within(&self, name: &str, at_most: u64) -> bool {
        node::heartbeat_within(name, at_most)
    }

    pub(crate) fn condition(&self, name: &str) -> Option<Status> {
        node::condition(name).map(Into::into)
    }

    pub(crate) fn condition_reason(&self, name: &str) -> Option<String> {
        node::condition_reason(name)
    }

    pub(crate) fn tainted(&self) -> bool {
        node::tainted()
    }

    pub(crate) fn has_taint(&self, key: &str, effect: Effect) -> bool {
        let effect = match effect {
            Effect::NoSchedule => types::Effect::NoSchedule,
            Effect::PreferNoSchedule => types::Effect::PreferNoSchedule,
            Effect::NoExecute => types::Effect::NoExecute,
        };
        node::has_taint(key, effect)
    }

    pub(crate) fn unschedulable(&self) -> bool {
        node::unschedulable()
    }

    pub(crate) fn older_than(&self, at_least: u64) -> bool {
        node::older_than(at_least)
    }

    pub(crate) fn allocatable_at_least(&self, resource: &str, at_least: u64) -> bool {
        node::allocatable_at_least(resource, at_least)
    }

    pub(crate) fn label(&self, key: &str) -> Option<String> {
        node::label(key)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<String> {
        node::annotation(key)
    }

    pub(crate) fn node_name(&self) -> String {
        node::name()
    }

    pub(crate) fn rule_name(&self) -> String {
        rule::name()
    }

    pub(crate) fn requirements(&self) -> Vec<Requirement> {
        rule::requirements()
            .into_iter()
            .map(|requirement| Requirement {
                condition: requirement.condition,
                required: requirement.required.into(),
                fallback: requirement.fallback.map(Into::into),
            })
            .collect()
    }

    pub(crate) fn matching(&self) -> Matching {
        match rule::match_policy() {
            types::Matching::AllOf => Matching::AllOf,
            types::Matching::AnyOf => Matching::AnyOf,
        }
    }

    pub(crate) fn enforcement(&self) -> Enforcement {
        match rule::mode() {
            types::Enforcement::BootstrapOnly => Enforcement::BootstrapOnly,
            types::Enforcement::Continuous => Enforcement::Continuous,
        }
    }

    pub(crate) fn parameters(&self) -> String {
        rule::parameters()
    }

    pub(crate) fn completed(&self) -> Completion {
        match bootstrap::completed() {
            types::Completion::None => Completion::None,
            types::Completion::ThisBoot => Completion::ThisBoot,
            types::Completion::EarlierBoot => Completion::EarlierBoot,
        }
    }

    pub(crate) fn reported_this_boot(&self, condition: &str) -> bool {
        bootstrap::reported_this_boot(condition)
    }

    pub(crate) fn reached(&self, at: u64) -> bool {
        time::reached(at)
    }
}

impl From<types::Status> for Status {
    fn from(status: types::Status) -> Self {
        match status {
            types::Status::True => Self::True,
            types::Status::False => Self::False,
            types::Status::Unknown => Self::Unknown,
        }
    }
}

pub fn describe<P: Policy>() -> types::Description {
    let description = P::describe();
    types::Description {
        name: description.name,
        version: description.version,
        parameters: description.parameters,
        domains: description
            .domains
            .into_iter()
            .map(|domain| types::Domain {
                key: domain.key,
                values: domain.values,
            })
            .collect(),
    }
}

pub fn check<P: Policy>() -> Vec<types::Problem> {
    P::check(&Rule::new(Source))
        .into_iter()
        .map(|problem| types::Problem {
            path: problem.path,
            message: problem.message,
        })
        .collect()
}

pub fn evaluate<P: Policy>() -> Result<types::Decision, String> {
    let decision: Decision = P::evaluate(&Facts::new(Source))?;
    Ok(types::Decision {
        taint: match decision.taint {
            TaintAction::Present => types::TaintAction::Present,
            TaintAction::Absent => types::TaintAction::Absent,
            TaintAction::Keep => types::TaintAction::Keep,
        },
        complete_bootstrap: decision.complete_bootstrap,
        per_boot: decision.per_boot,
        reason: decision.reason,
        message: decision.message,
        findings: decision
            .findings
            .into_iter()
            .map(|finding| types::Finding {
                subject: match finding.subject {
                    // An index is a `usize`, which has 32 bits here.
                    Subject::Requirement(index) => types::Subject::Requirement(index as u32),
                    Subject::Other(what) => types::Subject::Other(what),
                },
                met: finding.met,
            })
            .collect(),
    })
}
