//! Which nodes a rule applies to.

pub mod overlap;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::SelectorExt;

use crate::names;

/// A label selector that can be evaluated. The empty one selects every node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(kube::core::Selector);

impl Selector {
    /// Parses a selector as the API server does where it uses one. The schema of a rule lets any
    /// operator, key and value pass.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place below `spec.nodeSelector`.
    pub fn parse(selector: &LabelSelector) -> Result<Self, InvalidSelector> {
        check_all(selector)?;
        // What kube refuses was refused above, with its place.
        kube::core::Selector::try_from(selector.clone())
            .map(Self)
            .map_err(|error| InvalidSelector {
                field: "matchExpressions".to_owned(),
                message: error.to_string(),
            })
    }

    /// Selects no node: no label has one of no values.
    pub fn nothing() -> Self {
        Self(kube::core::Expression::In("readiness.node.x-k8s.io/none".into(), [].into()).into())
    }

    /// Does it select a node with these labels?
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }

    /// Does it select every node?
    pub fn selects_all(&self) -> bool {
        self.0.selects_all()
    }
}

fn check_all(selector: &LabelSelector) -> Result<(), InvalidSelector> {
    for (key, value) in selector.match_labels.iter().flatten() {
        let field = || format!("matchLabels[{key:?}]");
        check(field, names::key_problem(key))?;
        check(field, names::value_problem(value))?;
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let field = |name: &str| format!("matchExpressions[{index}].{name}");
        let values = expression.values.as_deref().unwrap_or_default();
        check(|| field("key"), names::key_problem(&expression.key))?;
        let problem = match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => Some((
                field("values"),
                "In and NotIn need at least one value".to_owned(),
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => Some((
                field("values"),
                "Exists and DoesNotExist take no values".to_owned(),
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => None,
            other => Some((
                field("operator"),
                format!(
                    "{other:?} is not a valid label selector operator: there are In, NotIn, Exists and DoesNotExist"
                ),
            )),
        };
        if let Some((field, message)) = problem {
            return Err(InvalidSelector { field, message });
        }
        for value in values {
            check(|| field("values"), names::value_problem(value))?;
        }
    }
    Ok(())
}

fn check(
    field: impl FnOnce() -> String,
    problem: Option<&'static str>,
) -> Result<(), InvalidSelector> {
    match problem {
        None => Ok(()),
        Some(problem) => Err(InvalidSelector {
            field: field(),
            message: problem.to_owned(),
        }),
    }
}

/// A selector that selects nothing, since it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.nodeSelector.{field}: {message}")]
pub struct InvalidSelector {
    /// Where, below `spec.nodeSelector`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(selector: Value) -> Result<Selector, InvalidSelector> {
        Selector::parse(&serde_json::from_value(selector).unwrap())
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn compat_009_empty_selects_every_node() {
        let all = parse(json!({})).unwrap();
        assert!(all.selects_all());
        assert!(all.matches(&BTreeMap::new()));
        assert!(all.matches(&BTreeMap::from([("a".into(), "b".into())])));
    }

    #[test]
    fn nothing_selects_nothing() {
        let key = "readiness.node.x-k8s.io/none".to_owned();
        for labels in [BTreeMap::new(), BTreeMap::from([(key, String::new())])] {
            assert!(!Selector::nothing().matches(&labels));
        }
    }

    #[test]
    fn operators_have_the_meaning_of_kubernetes() {
        let labels = |value: Option<&str>| {
            let mut labels = BTreeMap::from([("other".to_owned(), "x".to_owned())]);
            labels.extend(value.map(|value| ("zone".to_owned(), value.to_owned())));
            labels
        };
        // selector; matches where the label is absent, "", "a", "c"
        let cases = [
            (
                json!({"matchLabels": {"zone": "a"}}),
                [false, false, true, false],
            ),
            (
                json!({"matchLabels": {"zone": ""}}),
                [false, true, false, false],
            ),
            (
                expression("zone", "In", &["a", "b"]),
                [false, false, true, false],
            ),
            (
                expression("zone", "NotIn", &["a", "b"]),
                [true, true, false, true],
            ),
            (expression("zone", "Exists", &[]), [false, true, true, true]),
            (
                expression("zone", "DoesNotExist", &[]),
                [true, false, false, false],
            ),
            (
                json!({"matchLabels": {"other": "x"}, "matchExpressions": [
                    {"key": "zone", "operator": "NotIn", "values": ["c"]},
                    {"key": "zone", "operator": "Exists"}]}),
                [false, true, true, false],
            ),
        ];
        for (selector, expected) in cases {
            let parsed = parse(selector.clone()).unwrap();
            let found =
                [None, Some(""), Some("a"), Some("c")].map(|value| parsed.matches(&labels(value)));
            assert_eq!(found, expected, "{selector}");
        }
    }

    #[test]
    fn compat_009_an_unparsable_selector_says_where() {
        let cases = [
            (
                expression("zone", "Gt", &["1"]),
                "matchExpressions[0].operator",
            ),
            (
                expression("zone", "in", &["a"]),
                "matchExpressions[0].operator",
            ),
            (expression("zone", "In", &[]), "matchExpressions[0].values"),
            (
                expression("zone", "NotIn", &["not ok!"]),
                "matchExpressions[0].values",
            ),
            (
                expression("zone", "Exists", &["a"]),
                "matchExpressions[0].values",
            ),
            (
                expression("a/b/c", "Exists", &[]),
                "matchExpressions[0].key",
            ),
            (json!({"matchLabels": {"-": "a"}}), "matchLabels[\"-\"]"),
            (json!({"matchLabels": {"a": "-"}}), "matchLabels[\"a\"]"),
        ];
        for (selector, field) in cases {
            assert_eq!(
                parse(selector.clone()).unwrap_err().field,
                field,
                "{selector}"
            );
        }
    }
}
