//! Whether a pod tolerates a taint: the rules of Kubernetes, as its scheduler applies them.

use k8s_openapi::api::core::v1::Toleration;

/// A taint as it is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taint<'a> {
    /// `key`.
    pub key: &'a str,
    /// `value`; empty if there is none.
    pub value: &'a str,
    /// `effect`.
    pub effect: &'a str,
}

/// Does a pod with these tolerations run on a node with this taint, as far as the taint goes?
pub fn tolerates(tolerations: &[Toleration], taint: Taint<'_>) -> bool {
    tolerations
        .iter()
        .any(|toleration| matches(toleration, taint))
}

/// An empty key or effect stands for all of them, an empty operator for `Equal`. An operator that is not
/// known matches nothing.
fn matches(toleration: &Toleration, taint: Taint<'_>) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    let value = text(&toleration.value);
    let numbers = || integer(taint.value).zip(integer(&value));
    match text(&toleration.operator).as_str() {
        "" | "Equal" => value == taint.value,
        "Exists" => true,
        "Lt" => numbers().is_some_and(|(taint, limit)| taint < limit),
        "Gt" => numbers().is_some_and(|(taint, limit)| taint > limit),
        _ => false,
    }
}

/// A number without a plus or leading zeros, which Kubernetes takes for no number.
fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "readiness.k8s.io/agent";

    fn tolerated(toleration: Value, value: &str) -> bool {
        let toleration = serde_json::from_value(toleration).unwrap();
        let taint = Taint {
            key: KEY,
            value,
            effect: "NoSchedule",
        };
        tolerates(&[toleration], taint)
    }

    #[test]
    fn key_value_and_effect_count_as_in_kubernetes() {
        let cases = [
            (json!({"operator": "Exists"}), true),
            (json!({"key": KEY, "operator": "Exists"}), true),
            (
                json!({"key": KEY, "operator": "Exists", "effect": "NoSchedule"}),
                true,
            ),
            (
                json!({"key": KEY, "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (json!({"operator": "Exists", "effect": "NoSchedule"}), true),
            (
                json!({"key": "readiness.k8s.io/other", "operator": "Exists"}),
                false,
            ),
            // The mistake that is made most: the taint has a value, and the toleration none.
            (json!({"key": KEY, "effect": "NoSchedule"}), false),
            (json!({"key": KEY, "value": "pending"}), true),
            (
                json!({"key": KEY, "operator": "Equal", "value": "pending"}),
                true,
            ),
            (
                json!({"key": KEY, "operator": "Equal", "value": "other"}),
                false,
            ),
            (
                json!({"key": KEY, "operator": "Equal", "value": "pending", "effect": "", "tolerationSeconds": 5}),
                true,
            ),
            (
                json!({"key": KEY, "operator": "Maybe", "value": "pending"}),
                false,
            ),
            (json!({"key": KEY, "operator": "Gt", "value": "1"}), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(
                tolerated(toleration.clone(), "pending"),
                expected,
                "{toleration}"
            );
        }
        assert!(tolerated(json!({"key": KEY}), ""));
        let taint = Taint {
            key: KEY,
            value: "",
            effect: "NoSchedule",
        };
        assert!(!tolerates(&[], taint));
    }

    #[test]
    fn numbers_are_compared_where_both_are_numbers() {
        let with =
            |operator: &str, value: &str| json!({"key": KEY, "operator": operator, "value": value});
        assert!(tolerated(with("Gt", "5"), "6"));
        assert!(!tolerated(with("Gt", "5"), "5"));
        assert!(tolerated(with("Lt", "5"), "-6"));
        assert!(!tolerated(with("Lt", "5"), "5"));
        for no_number in ["", "05", "+5", "5.0", "-0", "9223372036854775808"] {
            assert!(!tolerated(with("Gt", "-9"), no_number), "{no_number}");
            assert!(!tolerated(with("Gt", no_number), "9"), "{no_number}");
        }
    }
}
