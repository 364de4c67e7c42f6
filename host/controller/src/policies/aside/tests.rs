use engine::{Engine, PolicyLimits};
use planner::facts::{Condition, Node, Observed};
use planner::question::Completion;
use planner::rule::Status;
use planner::verdict::TaintAction;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::admit::trial;
use super::*;

/// A policy of which nobody knows how long it takes, and who is woken.
fn large() -> (Policy, Arc<Aside>, UnboundedReceiver<String>) {
    let engine = Engine::new(&engine::Options::one_at_a_time()).unwrap();
    let slow = PolicyLimits {
        deadline: Some(Duration::from_secs(10)),
        ..PolicyLimits::default()
    };
    let policy = engine
        .load_with(engine::DEFAULT_POLICY, &slow, None)
        .unwrap();
    assert_eq!(policy.class(), engine::Class::Large);
    let (sender, woken) = unbounded_channel();
    let wake = move |woken: Woken<'_>| {
        let _ = sender.send(format!("{woken:?}"));
    };
    (policy, Arc::new(Aside::new(Arc::new(wake), true)), woken)
}

fn answers(name: &str, ready: Status, second: i64) -> NodeAnswers {
    let condition = Condition {
        name: "Ready".to_owned(),
        status: Observed::Known(ready),
        reason: String::new(),
        changed: None,
        heartbeat: None,
    };
    let node = Node {
        name: name.to_owned(),
        conditions: vec![condition],
        ..Node::default()
    };
    NodeAnswers {
        related: planner::related::Related::default(),
        node: Arc::new(node),
        taint: trial().taint,
        completion: Completion::None,
        rebooted: None,
        now: Timestamp::from_second(second).unwrap(),
    }
}

#[tokio::test]
async fn whoever_asks_comes_back_for_the_answer() {
    let (policy, aside, mut woken) = large();
    let (guard, memo, rule) = (Arc::default(), Arc::default(), Arc::new(trial()));
    let ask = |answers| aside.ask((&policy, &guard), &memo, &rule, answers);
    assert!(ask(answers("n", Status::False, 0)).is_none());
    assert!(ask(answers("n", Status::False, 0)).is_none(), "it runs");
    assert_eq!(woken.recv().await.unwrap(), r#"Node("n")"#);
    let Asked { verdict, took } = ask(answers("n", Status::False, 1)).unwrap();
    let on_this_thread = policy.evaluate(&rule, Box::new(answers("n", Status::False, 1)));
    assert_eq!(verdict, on_this_thread);
    assert_eq!(verdict.result.unwrap().taint, TaintAction::Present);
    assert!(took.is_some());
    // A plan that is made again is made of the same.
    assert!(ask(answers("n", Status::False, 1)).unwrap().took.is_none());

    // What was said of the node as it was is not said of the node as it is.
    assert!(ask(answers("n", Status::True, 1)).is_none());
    woken.recv().await.unwrap();
    assert!(
        ask(answers("n", Status::False, 1)).is_none(),
        "nor the other way round"
    );
    woken.recv().await.unwrap();
    // Another node that is answered alike needs no run.
    assert!(ask(answers("m", Status::True, 2)).is_none());
    assert_eq!(woken.recv().await.unwrap(), r#"Node("m")"#);
    let asked = ask(answers("m", Status::True, 2)).unwrap();
    assert_eq!(asked.verdict.result.unwrap().taint, TaintAction::Absent);
    assert!(asked.took.is_none());
    // It was used, and a failure is not remembered either.
    assert!(ask(answers("m", Status::True, 3)).is_none());
    woken.recv().await.unwrap();
    aside.recalled(&rule, "m");
    aside.forget(&rule, "n");
    assert!(aside.lock().runs.is_empty());
}

#[tokio::test]
async fn what_is_said_of_new_nodes_is_said_until_the_rule_changes() {
    let (policy, aside, mut woken) = large();
    let (guard, memo) = (Arc::default(), Arc::default());
    let ask = |rule: &Arc<Rule>, second| {
        aside.ask(
            (&policy, &guard),
            &memo,
            rule,
            answers("", Status::False, second),
        )
    };
    let rule = Arc::new(trial());
    assert!(ask(&rule, 0).is_none());
    assert_eq!(woken.recv().await.unwrap(), r#"NewNodes("trial")"#);
    for second in 1..4 {
        assert!(ask(&rule, second).is_some());
    }
    let changed = Rule {
        suspended: true,
        ..trial()
    };
    assert!(ask(&Arc::new(changed), 4).is_none());
}

#[tokio::test]
async fn a_rule_is_checked_once_as_long_as_it_is_the_same() {
    let (policy, aside, mut woken) = large();
    let rule = |parameters: &str, suspended| {
        Arc::new(Rule {
            parameters: parameters.to_owned(),
            suspended,
            ..trial()
        })
    };
    let accepts = |rule: &Arc<Rule>| aside.accepts(&policy, rule);
    assert_eq!(accepts(&rule("", false)), None);
    assert_eq!(accepts(&rule("", false)), None, "it runs");
    assert_eq!(woken.recv().await.unwrap(), r#"Rule("trial")"#);
    assert_eq!(accepts(&rule("", true)), Some(Ok(())));
    let bad = r#"{"no such":1}"#;
    assert_eq!(accepts(&rule(bad, false)), None);
    woken.recv().await.unwrap();
    assert!(accepts(&rule(bad, false)).unwrap().is_err());
    aside.checked(&rule("{}", false), Ok(()));
    assert_eq!(accepts(&rule("{}", false)), Some(Ok(())));
    assert!(woken.try_recv().is_err(), "nobody else was woken");
}

#[test]
fn a_small_policy_is_asked_aside_once_it_was_slow() {
    let of = |is_large| Aside::new(Arc::new(|_: Woken<'_>| {}), is_large);
    assert!(of(true).is_used());
    let small = of(false);
    small.took(SLOW);
    assert!(!small.is_used());
    small.took(SLOW + Duration::from_nanos(1));
    small.took(Duration::ZERO);
    assert!(small.is_used() && !small.is_large());
}
