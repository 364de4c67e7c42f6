//! From the stored rule to the planner's, and what may be wrong with it.
//!
//! The schema refuses most of this, but not in a cluster that has another definition, and core
//! validation of a node is stricter about a taint than the schema of a rule may be.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use planner::rule::{
    DEFAULT_POLICY, Effect, Enforcement, Limit, Matching, Requirement, Rule, Status, TaintId,
    TaintPrefixes,
};

use super::{Budget, NodeReadinessRule, Taint};
use crate::names;
use crate::selector::{InvalidSelector, Selector};

/// `spec.budget.exemptYoungerThan` where it is not given.
const DEFAULT_EXEMPTION: Duration = Duration::from_secs(10 * 60);

impl NodeReadinessRule {
    /// The rule as the planner knows it.
    ///
    /// # Errors
    /// Why the rule cannot be enforced as it is written: it is Stalled.
    pub fn to_rule(&self, prefixes: &TaintPrefixes) -> Result<Rule, InvalidRule> {
        let spec = &self.spec;
        if spec.conditions.is_empty() {
            return Err(InvalidRule::NoConditions);
        }
        let requirements = spec.conditions.iter().enumerate();
        let requirements = requirements.map(|(index, condition)| {
            let field = |name: &str| format!("spec.conditions[{index}].{name}");
            let status = |name, text| word(|| field(name), text, Status::parse, Status::ALL);
            Ok(Requirement {
                condition: condition.r#type.clone(),
                required: status("requiredStatus", &condition.required_status)?,
                fallback: (condition.default_status.as_deref())
                    .map(|text| status("defaultStatus", text))
                    .transpose()?,
            })
        });
        let rule = Rule {
            name: self.metadata.name.clone().unwrap_or_default(),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            created: (self.metadata.creation_timestamp.as_ref()).map(|Time(created)| *created),
            terminating: self.metadata.deletion_timestamp.is_some(),
            dry_run: spec.dry_run.unwrap_or(false),
            taint: spec.taint.id(prefixes)?,
            taint_value: spec.taint.value.clone(),
            requirements: requirements.collect::<Result<_, InvalidRule>>()?,
            matching: match &spec.condition_policy {
                None => Matching::AllOf,
                Some(text) => word(
                    || "spec.conditionPolicy".to_owned(),
                    text,
                    Matching::parse,
                    Matching::ALL,
                )?,
            },
            enforcement: word(
                || "spec.enforcementMode".to_owned(),
                &spec.enforcement_mode,
                Enforcement::parse,
                Enforcement::ALL,
            )?,
            policy: self.policy().to_owned(),
            parameters: self.parameters(),
            suspended: spec.suspend.unwrap_or(false),
            replaces: spec.replaces.clone(),
            budget: spec.budget.as_ref().map(Budget::parse).transpose()?,
        };
        self.selector()?;
        Ok(rule)
    }

    /// What can be read of a rule that cannot be used as it is written: enough to say what it did, to hand
    /// it over, and, once the rule is being deleted, to take it back.
    pub fn to_last_rule(&self) -> Rule {
        let spec = &self.spec;
        let requirement = |condition: &super::ConditionRequirement| {
            Some(Requirement {
                condition: condition.r#type.clone(),
                required: Status::parse(&condition.required_status)?,
                fallback: match &condition.default_status {
                    Some(status) => Some(Status::parse(status)?),
                    None => None,
                },
            })
        };
        let requirements = spec.conditions.iter().map(requirement);
        Rule {
            name: self.metadata.name.clone().unwrap_or_default(),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            created: (self.metadata.creation_timestamp.as_ref()).map(|Time(created)| *created),
            terminating: self.metadata.deletion_timestamp.is_some(),
            dry_run: spec.dry_run.unwrap_or(false),
            taint: TaintId {
                key: spec.taint.key.clone(),
                // A record names an effect that exists; with another there is none.
                effect: Effect::parse(&spec.taint.effect).unwrap_or(Effect::NoSchedule),
            },
            taint_value: spec.taint.value.clone(),
            requirements: requirements.collect::<Option<_>>().unwrap_or_default(),
            matching: Matching::AllOf,
            enforcement: Enforcement::parse(&spec.enforcement_mode)
                .unwrap_or(Enforcement::Continuous),
            policy: self.policy().to_owned(),
            parameters: String::new(),
            suspended: spec.suspend.unwrap_or(false),
            replaces: spec.replaces.clone(),
            budget: None,
        }
    }

    /// The nodes that the rule selects.
    ///
    /// # Errors
    /// An unparsable selector selects no node.
    pub fn selector(&self) -> Result<Selector, InvalidSelector> {
        Selector::parse(&self.spec.node_selector)
    }

    /// Is the selector empty, and so of every node?
    pub fn selects_all(&self) -> bool {
        let selector = &self.spec.node_selector;
        selector.match_labels.iter().flatten().next().is_none()
            && selector.match_expressions.iter().flatten().next().is_none()
    }
}

impl NodeReadinessRule {
    /// Name of the policy that decides.
    fn policy(&self) -> &str {
        let policy = self.spec.policy.as_ref();
        policy.map_or(DEFAULT_POLICY, |policy| &policy.name)
    }

    /// The parameters of the policy as JSON; empty if there are none.
    fn parameters(&self) -> String {
        let policy = self.spec.policy.as_ref();
        let parameters = policy.and_then(|policy| policy.parameters.as_ref());
        parameters.map_or_else(String::new, |parameters| {
            serde_json::Value::Object(parameters.clone()).to_string()
        })
    }
}

impl Budget {
    fn parse(&self) -> Result<planner::rule::Budget, InvalidRule> {
        let bad = |field, value: &str, problem| InvalidRule::Budget {
            field,
            value: value.to_owned(),
            problem,
        };
        let most = match &self.max_held {
            IntOrString::Int(number) => u32::try_from(*number).ok().map(Limit::Nodes),
            IntOrString::String(text) => text
                .strip_suffix('%')
                .and_then(|percent| percent.parse().ok())
                .filter(|percent| *percent <= 100)
                .map(Limit::Percent),
        };
        let most = most.ok_or_else(|| {
            let value = match &self.max_held {
                IntOrString::Int(number) => number.to_string(),
                IntOrString::String(text) => text.clone(),
            };
            bad(
                "maxHeld",
                &value,
                "give a number of nodes, or a percentage such as 10%",
            )
        })?;
        let exempt_younger_than = match &self.exempt_younger_than {
            None => DEFAULT_EXEMPTION,
            Some(text) => (text.parse::<SignedDuration>().ok())
                .and_then(|duration| Duration::try_from(duration).ok())
                .ok_or_else(|| bad("exemptYoungerThan", text, "give a duration such as 10m"))?,
        };
        Ok(planner::rule::Budget {
            most,
            exempt_younger_than,
        })
    }
}

impl Taint {
    /// Key and effect, where the API server lets a node carry the taint.
    fn id(&self, prefixes: &TaintPrefixes) -> Result<TaintId, InvalidRule> {
        let bad = |field, value: &str, problem| InvalidRule::Taint {
            field,
            value: value.to_owned(),
            problem,
        };
        if !prefixes.allow(&self.key) {
            return Err(InvalidRule::TaintPrefix {
                key: self.key.clone(),
                prefixes: prefixes.iter().collect::<Vec<_>>().join(", "),
            });
        }
        if let Some(problem) = names::key_problem(&self.key) {
            return Err(bad("key", &self.key, problem));
        }
        let value = self.value.as_deref().unwrap_or_default();
        if let Some(problem) = names::value_problem(value) {
            return Err(bad("value", value, problem));
        }
        Ok(TaintId {
            key: self.key.clone(),
            effect: word(
                || "spec.taint.effect".to_owned(),
                &self.effect,
                Effect::parse,
                Effect::ALL,
            )?,
        })
    }
}

fn word<T: Copy + ToString>(
    field: impl FnOnce() -> String,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    all: &[T],
) -> Result<T, InvalidRule> {
    parse(text).ok_or_else(|| InvalidRule::Word {
        field: field(),
        word: text.to_owned(),
        known: all.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// Why a rule cannot be enforced as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// A word that this version does not know.
    #[error("{field}: {word:?} is not one of {known}")]
    Word {
        /// Path of the field.
        field: String,
        /// What stands there.
        word: String,
        /// What may stand there.
        known: String,
    },
    /// Nothing is required, so that every node would be released.
    #[error("spec.conditions: a rule needs at least one condition")]
    NoConditions,
    /// A taint that is not ours to manage.
    #[error(
        "spec.taint.key: {key:?} does not begin with {prefixes}; `host run --taint-key-prefix` allows further ones"
    )]
    TaintPrefix {
        /// What stands there.
        key: String,
        /// What may stand there.
        prefixes: String,
    },
    /// A taint that the API server would refuse on a node.
    #[error("spec.taint.{field}: no node can be given {value:?}: {problem}")]
    Taint {
        /// `key` or `value`.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A budget that cannot be read.
    #[error("spec.budget.{field}: {value:?}: {problem}")]
    Budget {
        /// `maxHeld` or `exemptYoungerThan`.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What to do.
        problem: &'static str,
    },
    /// The selector cannot be read.
    #[error(transparent)]
    Selector(#[from] InvalidSelector),
}

impl InvalidRule {
    /// CamelCase word for the reason of a condition or an event.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Word { .. } => "UnknownValue",
            Self::NoConditions => "NoConditions",
            Self::Taint { .. } | Self::TaintPrefix { .. } => "InvalidTaint",
            Self::Budget { .. } => "InvalidBudget",
            Self::Selector(_) => "InvalidSelector",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(change: impl FnOnce(&mut Value)) -> NodeReadinessRule {
        let mut rule = json!({
            "metadata": {"name": "agent", "uid": "u-1", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {
                "conditions": [
                    {"type": "example.com/A", "requiredStatus": "True"},
                    {"type": "B", "requiredStatus": "False", "defaultStatus": "Unknown"}],
                "conditionPolicy": "anyOf",
                "enforcementMode": "continuous",
                "taint": {"key": "readiness.k8s.io/agent", "effect": "NoExecute", "value": "pending"},
                "nodeSelector": {"matchLabels": {"a": "b"}}, "dryRun": true, "suspend": true,
                "replaces": "older", "budget": {"maxHeld": "10%", "exemptYoungerThan": "1m30s"},
                "policy": {"name": "steady", "parameters": {"minReadyTime": "30s"}}}});
        change(&mut rule);
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn every_field_arrives() {
        assert_eq!(
            rule(|_| ()).to_rule(&TaintPrefixes::default()).unwrap(),
            Rule {
                name: "agent".into(),
                uid: "u-1".into(),
                created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
                terminating: false,
                dry_run: true,
                taint: TaintId {
                    key: "readiness.k8s.io/agent".into(),
                    effect: Effect::NoExecute,
                },
                taint_value: Some("pending".into()),
                requirements: vec![
                    Requirement {
                        condition: "example.com/A".into(),
                        required: Status::True,
                        fallback: None,
                    },
                    Requirement {
                        condition: "B".into(),
                        required: Status::False,
                        fallback: Some(Status::Unknown),
                    },
                ],
                matching: Matching::AnyOf,
                enforcement: Enforcement::Continuous,
                policy: "steady".into(),
                parameters: r#"{"minReadyTime":"30s"}"#.into(),
                suspended: true,
                replaces: Some("older".into()),
                budget: Some(planner::rule::Budget {
                    most: Limit::Percent(10),
                    exempt_younger_than: Duration::from_secs(90),
                }),
            }
        );
        let short = rule(|rule| {
            let spec = rule["spec"].as_object_mut().unwrap();
            spec.remove("conditionPolicy");
            spec.retain(|field, _| {
                !["dryRun", "suspend", "replaces", "budget", "policy"].contains(&field.as_str())
            });
            rule["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        });
        let short = short.to_rule(&TaintPrefixes::default()).unwrap();
        assert_eq!(short.matching, Matching::AllOf);
        assert!(!short.dry_run && !short.suspended);
        assert_eq!((short.replaces, short.budget), (None, None));
        assert_eq!((&*short.policy, &*short.parameters), ("default", ""));
        assert!(short.terminating);
    }

    #[test]
    fn compat_028_what_cannot_be_enforced_says_where() {
        let cases: [(&str, Value, &str, &str); 12] = [
            (
                "/spec/budget/maxHeld",
                json!("101%"),
                "spec.budget.maxHeld: ",
                "InvalidBudget",
            ),
            (
                "/spec/budget/maxHeld",
                json!(-1),
                "spec.budget.maxHeld: ",
                "InvalidBudget",
            ),
            (
                "/spec/budget/exemptYoungerThan",
                json!("soon"),
                "spec.budget.exemptYoungerThan: ",
                "InvalidBudget",
            ),
            (
                "/spec/taint/value",
                json!("not ok!"),
                "spec.taint.value: ",
                "InvalidTaint",
            ),
            (
                "/spec/taint/key",
                json!("readiness.k8s.io/a/b"),
                "spec.taint.key: ",
                "InvalidTaint",
            ),
            (
                "/spec/taint/key",
                json!("node.kubernetes.io/x"),
                "spec.taint.key: ",
                "InvalidTaint",
            ),
            (
                "/spec/taint/effect",
                json!("Evict"),
                "spec.taint.effect: ",
                "UnknownValue",
            ),
            (
                "/spec/enforcementMode",
                json!("once"),
                "spec.enforcementMode: ",
                "UnknownValue",
            ),
            (
                "/spec/conditionPolicy",
                json!("noneOf"),
                "spec.conditionPolicy: ",
                "UnknownValue",
            ),
            (
                "/spec/conditions/1/defaultStatus",
                json!("Maybe"),
                "spec.conditions[1].defaultStatus: ",
                "UnknownValue",
            ),
            (
                "/spec/conditions",
                json!([]),
                "spec.conditions: ",
                "NoConditions",
            ),
            (
                "/spec/nodeSelector/matchLabels",
                json!({"a": "not ok!"}),
                "spec.nodeSelector.matchLabels[\"a\"]: ",
                "InvalidSelector",
            ),
        ];
        for (place, value, message, reason) in cases {
            let rule = rule(|rule| *rule.pointer_mut(place).unwrap() = value);
            let error = rule.to_rule(&TaintPrefixes::default()).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert_eq!(error.reason(), reason);
        }
    }

    #[test]
    fn a_rule_of_a_later_version_can_be_read() {
        let rule = rule(|rule| {
            rule["spec"]["enforcementMode"] = json!("weekly");
            rule["spec"]["later"] = json!({"a": 1});
            rule["spec"]["taint"]["timeAdded"] = json!("yesterday");
            rule["status"] = json!({"appliedNodes": null, "truncated": true, "nodeEvaluations": [{
                "nodeName": "n", "taintStatus": "Pending", "lastEvaluationTime": "soon",
                "conditionResults": [{"type": "A", "currentStatus": "Maybe", "requiredStatus": "True"}]}]});
        });
        assert!(rule.to_rule(&TaintPrefixes::default()).is_err());
        let status = rule.status.unwrap();
        let evaluation = &status.node_evaluations[0];
        assert_eq!(
            evaluation.taint_status,
            crate::rule::status::TaintStatus::Absent
        );
        assert_eq!(
            evaluation.condition_results[0].current_status,
            Status::Unknown
        );
    }
}
