use engine::{DEFAULT_POLICY, Engine};
use serde_json::{Value, json};

use super::*;
use crate::policies::RulePolicy;

fn object(name: &str, policy: &Value) -> Arc<NodeReadinessRule> {
    let object: NodeReadinessRule = serde_json::from_value(json!({
        "metadata": {"name": name, "uid": name, "finalizers": [api::FINALIZER]},
        "spec": {
            "conditions": [{"type": "Agent", "requiredStatus": "True"}],
            "enforcementMode": "continuous", "nodeSelector": {}, "policy": policy,
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"}}}))
    .unwrap();
    Arc::new(object)
}

fn build(before: &RuleSet, objects: &[Arc<NodeReadinessRule>], policies: &Policies) -> RuleSet {
    before.build(objects, policies, &TaintPrefixes::default(), None)
}

/// The policy that decides for a rule.
fn policy_of<'a>(set: &'a RuleSet, rule: &str) -> &'a RulePolicy {
    let mut active = set.active.iter();
    &active
        .find(|active| active.rule.name == rule)
        .unwrap()
        .policy
}

#[test]
fn each_rule_has_the_policy_that_it_names() {
    let engine = Engine::new(&engine::Options::default()).unwrap();
    let [first, second] = [(), ()].map(|()| engine.load(DEFAULT_POLICY).unwrap());
    let default = engine.default_policy().unwrap();
    let one = Policies::new(default.clone());
    let both = one.clone().with("steady".to_owned(), first.clone());
    let objects = [
        object("names-none", &Value::Null),
        object("names-default", &json!({"name": "default"})),
        object("names-steady", &json!({"name": "steady"})),
    ];

    let without = build(&RuleSet::default(), &objects, &one);
    let why = "spec.policy.name: there is no policy \"steady\": apply a ReadinessPolicy of that name, or name another";
    let told = |set: &RuleSet| {
        let Against { reason, message } = set.refused.get("names-steady").unwrap();
        (*reason, message.clone())
    };
    assert_eq!(told(&without), ("PolicyNotFound", why.to_owned()));
    assert!(without.stalled.contains("names-steady"));
    let mut unusable = without.active.iter().filter(|active| active.stalled);
    assert_eq!(unusable.next().unwrap().rule.name, "names-steady");
    assert_eq!(unusable.count(), 0);

    let not_yet = one
        .clone()
        .with_unready("steady".to_owned(), "no module".to_owned());
    let why = "spec.policy.name: policy \"steady\" is not ready: no module";
    let not_ready = build(&without, &objects, &not_yet);
    assert_eq!(told(&not_ready), ("PolicyNotReady", why.to_owned()));
    let refused = json!({"name": "steady", "parameters": {"noSuch": 1}});
    let refused = build(&without, &[object("names-steady", &refused)], &both);
    assert_eq!(told(&refused).0, "InvalidRule", "the rule is to be mended");

    let with = build(&without, &objects, &both);
    assert!(!with.same_as(&without) && with.refused.is_empty() && with.stalled.is_empty());
    assert!(policy_of(&with, "names-none").is(&default.clone().into()));
    assert!(policy_of(&with, "names-default").is(&default.clone().into()));
    assert!(policy_of(&with, "names-steady").is(&first.clone().into()));
    assert!(build(&with, &objects, &both).same_as(&with));

    // Although no object changed; and what the one decided is not what the other would.
    let swapped = both.with("steady".to_owned(), second.clone());
    let after = build(&with, &objects, &swapped);
    assert!(!after.same_as(&with));
    assert!(policy_of(&after, "names-steady").is(&second.clone().into()));
    let memo = |set: &RuleSet, rule: usize| Arc::clone(&set.active[rule].memo);
    assert!(Arc::ptr_eq(&memo(&with, 0), &memo(&after, 0)));
    assert_eq!(after.active[2].rule.name, "names-steady");
    assert!(!Arc::ptr_eq(&memo(&with, 2), &memo(&after, 2)));
}

#[test]
fn a_rule_that_goes_needs_no_policy() {
    let engine = Engine::new(&engine::Options::default()).unwrap();
    let policies = Policies::new(engine.default_policy().unwrap());
    let mut going = NodeReadinessRule::clone(&object("going", &json!({"name": "gone"})));
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
    let set = build(&RuleSet::default(), &[Arc::new(going)], &policies);
    assert!(set.active[0].rule.terminating, "what it owns is released");
    let nobody = Arc::new(planner::facts::Node::default());
    assert!(
        !set.active[0].selector.matches(&nobody.labels),
        "it held nothing that it does not own"
    );
    assert!(set.stalled.is_empty());
}
