//! What a node answers to the questions of a policy, and until when.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use planner::Timestamp;
use planner::facts::Node;
use planner::question::{Answer, Answers, Completion, NodeAnswers, Question};
use planner::rule::{Effect, Status};

/// At second 60.
fn ask(node: &Node, question: &Question) -> (Answer, Option<Timestamp>) {
    ask_after(node, None, question)
}

/// … and a reboot was seen at this second.
fn ask_after(
    node: &Node,
    rebooted: Option<i64>,
    question: &Question,
) -> (Answer, Option<Timestamp>) {
    let mut answers = NodeAnswers {
        related: planner::related::Related::default(),
        node: Arc::new(node.clone()),
        taint: id("agent"),
        completion: Completion::EarlierBoot,
        rebooted: rebooted.map(at),
        now: at(60),
    };
    answers.answer(question)
}

fn yes() -> (Answer, Option<Timestamp>) {
    (Answer::Bool(true), None)
}

fn no(until: Option<i64>) -> (Answer, Option<Timestamp>) {
    (Answer::Bool(false), until.map(at))
}

fn text(text: Option<&str>) -> (Answer, Option<Timestamp>) {
    (Answer::Text(text.map(str::to_owned)), None)
}

/// With the condition `A`, True since this second, and with its heartbeat then.
fn since(second: i64) -> Node {
    let mut found = condition("A", "True");
    (found.changed, found.heartbeat) = (Some(at(second)), Some(at(second)));
    Node {
        conditions: vec![found],
        ..node()
    }
}

fn is(status: Status, seconds: u64) -> Question {
    Question::ConditionIs {
        condition: "A".into(),
        status,
        at_least: Duration::from_secs(seconds),
    }
}

#[test]
fn a_status_has_lasted_from_its_change_to_the_moment_itself() {
    let node = since(30);
    assert_eq!(ask(&node, &is(Status::True, 0)), yes());
    assert_eq!(ask(&node, &is(Status::True, 30)), yes());
    assert_eq!(ask(&node, &is(Status::True, 31)), no(Some(61)));
    assert_eq!(ask(&node, &is(Status::False, 0)), no(None));
    assert_eq!(ask(&node, &is(Status::Unknown, 0)), no(None));
    // A clock that runs ahead: no time at all, and it is asked again when it can be so.
    assert_eq!(ask(&since(90), &is(Status::True, 5)), no(Some(95)));
    assert_eq!(ask(&since(90), &is(Status::True, 0)), yes());
    // Nobody said since when; nor is there a condition; nor an end of so long a time.
    let mut undated = since(30);
    undated.conditions[0].changed = None;
    assert_eq!(ask(&undated, &is(Status::True, 1)), no(None));
    assert_eq!(ask(&undated, &is(Status::True, 0)), yes());
    assert_eq!(ask(&common::node(), &is(Status::Unknown, 0)), no(None));
    assert_eq!(ask(&node, &is(Status::True, u64::MAX)), no(None));
    // A status that is none of the three is no status.
    let mut odd = since(30);
    odd.conditions[0] = condition("A", "Odd");
    for status in [Status::True, Status::False, Status::Unknown] {
        assert_eq!(ask(&odd, &is(status, 0)), no(None));
    }
}

#[test]
fn a_node_is_older_than_a_time_from_that_moment_on() {
    let older = |seconds| Question::OlderThan {
        at_least: Duration::from_secs(seconds),
    };
    let born = Node {
        created: Some(at(0)),
        ..node()
    };
    assert_eq!(ask(&born, &older(60)), yes());
    assert_eq!(ask(&born, &older(61)), no(Some(61)));
    assert_eq!(ask(&node(), &older(1)), no(None));
    let reached = |second| Question::Reached { at: at(second) };
    assert_eq!(ask(&node(), &reached(60)), yes());
    assert_eq!(ask(&node(), &reached(61)), no(Some(61)));
}

#[test]
fn of_this_boot_is_what_was_reported_after_the_reboot() {
    let reported = Question::ReportedThisBoot {
        condition: "A".into(),
    };
    assert_eq!(ask(&since(30), &reported), yes());
    assert_eq!(ask_after(&since(31), Some(30), &reported), yes());
    assert_eq!(ask_after(&since(30), Some(30), &reported), no(None));
    assert_eq!(ask_after(&since(29), Some(30), &reported), no(None));
    let mut silent = since(30);
    silent.conditions[0].heartbeat = None;
    for node in [silent, node()] {
        assert_eq!(ask(&node, &reported), no(None));
    }
}

#[test]
fn the_rest_is_as_the_node_says() {
    let tainted = tainted();
    let key = id("agent").key;
    assert_eq!(ask(&tainted, &Question::Tainted), yes());
    assert_eq!(ask(&node(), &Question::Tainted), no(None));
    let has = |key: &str, effect| Question::HasTaint {
        key: key.to_owned(),
        effect,
    };
    assert_eq!(ask(&tainted, &has(&key, Effect::NoSchedule)), yes());
    assert_eq!(ask(&tainted, &has(&key, Effect::NoExecute)), no(None));
    assert_eq!(ask(&tainted, &has("another", Effect::NoSchedule)), no(None));
    let mut node = since(0);
    assert_eq!(ask(&node, &Question::Unschedulable), no(None));
    node.unschedulable = true;
    assert_eq!(ask(&node, &Question::Unschedulable), yes());
    assert_eq!(ask(&node, &Question::Name), text(Some("node-1")));
    let completed = (Answer::Completion(Completion::EarlierBoot), None);
    assert_eq!(ask(&node, &Question::Completed), completed);
    node.labels.set("zone", Some("a"));
    node.annotations.set("owner", Some("me"));
    for (key, label, annotation) in [("zone", Some("a"), None), ("owner", None, Some("me"))] {
        let key = key.to_owned();
        assert_eq!(
            ask(&node, &Question::Label { key: key.clone() }),
            text(label)
        );
        assert_eq!(ask(&node, &Question::Annotation { key }), text(annotation));
    }
    node.extended = [("a/gpu".into(), 8), ("a/nic".into(), 0)].into();
    let least = |resource: &str, at_least| {
        let resource = resource.to_owned();
        ask(&node, &Question::AllocatableAtLeast { resource, at_least })
    };
    assert_eq!((least("a/gpu", 8), least("a/gpu", 9)), (yes(), no(None)));
    assert_eq!((least("a/nic", 0), least("a/nic", 1)), (yes(), no(None)));
    assert_eq!((least("a/g", 0), least("b/gpu", 0)), (no(None), no(None)));
    let status = |condition: &str| Question::Condition {
        condition: condition.to_owned(),
    };
    let shown = |status| (Answer::Status(status), None);
    assert_eq!(ask(&node, &status("A")), shown(Some(Status::True)));
    assert_eq!(ask(&node, &status("B")), shown(None));
    let there = |condition: &str| Question::HasCondition {
        condition: condition.to_owned(),
    };
    assert_eq!(ask(&node, &there("A")), yes());
    assert_eq!(ask(&node, &there("B")), no(None));
    let reason = Question::ConditionReason {
        condition: "A".into(),
    };
    // One that is empty says nothing.
    assert_eq!(ask(&node, &reason), text(None));
    node.conditions[0].reason = "Started".into();
    assert_eq!(ask(&node, &reason), text(Some("Started")));
    node.conditions[0] = condition("A", "Odd");
    assert_eq!(ask(&node, &status("A")), shown(Some(Status::Unknown)));
}
