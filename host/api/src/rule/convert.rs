//! From the stored rule to the planner's, and what may be wrong with it.
//!
//! The schema refuses most of this, but not in a cluster that has another definition, and core
//! validation of a node is stricter about a taint than the schema of a rule may be.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use planner::rule::{Effect, Enforcement, Matching, Requirement, Rule, Status, TaintId};

use super::{NodeReadinessRule, TAINT_PREFIX, Taint};
use crate::names;
use crate::selector::{InvalidSelector, Selector};

impl NodeReadinessRule {
    /// The rule as the planner knows it.
    ///
    /// # Errors
    /// Why the rule cannot be enforced as it is written: it is Stalled.
    pub fn to_rule(&self) -> Result<Rule, InvalidRule> {
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
            taint: spec.taint.id()?,
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
            parameters: String::new(),
        };
        self.selector()?;
        Ok(rule)
    }

    /// The nodes that the rule selects.
    ///
    /// # Errors
    /// An unparsable selector selects no node.
    pub fn selector(&self) -> Result<Selector, InvalidSelector> {
        Selector::parse(&self.spec.node_selector)
    }
}

impl Taint {
    /// Key and effect, where the API server lets a node carry the taint.
    fn id(&self) -> Result<TaintId, InvalidRule> {
        let bad = |field, value: &str, problem| InvalidRule::Taint {
            field,
            value: value.to_owned(),
            problem,
        };
        let problem = match self.key.strip_prefix(TAINT_PREFIX) {
            None => Some("a rule manages only keys that begin with readiness.k8s.io/"),
            Some(_) => names::key_problem(&self.key),
        };
        if let Some(problem) = problem {
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
    /// A taint that the API server would refuse on a node, or that no rule may touch.
    #[error("spec.taint.{field}: no node can be given {value:?}: {problem}")]
    Taint {
        /// `key` or `value`.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong.
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
            Self::Taint { .. } => "InvalidTaint",
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
                "nodeSelector": {"matchLabels": {"a": "b"}}, "dryRun": true}});
        change(&mut rule);
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn every_field_arrives() {
        assert_eq!(
            rule(|_| ()).to_rule().unwrap(),
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
                parameters: String::new(),
            }
        );
        let short = rule(|rule| {
            let spec = rule["spec"].as_object_mut().unwrap();
            spec.remove("conditionPolicy");
            spec.remove("dryRun");
            rule["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        });
        let short = short.to_rule().unwrap();
        assert_eq!(short.matching, Matching::AllOf);
        assert!(!short.dry_run);
        assert!(short.terminating);
    }

    #[test]
    fn compat_028_what_cannot_be_enforced_says_where() {
        let cases: [(&str, Value, &str, &str); 9] = [
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
            let error = rule.to_rule().unwrap_err();
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
        assert!(rule.to_rule().is_err());
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
