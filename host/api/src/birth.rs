//! The gate at birth: the API server itself puts a rule's taint on a node, in the request that creates it.
//! No controller is fast enough for that; the scheduler may bind a pod before.
//!
//! There is one policy and one binding for all rules. The rules are the policy's parameters: the API server reads
//! each when a node is created, so that nothing has to follow a rule that changes, and the taint of one that
//! is paused or deleted is put on no node, whoever is down meanwhile.

mod kubelet;

use k8s_openapi::api::admissionregistration::v1::{
    JSONPatch, MatchCondition, MatchResources, MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec,
    MutatingAdmissionPolicySpec, Mutation, NamedRuleWithOperations, ParamKind, ParamRef, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use planner::{bootstrap, ownership};
use serde::Serialize;
use serde_json::Value;

use crate::NodeReadinessRule;

pub use kubelet::not_by_kubelet;

/// Name of the policy and of its binding.
pub const NAME: &str = "node-readiness-gate";
/// The condition in a rule's status that says whether the rule holds a node that shows nothing yet.
pub const HOLDS_NEW_NODES: &str = "HoldsNewNodes";

/// The rules that have a gate.
#[derive(Debug, Clone, Copy)]
pub enum Rules<'a> {
    /// Each whose status says that it holds new nodes.
    Ready,
    /// Those with these names, whatever their status says.
    Named(&'a [&'a str]),
}

/// What happens to a node about which the API server cannot decide, as where the definition of rules is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It is created without the taint.
    Ignore,
    /// It is not created.
    Fail,
}

impl FailurePolicy {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

const HEADER: &str = "# Printed by `host gate`; its --help says what it does.\n";

/// The objects of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// What is done.
    pub policy: MutatingAdmissionPolicy,
    /// For which rules.
    pub binding: MutatingAdmissionPolicyBinding,
}

/// The objects could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// As YAML.
    #[error("the gate cannot be written as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// As JSON.
    #[error("the gate cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Gate {
    /// The gate of these rules.
    pub fn new(rules: Rules<'_>, failure_policy: FailurePolicy) -> Self {
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        };
        let group = NodeReadinessRule::api_version(&()).into_owned();
        Self {
            policy: MutatingAdmissionPolicy {
                metadata: metadata.clone(),
                spec: Some(MutatingAdmissionPolicySpec {
                    failure_policy: Some(failure_policy.as_str().to_owned()),
                    // Who rewrites the taints after this one does not lose it.
                    reinvocation_policy: Some("IfNeeded".to_owned()),
                    param_kind: Some(ParamKind {
                        api_version: Some(group),
                        kind: Some(NodeReadinessRule::kind(&()).into_owned()),
                    }),
                    match_constraints: Some(created_nodes()),
                    match_conditions: Some(conditions(rules)),
                    variables: Some(variables()),
                    mutations: Some(vec![Mutation {
                        patch_type: "JSONPatch".to_owned(),
                        json_patch: Some(JSONPatch {
                            expression: Some(PATCH.replace("ANNOTATION", ownership::ANNOTATION)),
                        }),
                        ..Mutation::default()
                    }]),
                }),
            },
            binding: MutatingAdmissionPolicyBinding {
                metadata,
                spec: Some(MutatingAdmissionPolicyBindingSpec {
                    policy_name: Some(NAME.to_owned()),
                    param_ref: Some(ParamRef {
                        selector: Some(LabelSelector::default()),
                        // Without a rule there is nothing to hold a node for.
                        parameter_not_found_action: Some("Allow".to_owned()),
                        ..ParamRef::default()
                    }),
                    ..MutatingAdmissionPolicyBindingSpec::default()
                }),
            },
        }
    }

    /// As YAML for `kubectl apply -f`.
    ///
    /// # Errors
    /// A defect.
    pub fn yaml(&self) -> Result<String, PrintError> {
        let policy = serde_saphyr::to_string(&self.policy)?;
        let binding = serde_saphyr::to_string(&self.binding)?;
        Ok(format!("{HEADER}{policy}---\n{binding}"))
    }

    /// As JSON for `kubectl apply -f`: a List.
    ///
    /// # Errors
    /// A defect.
    pub fn json(&self) -> Result<String, PrintError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct List {
            api_version: &'static str,
            kind: &'static str,
            items: [Value; 2],
        }
        let items = [
            serde_json::to_value(&self.policy)?,
            serde_json::to_value(&self.binding)?,
        ];
        let list = List {
            api_version: "v1",
            kind: "List",
            items,
        };
        Ok(serde_json::to_string_pretty(&list)? + "\n")
    }
}

/// Only their creation: what happens later is the host's. With the API server's own defaults: it compares this
/// as a whole when somebody else applies the same.
fn created_nodes() -> MatchResources {
    let words = |word: &str| Some(vec![word.to_owned()]);
    MatchResources {
        resource_rules: Some(vec![NamedRuleWithOperations {
            api_groups: words(""),
            api_versions: words("v1"),
            operations: words("CREATE"),
            resources: words("nodes"),
            scope: Some("*".to_owned()),
            ..NamedRuleWithOperations::default()
        }]),
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(LabelSelector::default()),
        object_selector: Some(LabelSelector::default()),
        ..MatchResources::default()
    }
}

/// When a rule (`params`) puts its taint on a node (`object`): all of them.
fn conditions(rules: Rules<'_>) -> Vec<MatchCondition> {
    let (name, expression) = match rules {
        Rules::Ready => (
            "rule-holds-new-nodes",
            STATUS.replace("HOLDS_NEW_NODES", HOLDS_NEW_NODES),
        ),
        Rules::Named(names) => {
            // A string of JSON is one of CEL.
            let names: Vec<String> = names
                .iter()
                .map(|name| Value::from(*name).to_string())
                .collect();
            (
                "rule-is-named",
                format!("params.metadata.name in [{}]", names.join(", ")),
            )
        }
    };
    let all = [
        (name, expression),
        ("rule-is-in-force", IN_FORCE.to_owned()),
        ("rule-selects-the-node", SELECTS.to_owned()),
        ("node-may-carry-the-taint", TAINT_IS_VALID.to_owned()),
        ("node-is-without-the-taint", WITHOUT_TAINT.to_owned()),
        (
            "node-has-not-completed",
            NOT_COMPLETED.replace("PREFIX", bootstrap::PREFIX),
        ),
    ];
    let all = all.map(|(name, expression)| MatchCondition {
        name: name.to_owned(),
        expression,
    });
    all.into()
}

/// The record of ownership, as [`ownership::Record`] has it, but for the time: there is no clock.
fn variables() -> Vec<Variable> {
    let all = [
        ("record", RECORD.to_owned()),
        (
            "before",
            BEFORE.replace("ANNOTATION", ownership::ANNOTATION),
        ),
        ("records", RECORDS.to_owned()),
    ];
    let all = all.map(|(name, expression)| Variable {
        name: name.to_owned(),
        expression,
    });
    all.into()
}

/// Only a host that is there writes it: no node is held for whom nobody would release it.
const STATUS: &str = "\
params.?status.?conditions.orValue([]).exists(c, c.type == 'HOLDS_NEW_NODES' && c.status == 'True')";

/// Not waiting for the status: an operator has just decided it.
const IN_FORCE: &str = "\
!has(params.metadata.deletionTimestamp)
&& !params.spec.?dryRun.orValue(false)
&& !params.spec.?suspend.orValue(false)";

/// As [`crate::Selector`] has it. An operator that there is not selects nothing.
const SELECTS: &str = "\
params.spec.nodeSelector.?matchLabels.orValue({}).all(key,
  object.metadata.?labels[?key].orValue(null) == params.spec.nodeSelector.matchLabels[key])
&& params.spec.nodeSelector.?matchExpressions.orValue([]).all(e,
  e.operator == 'In' ? object.metadata.?labels[?e.key].orValue(null) in e.?values.orValue([]) :
  e.operator == 'NotIn' ? !(object.metadata.?labels[?e.key].orValue(null) in e.?values.orValue([])) :
  e.operator == 'Exists' ? object.metadata.?labels[?e.key].hasValue() :
  e.operator == 'DoesNotExist' && !object.metadata.?labels[?e.key].hasValue())";

/// Its schema lets more pass, and a node with a taint that cannot be stored could not be created at all.
const TAINT_IS_VALID: &str = "\
params.spec.taint.?value.orValue('').matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')";

/// One that is there has an owner, or is adopted by the host.
const WITHOUT_TAINT: &str = "\
!object.spec.?taints.orValue([]).exists(t,
  t.key == params.spec.taint.key && t.effect == params.spec.taint.effect)";

/// One that is created again as it was, such as from a backup, may have.
const NOT_COMPLETED: &str = "\
params.spec.enforcementMode != 'bootstrap-only'
|| ![params.metadata.uid, params.metadata.name].exists(owner,
  object.metadata.?annotations[?('PREFIX' + owner)].hasValue())";

/// Nothing in it needs an escape: names and keys have neither quotes nor backslashes.
const RECORD: &str = "\
'{\"key\":\"' + params.spec.taint.key + '\",\"effect\":\"' + params.spec.taint.effect
+ '\",\"ruleUID\":\"' + params.metadata.uid + '\",\"rule\":\"' + params.metadata.name
+ '\",\"reason\":\"GateAtBirth\",\"free\":true}'";

const BEFORE: &str = "object.metadata.?annotations[?'ANNOTATION'].orValue('')";

/// Behind what other rules' gates wrote. What was no list of records is nobody's; what only looks like
/// one is as unreadable afterwards as it was, and then the host adopts the taint.
const RECORDS: &str = "\
variables.before.startsWith('[{') && variables.before.endsWith('}]')
? variables.before.substring(0, size(variables.before) - 1) + ',' + variables.record + ']'
: '[' + variables.record + ']'";

/// The list of taints is atomic, so that it cannot be merged.
const PATCH: &str = "\
(has(object.spec.taints) ? [] : [JSONPatch{op: 'add', path: '/spec/taints', value: []}])
+ [JSONPatch{op: 'add', path: '/spec/taints/-', value: {
    'key': params.spec.taint.key,
    ?'value': params.spec.taint.?value,
    'effect': params.spec.taint.effect}}]
+ (has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])
+ [JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('ANNOTATION'),
    value: variables.records}]";
