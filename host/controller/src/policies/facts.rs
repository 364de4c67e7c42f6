//! Whether the objects that a policy asks about, beside the node, are there.

use engine::Policy;
use planner::related::Kind;

use super::trouble::{BEING_LISTED, Step, Trouble};
use crate::related::{Known, State};

/// Can a policy be told all that it asks about? Where it cannot, its absence must not be taken for an answer.
pub(super) fn available(policy: &Policy, known: &Known) -> Result<(), Trouble> {
    let Some((kind, state)) = known.lacks(policy) else {
        return Ok(());
    };
    let what = kind.objects();
    let value = match kind {
        Kind::Pods => "pods",
        Kind::Leases => "leases",
        Kind::CsiNodes => "csiNodes",
        Kind::ResourceSlices => "resourceSlices",
        Kind::DaemonSets => "daemonSets",
    };
    let (reason, message) = match state {
        State::Refused(why) => (
            "Forbidden",
            format!(
                "it asks about {what}, and the host may not list and watch them: give it the right, as the chart's value \
                 policyFacts.{value} does ({why})"
            ),
        ),
        State::NotServed(why) => (
            "NotServed",
            format!("it asks about {what}, which this API server does not have ({why})"),
        ),
        State::Waits | State::Synced => (
            BEING_LISTED,
            format!("it asks about {what}, which are being listed"),
        ),
    };
    Err(Trouble::lasting(Step::FactsAvailable, reason, message))
}
