//! From bytes to a policy that may decide. Everything here blocks.

use std::sync::Arc;

use engine::{Compiler, Engine, FailureKind, LoadError, Policy, PolicyLimits};
use planner::Timestamp;
use planner::facts::Node;
use planner::question::{Completion, NodeAnswers};
use planner::related::Related;
use planner::rule::{DEFAULT_POLICY, Effect, Enforcement, Matching, Requirement, Rule, Status};
use planner::rule::{TAINT_PREFIX, TaintId};

use super::RulePolicy;
use super::bring::Brought;
use super::order::Order;
use super::trouble::{Step, Trouble};
use crate::rules::accepts;

/// Compiles and loads it, and looks at what it asks.
pub(super) fn load(
    engine: &Engine,
    compiler: Option<&Compiler>,
    brought: &Brought,
    order: &Order,
) -> Result<RulePolicy, Trouble> {
    let loaded = if brought.is_precompiled && order.limits == PolicyLimits::default() {
        engine.default_policy()
    } else {
        engine.load_with(&brought.bytes, &order.limits, compiler)
    };
    let policy = loaded.map_err(|error| {
        // A busy machine can be the reason, and no other module would do better.
        let passes = matches!(error, LoadError::Compiler(_) | LoadError::Engine(_));
        let advice = match error {
            LoadError::NotGranted { .. } => {
                ": add it to spec.allow, or take another module; without spec.allow a policy may ask about the \
                 node and its rule"
            }
            _ => "",
        };
        let message = format!("{error}{advice}");
        Trouble {
            passes,
            ..Trouble::lasting(Step::Compatible, error.as_str(), message)
        }
    })?;
    Ok(RulePolicy::of_object(policy, order.on_failure))
}

/// Can it take the place of `good` for these rules, which name it? A rule that `good` can do nothing with
/// stands in nobody's way: it is Stalled either way, and says why itself.
pub(super) fn agree(
    policy: &Policy,
    rules: &[Arc<Rule>],
    good: Option<&Policy>,
) -> Result<(), Trouble> {
    let trial = Arc::new(trial());
    if accepts(policy, &trial).is_ok() {
        evaluates(policy, &trial).map_err(|(kind, message)| {
            let message = format!("it failed when it was asked about a node as a trial: {message}");
            Trouble::lasting(Step::Compatible, kind, message)
        })?;
    }
    let Some(good) = good else {
        return Ok(());
    };
    for rule in rules {
        let works = |policy: &Policy| {
            accepts(policy, rule).map_err(|why| ("ParametersRefused", why.message))?;
            evaluates(policy, rule)
        };
        if let (Ok(()), Err((reason, why))) = (works(good), works(policy)) {
            let message = format!(
                "rule '{}', for which the last good module decides, cannot have it: {why}",
                rule.name
            );
            return Err(Trouble::lasting(Step::Compatible, reason, message));
        }
    }
    Ok(())
}

/// Does it get to the end of an evaluation? What it decides does not matter, nor that it says itself that
/// it cannot decide about such a node.
fn evaluates(policy: &Policy, rule: &Arc<Rule>) -> Result<(), (&'static str, String)> {
    let answers = NodeAnswers {
        node: Arc::new(Node::default()),
        related: Related::nothing(),
        taint: rule.taint.clone(),
        completion: Completion::None,
        rebooted: None,
        now: Timestamp::UNIX_EPOCH,
    };
    match policy.evaluate(rule, Box::new(answers)).result {
        Err(failure) if failure.kind != FailureKind::PolicyError.as_str() => {
            let message = format!("{} ({})", failure.message, failure.kind);
            Err((failure.kind, message))
        }
        _ => Ok(()),
    }
}

/// A rule that nobody wrote.
pub(super) fn trial() -> Rule {
    Rule {
        name: "trial".to_owned(),
        uid: String::new(),
        created: None,
        terminating: false,
        dry_run: false,
        taint: TaintId {
            key: format!("{TAINT_PREFIX}trial"),
            effect: Effect::NoSchedule,
        },
        taint_value: None,
        requirements: vec![Requirement {
            condition: "Ready".to_owned(),
            required: Status::True,
            fallback: None,
        }],
        matching: Matching::AllOf,
        enforcement: Enforcement::Continuous,
        policy: DEFAULT_POLICY.to_owned(),
        parameters: String::new(),
        suspended: false,
        replaces: None,
        budget: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_and_what_is_no_policy_is_told() {
        let engine = Engine::new(&engine::Options::one_at_a_time()).unwrap();
        let order = |spec| Order::of(&serde_json::from_value(spec).unwrap()).unwrap();
        let brought = |bytes: &[u8], is_precompiled| Brought {
            bytes: bytes.to_vec(),
            digest: String::new(),
            signer: None,
            is_precompiled,
        };
        let builtin = serde_json::json!({"builtin": {"name": "default"}});
        let own = brought(engine::DEFAULT_POLICY, true);
        let all = order(serde_json::json!({"module": builtin}));
        let policy = load(&engine, None, &own, &all).unwrap();
        assert!(policy.is_precompiled(), "limits are those of its class");
        let slower = serde_json::json!({"module": builtin, "limits": {"deadline": "50ms"}});
        assert!(
            !load(&engine, None, &own, &order(slower))
                .unwrap()
                .is_precompiled()
        );
        let little =
            serde_json::json!({"module": builtin, "allow": ["node-readiness:policy/node"]});
        let trouble = load(&engine, None, &own, &order(little)).unwrap_err();
        assert_eq!(
            (trouble.step, trouble.reason.as_str(), trouble.passes),
            (Step::Compatible, "NotAllowed", false)
        );
        assert!(
            trouble.message.contains("node-readiness:policy/rule"),
            "{}",
            trouble.message
        );
        let trouble = load(&engine, None, &brought(b"no", false), &all).unwrap_err();
        assert_eq!(
            (trouble.reason.as_str(), trouble.passes),
            ("NotWasm", false)
        );
    }
}
