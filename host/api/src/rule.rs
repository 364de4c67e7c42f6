//! `NodeReadinessRule`, group `readiness.node.x-k8s.io`, version `v1alpha1`.
//!
//! Words with a fixed choice are strings here and not enums: a rule that a later version stored
//! must not stop the watch of all rules. The doc comments are what `kubectl explain` prints.

pub(crate) mod convert;
pub mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lenient;
use status::NodeReadinessRuleStatus;

pub use planner::rule::TAINT_PREFIX;

/// The finalizer of every rule.
pub const FINALIZER: &str = "readiness.node.x-k8s.io/cleanup-taints";

/// The messages of the CEL rules about a taint, which are part of the API.
pub(crate) mod messages {
    use planner::rule::TaintPrefixes;

    pub(crate) const KEY_LENGTH: &str = "taint key length must be at most 253 characters";
    /// The Go controller's words, where the operator added no further prefix.
    pub(crate) fn key_prefix(prefixes: &TaintPrefixes) -> String {
        let quoted: Vec<_> = prefixes
            .iter()
            .map(|prefix| format!("'{prefix}'"))
            .collect();
        format!("taint key must start with {}", quoted.join(" or "))
    }
    pub(crate) const KEY_PARTS: &str =
        "taint key must have exactly one '/' separator (prefix/name format)";
    pub(crate) const NAME_LENGTH: &str = "taint key name part must be 1-63 characters";
    pub(crate) const NAME_SYNTAX: &str = "taint key name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    pub(crate) const VALUE_LENGTH: &str = "taint value length must be at most 63 characters";
    pub(crate) const EFFECT: &str =
        "taint effect must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'";
}

/// The CEL rule about the prefix of a taint's key, as it stands before the prefixes are known.
pub(crate) const PREFIX_RULE: &str = "self.key.startsWith('')";

/// What a rule demands of the nodes that it selects, and the taint that holds them until then.
#[expect(clippy::duplicated_attributes, reason = "columns of the same type")]
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "readiness.node.x-k8s.io",
    version = "v1alpha1",
    kind = "NodeReadinessRule",
    doc = "A NodeReadinessRule keeps pods off the nodes that it selects, by a taint, until the conditions of a node say that it is ready for them.",
    plural = "nodereadinessrules",
    singular = "nodereadinessrule",
    shortname = "nrr",
    status = "NodeReadinessRuleStatus",
    selectable = ".spec.enforcementMode",
    selectable = ".spec.taint.key",
    selectable = ".spec.dryRun",
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.enforcementMode",
        description = "Once per node (bootstrap-only) or for as long as it lives (continuous)."
    ),
    printcolumn(
        name = "Taint",
        type_ = "string",
        json_path = ".spec.taint.key",
        description = "Key of the taint that holds a node."
    ),
    printcolumn(
        name = "Effect",
        type_ = "string",
        json_path = ".spec.taint.effect",
        description = "Effect of the taint."
    ),
    printcolumn(
        name = "DryRun",
        type_ = "boolean",
        json_path = ".spec.dryRun",
        description = "Does the rule only say what it would do?"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the rule was created."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Is the rule in force?",
        priority = 1
    ),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes.matched",
        description = "Number of nodes that the rule selects.",
        priority = 1
    ),
    printcolumn(
        name = "Held",
        type_ = "integer",
        json_path = ".status.nodes.held",
        description = "Number of those nodes that carry the taint.",
        priority = 1
    ),
    printcolumn(
        name = "Policy",
        type_ = "string",
        json_path = ".spec.policy.name",
        description = "The ReadinessPolicy that decides; none: the policy that is built in.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.conditionPolicy) ? self.conditionPolicy : 'allOf') == (has(oldSelf.conditionPolicy) ? oldSelf.conditionPolicy : 'allOf')").message("conditionPolicy is immutable"))]
pub struct NodeReadinessRuleSpec {
    /// The node conditions that decide: while they are not as required, the taint is on the node.
    /// Each type may be named once. Cannot be changed later.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("conditions is immutable"))]
    pub conditions: Vec<ConditionRequirement>,

    /// How many of the conditions must be as required: all of them (`allOf`, the default), or at
    /// least one (`anyOf`). `anyOf` does not go together with `bootstrap-only`. Cannot be changed
    /// later.
    #[schemars(extend("enum" = ["allOf", "anyOf"]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_policy: Option<String>,

    /// How long the rule applies to a node. `bootstrap-only`: until the conditions were once as
    /// required; the taint then never comes back. `continuous`: for as long as the node lives; the
    /// taint comes back when the conditions regress. Cannot be changed later.
    #[schemars(extend("enum" = ["bootstrap-only", "continuous"]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("enforcementMode is immutable"))]
    pub enforcement_mode: String,

    /// The taint that holds a node. Its key begins with `readiness.k8s.io/`. Key and effect cannot
    /// be changed later, nor can a value that was set. `NoExecute` evicts running pods.
    pub taint: Taint,

    /// The nodes that the rule applies to, by their labels. An empty selector selects every node.
    /// Choose labels under `node-restriction.kubernetes.io/` where a kubelet must not be able to
    /// take its own node out of the rule. Cannot be changed later.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("nodeSelector is immutable"))]
    pub node_selector: LabelSelector,

    /// If true, no node is changed: the status says what the rule would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,

    /// If true, every node stays as it is: no taint is added or removed and no bootstrap completes.
    /// The rule keeps its taints and its claim to them. A controller that does not know this field
    /// goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// How many nodes the rule may hold. Beyond that it adds no taint; it always goes on releasing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,

    /// Name of a rule that this one takes the place of. On the nodes that both select this one
    /// decides, inherits completed bootstraps, and takes the taint over without a gap. Delete the
    /// other rule when this one is Ready.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,

    /// The policy that decides; `default` if not given. A controller that knows no policies goes by
    /// the conditions alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReference>,
}

/// The most nodes that a rule may hold at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// A number of nodes, or a percentage of those that the rule selects, rounded up, such as `10%`.
    /// Taints that the rule found on a node do not count.
    #[x_kube(validation = Rule::new("type(self) == int ? self >= 0 && self <= 2147483647 : self.matches('^(100|[1-9]?[0-9])%$')").message("maxHeld must be a number of nodes, or a percentage such as 10%"))]
    #[serde(deserialize_with = "lenient::int_or_string")]
    pub max_held: IntOrString,

    /// Nodes that are younger when they are held do not count: a cluster that grows is no accident.
    /// Such as `10m`, which is the default; `0s`: every node counts.
    #[schemars(
        length(min = 2, max = 32),
        regex(pattern = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt_younger_than: Option<String>,
}

/// A policy with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReference {
    /// Name of the policy. `default` is built in.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// What the policy is told, as it describes itself. The default policy takes three, all optional.
    /// `maxHeartbeatAge`: a duration, more than 0, such as `15m`; a condition whose last heartbeat is
    /// older counts as Unknown. `minReadyTime`: a duration, such as `30s`; a condition is met only after
    /// it has had its required status for so long. `rearmOnReboot`: true or false; the bootstrap has to
    /// be completed once in each boot, with `bootstrap-only`. A duration is one to four whole numbers,
    /// each with its unit `h`, `m`, `s` or `ms`, such as `1h30m`.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A condition of a node and the status that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionRequirement {
    /// Type of the node condition, such as `example.com/AgentReady`.
    #[schemars(length(min = 1, max = 316))]
    pub r#type: String,

    /// The status that the condition must have.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub required_status: String,

    /// The status that counts while the node does not have the condition; `Unknown` if not given.
    /// Not for `bootstrap-only`, where it would release a node before anything was reported.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_status: Option<String>,
}

/// The taint of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("size(self.key) <= 253").message(messages::KEY_LENGTH),
    // Which prefixes there are is the operator's choice: see `crds`.
    validation = Rule::new(PREFIX_RULE).message("taint key must start with a prefix"),
    validation = Rule::new("self.key.split('/').size() == 2").message(messages::KEY_PARTS),
    // A key of another shape has its message already.
    validation = Rule::new("self.key.split('/').size() != 2 || (self.key.split('/')[1].size() >= 1 && self.key.split('/')[1].size() <= 63)").message(messages::NAME_LENGTH),
    validation = Rule::new("self.key.split('/').size() != 2 || self.key.split('/')[1].matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message(messages::NAME_SYNTAX),
    validation = Rule::new("!has(self.value) || size(self.value) <= 63").message(messages::VALUE_LENGTH),
    validation = Rule::new("self.effect in ['NoSchedule', 'PreferNoSchedule', 'NoExecute']").message(messages::EFFECT),
    validation = Rule::new("self.key == oldSelf.key").message("taint key is immutable"),
    validation = Rule::new("self.effect == oldSelf.effect").message("taint effect is immutable"),
    validation = Rule::new("!has(oldSelf.value) || self.value == oldSelf.value").message("taint value is immutable")
)]
pub struct Taint {
    /// Key of the taint: `readiness.k8s.io/` and a name of 1 to 63 letters, digits, `-`, `_` and
    /// `.`, which begins and ends with a letter or digit.
    pub key: String,

    /// Effect of the taint on pods that do not tolerate it: `NoSchedule`, `PreferNoSchedule` or
    /// `NoExecute`.
    pub effect: String,

    /// Value of the taint, a label value. A taint is recognised by key and effect: one with another
    /// value is the same taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// Not used. It is here because a taint of a node has it.
    #[schemars(extend("format" = "date-time"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}
