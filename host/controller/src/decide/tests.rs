use engine::{Engine, Policy};
use planner::breaker::{FAILURES, PAUSED};
use planner::question::{Answer, Question, Read};
use planner::related::Related;
use planner::verdict::{Decision, Failure};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policies::OnFailure;

fn at(seconds: u32) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

/// A condition that is absent, or has a status, and times within a quarter of an hour.
fn condition(name: &'static str) -> impl Strategy<Value = Option<Value>> {
    let status = prop::sample::select(vec!["True", "False", "Unknown", "Odd"]);
    let times = (0..900_u32, prop::option::of(0..900_u32));
    prop::option::of(
        (status, times).prop_map(move |(status, (changed, heartbeat))| {
            json!({"type": name, "status": status, "lastTransitionTime": at(changed),
               "lastHeartbeatTime": heartbeat.map(at)})
        }),
    )
}

fn node() -> impl Strategy<Value = Arc<Node>> {
    let conditions = (condition("Ready"), condition("A"), condition("B"));
    let completion = prop::option::of(prop::sample::select(vec!["now", "before", ""]));
    (conditions, completion, any::<bool>()).prop_map(|((ready, a, b), completion, tainted)| {
        let conditions: Vec<_> = [ready, a, b].into_iter().flatten().collect();
        let annotations = completion.map(|boot| {
            let value = json!({"rule-name": "agent", "boot-id": boot}).to_string();
            json!({"readiness.k8s.io/bootstrap-completed-u-1": value})
        });
        let taint = json!({"key": "readiness.k8s.io/agent", "effect": "NoSchedule"});
        let node = json!({
            "metadata": {"name": "n", "uid": "n-1", "annotations": annotations},
            "spec": {"taints": tainted.then_some([taint])},
            "status": {"conditions": conditions, "nodeInfo": {"bootID": "now"}}});
        let node: api::Node = serde_json::from_value(node).unwrap();
        node.facts
    })
}

fn rule(mode: &str, matching: &str, parameters: &Value, policy: &Policy) -> ActiveRule {
    let object: api::NodeReadinessRule = serde_json::from_value(json!({
        "metadata": {"name": "agent", "uid": "u-1"},
        "spec": {
            "conditions": [{"type": "A", "requiredStatus": "True"},
                           {"type": "B", "requiredStatus": "False", "defaultStatus": "Unknown"}],
            "conditionPolicy": matching, "enforcementMode": mode,
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"}, "nodeSelector": {},
            "policy": {"name": "default", "parameters": parameters}}}))
    .unwrap();
    ActiveRule {
        rule: Arc::new(object.to_rule(&TaintPrefixes::default()).unwrap()),
        selector: Arc::new(object.selector().unwrap()),
        policy: policy.clone().into(),
        stalled: false,
        seen_present: Arc::default(),
        memo: Arc::default(),
        flaps: Arc::default(),
    }
}

/// Whatever was remembered of other nodes and times, a verdict is what the policy says.
#[test]
fn what_is_remembered_is_what_the_policy_would_say() {
    // What is compared must not depend on how busy the machine is.
    let mut options = engine::Options::default();
    options.small.deadline = Duration::from_secs(60);
    let engine = Engine::new(&options).unwrap();
    let policy = engine.default_policy().unwrap();
    let all = json!({"maxHeartbeatAge": "5m", "minReadyTime": "30s", "rearmOnReboot": true});
    let rules = [
        rule("continuous", "anyOf", &json!({}), &policy),
        rule("bootstrap-only", "allOf", &json!({}), &policy),
        rule(
            "continuous",
            "allOf",
            &json!({"minReadyTime": "30s"}),
            &policy,
        ),
        rule("bootstrap-only", "allOf", &all, &policy),
    ];
    proptest!(|(node in node(), now in 0..1200_u32)| {
        let now: Timestamp = at(now).parse().unwrap();
        for rule in &rules {
            let fresh = ActiveRule { memo: Arc::default(), ..rule.clone() };
            let related = Related::default();
            let verdict = |rule| ask(&node, &related, rule, None, now).map(|asked| asked.verdict);
            prop_assert_eq!(verdict(rule), verdict(&fresh));
        }
    });
}

/// Where it fails on the node that its decision makes, that failure is told, and not one that is none.
#[test]
fn a_policy_that_fails_on_the_node_that_its_decision_makes_is_told_its_own_failure() {
    let engine = Engine::new(&engine::Options::default()).unwrap();
    let policy = engine.default_policy().unwrap();
    // It can decide about no node with such parameters: what it says of one of the two is what was learned.
    let broken = json!({"noSuch": 1});
    for (on_failure, tainted, wants) in [
        (OnFailure::Release, false, TaintAction::Present),
        (OnFailure::Taint, true, TaintAction::Absent),
    ] {
        let mut one = rule("continuous", "allOf", &broken, &policy);
        one.policy = RulePolicy::of_object(policy.clone(), on_failure);
        let decided = |answer| Verdict {
            result: Ok(Decision {
                taint: wants,
                complete_bootstrap: false,
                per_boot: false,
                reason: "R".to_owned(),
                message: String::new(),
                findings: Vec::new(),
            }),
            reads: vec![Read {
                question: Question::Tainted,
                answer: Answer::Bool(answer),
                until: None,
            }],
        };
        one.memo.write().unwrap().learn(&decided(tainted));
        let said = |tainted: bool| {
            let taints = tainted.then(|| planner::facts::Taint {
                key: one.rule.taint.key.clone(),
                effect: Some(one.rule.taint.effect),
                value: String::new(),
            });
            let node = Arc::new(Node {
                taints: taints.into_iter().collect(),
                ..Node::default()
            });
            let now = at(0).parse().unwrap();
            let verdict = ask(&node, &Related::default(), &one, None, now);
            let verdict = verdict.unwrap().verdict;
            let failure = verdict.result.clone().unwrap_err();
            (failure.kind, failure.message, verdict.reads)
        };
        let (kind, message, reads) = said(tainted);
        assert_eq!(kind, "PolicyError", "{message}");
        assert!(
            message.contains("fails on the node as that makes it") && message.contains("noSuch"),
            "{message}"
        );
        let asks = |read: &&Read| read.question == Question::Tainted;
        assert_eq!(reads.iter().filter(asks).count(), 1);
        // There it fails, and what it says of the other node is nothing against that.
        let (kind, message, _) = said(!tainted);
        assert_eq!(kind, "PolicyError");
        assert!(message.starts_with("parameters"), "{message}");

        // While it is left alone, the end of that brings the node back.
        let guard = one.policy.guard().unwrap();
        let trapped = Verdict {
            result: Err(Failure {
                kind: "Trapped",
                message: String::new(),
            }),
            reads: Vec::new(),
        };
        for _ in 0..FAILURES {
            guard.tell(guard.ask(Timestamp::UNIX_EPOCH).unwrap(), &trapped);
        }
        let (kind, _, reads) = said(tainted);
        assert_eq!(kind, PAUSED);
        assert!(reads.iter().any(|read| read.until.is_some()), "{reads:?}");

        // The opposite is what it was.
        let Verdict {
            result: Ok(mut opposite),
            reads,
        } = decided(!tainted)
        else {
            unreachable!("it decided");
        };
        opposite.taint = match wants {
            TaintAction::Present => TaintAction::Absent,
            _ => TaintAction::Present,
        };
        let result = Ok(opposite);
        one.memo.write().unwrap().learn(&Verdict { result, reads });
        for tainted in [true, false] {
            assert_eq!(said(tainted).0, "TaintFlaps");
        }
    }
}

/// The default policy follows conditions, however fast they change.
#[test]
fn only_a_policy_of_an_object_is_stopped_where_its_taint_comes_and_goes() {
    let engine = Engine::new(&engine::Options::default()).unwrap();
    let policy = engine.default_policy().unwrap();
    let node = Arc::new(Node::default());
    let kind = |one: &ActiveRule| {
        for change in 0..=flaps::CHANGES {
            one.changed(&node, change % 2 == 0);
        }
        let verdict = ask(&node, &Related::default(), one, None, Timestamp::now());
        let verdict = verdict.unwrap().verdict;
        let instead = one.policy.instead(&verdict);
        let instead = instead.map(|instead| instead.result.unwrap().taint);
        (verdict.result.err().map(|failure| failure.kind), instead)
    };
    let mut one = rule("continuous", "allOf", &json!({}), &policy);
    assert_eq!(kind(&one), (None, None));
    assert!(one.flaps.is_empty());
    one.policy = RulePolicy::of_object(policy, OnFailure::Release);
    let stopped = (Some("TaintFlaps"), Some(TaintAction::Absent));
    assert_eq!(kind(&one), stopped);
}

/// Whoever holds a place keeps it, also where a plan that asks for it again is not carried out.
#[test]
fn a_place_that_a_node_has_is_not_free_when_a_plan_is_given_up() {
    let engine = Engine::new(&engine::Options::default()).unwrap();
    let mut one = rule(
        "continuous",
        "allOf",
        &json!({}),
        &engine.default_policy().unwrap(),
    );
    one.rule = Arc::new(Rule {
        budget: Some(planner::rule::Budget {
            most: planner::rule::Limit::Nodes(1),
            exempt_younger_than: Duration::ZERO,
        }),
        ..Rule::clone(&one.rule)
    });
    let node = |name: &str| Node {
        name: name.to_owned(),
        ..Node::default()
    };
    let (seats, prefixes) = (Seats::new(Vec::new), TaintPrefixes::default());
    let take = |name: &str| seats.take(&one, &node(name), &prefixes);
    // One that was only asked for is free again.
    drop(take("first").unwrap());
    take("second").unwrap().keep();
    assert!(take("first").is_none());
    drop(take("second").unwrap());
    assert!(take("first").is_none());
    seats.settle(&one, "second", false);
    assert!(take("first").is_some());
}
