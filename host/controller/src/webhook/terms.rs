//! The policy, the budget and the taint that a rule asks for: can it have them?

use std::sync::Arc;

use api::admission::FieldError;
use api::{InvalidRule, NodeReadinessRule};
use planner::rule::TaintPrefixes;
use serde_json::Value;

use crate::decide::field;
use crate::policies::{NoPolicy, Policies};
use crate::rules::failed_check;

/// What speaks against them. A rule that cannot be used for another reason has none: the schema and
/// its status say why.
pub(super) fn problems(
    object: &NodeReadinessRule,
    policies: &Policies,
    prefixes: &TaintPrefixes,
) -> Vec<FieldError> {
    let invalid = |field: String, value: &Value, detail: String| {
        vec![FieldError::invalid(field, &value.to_string(), detail)]
    };
    let rule = match object.to_rule(prefixes) {
        Ok(rule) => Arc::new(rule),
        Err(InvalidRule::Budget {
            field,
            value,
            problem,
        }) => {
            let field = format!("spec.budget.{field}");
            return invalid(field, &Value::from(value), problem.to_owned());
        }
        Err(InvalidRule::Taint {
            field,
            value,
            problem,
        }) => {
            let field = format!("spec.taint.{field}");
            return invalid(field, &Value::from(value), problem.to_owned());
        }
        Err(InvalidRule::TaintPrefix { key, prefixes }) => {
            let detail = format!(
                "it does not begin with {prefixes}; `host run --taint-key-prefix` allows further ones"
            );
            return invalid("spec.taint.key".to_owned(), &Value::from(key), detail);
        }
        Err(_) => return Vec::new(),
    };
    let policy = match policies.of(&rule) {
        Ok(policy) => policy,
        // It may become ready, and is applied together with its rule.
        Err(NoPolicy { why: Some(_), .. }) => return Vec::new(),
        Err(NoPolicy { name, why: None }) => {
            let detail = "there is no such policy: apply a ReadinessPolicy of that name first, or name another".to_owned();
            return invalid("spec.policy.name".to_owned(), &Value::from(name), detail);
        }
    };
    let parameters = object.spec.policy.as_ref();
    let parameters = parameters.and_then(|policy| policy.parameters.clone());
    let parameters = Value::Object(parameters.unwrap_or_default());
    match policy.check(&rule) {
        Ok(problems) => (problems.into_iter())
            .flat_map(|problem| {
                let value = parameters.pointer(&problem.path).unwrap_or(&Value::Null);
                invalid(field(&problem.path), value, problem.message)
            })
            .collect(),
        Err(failure) => {
            let detail = failed_check(&rule, &failure);
            invalid("spec.policy".to_owned(), &parameters, detail)
        }
    }
}

/// That the rule is stored, and changes no taint before its policy is ready.
pub(super) fn waits(
    object: &NodeReadinessRule,
    policies: &Policies,
    prefixes: &TaintPrefixes,
) -> Option<String> {
    let rule = object.to_rule(prefixes).ok()?;
    let missing = policies.of(&rule).err()?;
    missing.why.as_ref()?;
    Some(format!(
        "spec.policy.name: {missing}; the rule is Stalled until it is"
    ))
}
