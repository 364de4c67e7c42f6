//! What the status of a rule says. Who composes it keeps it small: the lists are cut, the counts
//! are not.
//!
//! The fields of the Go controller have its shape and its limits: one value beyond a limit makes
//! the API server refuse the whole status. `conditions`, `nodes` and `truncated` are additions,
//! which a cluster with the Go controller's CRD drops.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use planner::rule::Status;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lenient;

/// The most entries that the schema allows in each list of nodes.
pub const MOST_ENTRIES: usize = 5000;
/// The longest `failedNodes[].reason`, in characters.
pub const LONGEST_REASON: usize = 256;
/// The longest `failedNodes[].message`, in characters.
pub const LONGEST_MESSAGE: usize = 10_240;
/// The longest `dryRunResults.summary`, in characters. It has at least one.
pub const LONGEST_SUMMARY: usize = 4096;

/// What the rule does on the nodes that it selects. At least one field must be set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct NodeReadinessRuleStatus {
    /// The generation of the rule that this status is about.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How the rule itself is: `Ready`, `Stalled` (it cannot be enforced as it is written:
    /// `InvalidRule`; or its policy does not decide: `PolicyNotFound`, `PolicyNotReady`, `PolicyFailed`),
    /// `Conflict` (an older rule decides about the same taint on some of the nodes), `HoldsNewNodes` (it
    /// holds a node that shows no condition yet; where the gate is installed, from its creation), and,
    /// where it was so, `ReporterBlocked` (pods that report a condition of the rule do not tolerate its
    /// taint, or that of a rule whose own reporters wait for this one).
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 32))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub conditions: Vec<Condition>,

    /// How many nodes stand where with the rule. Counts every node, also where the lists are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,

    /// Are the lists of nodes cut? The counts in `nodes` never are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,

    /// Names of the nodes whose last evaluation succeeded.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 5000), inner(length(max = 253)))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub applied_nodes: Vec<String>,

    /// The nodes where the rule could not be evaluated or the taint could not be changed, with the
    /// error.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["nodeName".into()]))]
    #[schemars(length(max = 5000))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub failed_nodes: Vec<NodeFailure>,

    /// What was found on single nodes.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["nodeName".into()]))]
    #[schemars(length(max = 5000))]
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub node_evaluations: Vec<NodeEvaluation>,

    /// What a rule with `dryRun: true` would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run_results: Option<DryRunResults>,
}

/// Numbers of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes that the rule selects.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<i32>,

    /// Selected nodes that carry the taint, without those that conflict. Where the rule is Stalled,
    /// suspended or a dry run, also nodes that it holds and that its selector does not match any more.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<i32>,

    /// Selected nodes that do not carry the taint, without those that conflict.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<i32>,

    /// Selected nodes whose bootstrap is recorded as complete, for `bootstrap-only`.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<i32>,

    /// Nodes where the last evaluation or change failed: selected ones, and those that the rule does not select
    /// any more and that could not be released.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i32>,

    /// Selected nodes that were not evaluated yet.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<i32>,

    /// Selected nodes where another rule, which is older, decides about the same taint.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicting: Option<i32>,

    /// Selected nodes that the rule would hold if its budget had room, where it has a budget.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_budget: Option<i32>,

    /// Selected nodes that an annotation lets go from the rule, where there are any.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excused: Option<i32>,
}

/// One aspect of how an object is; the standard condition of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition.
    #[schemars(length(min = 1, max = 316))]
    pub r#type: String,

    /// Does it hold?
    #[schemars(with = "String", extend("enum" = ["True", "False", "Unknown"]))]
    #[serde(deserialize_with = "lenient::status")]
    pub status: Status,

    /// The generation of the object that the condition is about.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the status changed last.
    #[serde(deserialize_with = "lenient::time")]
    pub last_transition_time: Time,

    /// A CamelCase word for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,

    /// A sentence for people; may be empty.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Why the rule failed on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailure {
    /// Name of the node.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub node_name: String,

    /// A CamelCase word for programs: `EvaluationError`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// What went wrong, for people.
    #[schemars(length(min = 1, max = 10240))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When it was tried last.
    #[serde(deserialize_with = "lenient::time")]
    pub last_evaluation_time: Time,
}

/// What was found on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEvaluation {
    /// Name of the node.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub node_name: String,

    /// The rule's conditions beside those of the node.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 5000))]
    pub condition_results: Vec<ConditionResult>,

    /// Is the taint on the node after the evaluation?
    pub taint_status: TaintStatus,

    /// Why the taint is on the node, where it is, and until when, where that is only a matter of time; or which
    /// annotation lets the node go.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When the node was evaluated last.
    #[serde(deserialize_with = "lenient::time")]
    pub last_evaluation_time: Time,
}

/// A condition of the rule beside that of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionResult {
    /// Type of the node condition.
    #[schemars(length(min = 1, max = 316))]
    pub r#type: String,

    /// The status on the node: `Unknown` where the node does not have the condition, even if a
    /// default counted.
    #[schemars(with = "String", extend("enum" = ["True", "False", "Unknown"]))]
    #[serde(deserialize_with = "lenient::status")]
    pub current_status: Status,

    /// The status that the rule requires.
    #[schemars(with = "String", extend("enum" = ["True", "False", "Unknown"]))]
    #[serde(deserialize_with = "lenient::status")]
    pub required_status: Status,

    /// The status that counts while the node does not have the condition.
    #[schemars(with = "Option<String>", extend("enum" = ["True", "False", "Unknown"]))]
    #[serde(
        default,
        deserialize_with = "lenient::optional_status",
        skip_serializing_if = "Option::is_none"
    )]
    pub default_status: Option<Status>,
}

/// Is the rule's taint on a node?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintStatus {
    Present,
    // Also any word of another version: only `Present` means something.
    #[serde(other)]
    Absent,
}

/// What a rule with `dryRun: true` would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct DryRunResults {
    /// Nodes that the rule selects.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected_nodes: Option<i32>,

    /// Nodes that would get the taint.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints_to_add: Option<i32>,

    /// Nodes that would lose the taint.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints_to_remove: Option<i32>,

    /// Nodes that lack one of the conditions, even if a default stands in for it.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risky_operations: Option<i32>,

    /// All of that in one line.
    #[schemars(length(min = 1, max = 4096))]
    pub summary: String,
}
