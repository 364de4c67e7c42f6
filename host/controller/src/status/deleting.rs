//! What a rule says while it is being deleted and cannot go.

use std::collections::BTreeMap;

use api::NodeReadinessRule;
use api::birth::HOLDS_NEW_NODES;
use api::rule::FINALIZER;
use api::rule::status::{NodeCounts, NodeFailure, NodeReadinessRuleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use planner::rule::Status;

use super::{MOST_BYTES, MOST_MESSAGE, MOST_NODES, Told, clip, nodes, to_i32};
use crate::freeze::FREEZE;
use crate::ledger::Stuck;

/// So many nodes are named in a message.
const MOST_NAMED: usize = 3;

/// What a rule that is being deleted waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waits<'a> {
    /// For nodes that could not be released.
    Nodes(&'a BTreeMap<String, Stuck>),
    /// The API server does not let it go, and says why.
    Finalizer(&'a str),
    /// For the rule that is to carry the freeze on, which the API server does not let have the annotation.
    Freeze { heir: &'a str, why: &'a str },
    /// For others.
    Others,
}

impl Waits<'_> {
    /// Reason of `Ready`, and of the event.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Nodes(_) => "NodesNotReleased",
            Self::Finalizer(_) => "FinalizerNotRemoved",
            Self::Freeze { .. } => "FreezeNotCarriedOn",
            Self::Others => "Released",
        }
    }

    /// The sentence.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Nodes(stuck) => {
                let named = stuck.iter().take(MOST_NAMED);
                let named: Vec<_> = named
                    .map(|(name, node)| format!("{name}: {}", clip(&node.why, MOST_MESSAGE)))
                    .collect();
                let more = match stuck.len().saturating_sub(MOST_NAMED) {
                    0 => String::new(),
                    more => format!("; and {more} more"),
                };
                format!(
                    "the rule is being deleted, and {} could not be released, which is tried again: {}{more}",
                    nodes(to_i32(stuck.len()).unwrap_or(i32::MAX)),
                    named.join("; ")
                )
            }
            Self::Finalizer(why) => format!(
                "the rule is being deleted and every node is released, but its finalizer {FINALIZER} cannot be removed, which is tried again: {why}"
            ),
            Self::Freeze { heir, why } => format!(
                "the rule is being deleted and carries annotation {FREEZE}, by which every rule is frozen; rule '{heir}' is to carry it on and cannot be given it, which is tried again: {why}; whoever takes the annotation off this rule releases all rules"
            ),
            Self::Others => {
                "the rule is being deleted and every node is released; somebody else's finalizer keeps it"
                    .to_owned()
            }
        }
    }
}

/// The status of a rule that is being deleted: it evaluates nothing any more.
pub(crate) fn deleting(
    object: &NodeReadinessRule,
    told: &Told,
    waits: Waits<'_>,
) -> NodeReadinessRuleStatus {
    let message = waits.message();
    let no = |name| told.tell(name, Status::False, waits.reason(), &message);
    let conditions = vec![no("Ready"), no(HOLDS_NEW_NODES)];
    let stored = object.status.as_ref();
    // One that the Go controller wrote says which taints are the rule's: see `Seen`.
    if let Some(theirs) = stored.filter(|stored| stored.nodes.is_none()) {
        return NodeReadinessRuleStatus {
            observed_generation: told.generation,
            conditions,
            ..theirs.clone()
        };
    }
    let mut status = NodeReadinessRuleStatus {
        observed_generation: told.generation,
        conditions,
        ..NodeReadinessRuleStatus::default()
    };
    if let Waits::Nodes(stuck) = waits {
        status.nodes = Some(NodeCounts {
            failed: to_i32(stuck.len()),
            ..NodeCounts::default()
        });
        status.failed_nodes = failures(stuck).0;
        status.truncated = (status.failed_nodes.len() < stuck.len()).then_some(true);
    }
    status
}

/// Nodes that could not be released, as a status lists them, and about how many bytes that takes.
pub(super) fn failures(stuck: &BTreeMap<String, Stuck>) -> (Vec<NodeFailure>, usize) {
    let (mut failures, mut bytes) = (Vec::new(), 0);
    for (name, Stuck { why, since }) in stuck.iter().take(MOST_NODES) {
        let message = clip(why, MOST_MESSAGE);
        let more = 2 * name.len() + message.len() + 240;
        if bytes + more > MOST_BYTES {
            break;
        }
        bytes += more;
        failures.push(NodeFailure {
            node_name: name.clone(),
            reason: Some("EvaluationError".to_owned()),
            message: Some(message),
            last_evaluation_time: Time(*since),
        });
    }
    (failures, bytes)
}
