//! What a rule's status says about a node, beyond the outcome of its plan.

use crate::facts::Node;
use crate::rule::{Rule, Status};

/// One entry of `conditionResults`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionResult<'a> {
    /// Condition type.
    pub condition: &'a str,
    /// What the node shows; `Unknown` where it shows nothing, even if a default counted.
    pub current: Status,
    /// `requiredStatus`.
    pub required: Status,
    /// The default that counts while the condition is absent.
    pub fallback: Status,
}

/// What the node shows of each of the rule's conditions, in the rule's order.
pub fn condition_results<'a>(
    node: &Node,
    rule: &'a Rule,
) -> impl Iterator<Item = ConditionResult<'a>> {
    rule.requirements.iter().map(|requirement| ConditionResult {
        condition: &requirement.condition,
        current: node
            .condition(&requirement.condition)
            .map_or(Status::Unknown, |found| found.status.shown()),
        required: requirement.required,
        fallback: requirement.fallback.unwrap_or(Status::Unknown),
    })
}

/// Does the node lack one of the rule's conditions? A dry run calls that risky, even where a
/// default satisfies it.
pub fn lacks_condition(node: &Node, rule: &Rule) -> bool {
    rule.requirements
        .iter()
        .any(|requirement| node.condition(&requirement.condition).is_none())
}
