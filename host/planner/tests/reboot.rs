//! Re-arm on reboot: what is remembered of boots on the node, and what it changes.

mod common;

use common::*;
use planner::bootstrap;
use planner::facts::{Condition, Node};
use planner::plan::{Action, State};
use planner::question::{Answer, Answers, Completion, NodeAnswers, Question};
use planner::rule::{Enforcement, Rule};
use planner::verdict::TaintAction::{Absent, Keep, Present};
use planner::verdict::Verdict;

fn agent() -> Rule {
    Rule {
        enforcement: Enforcement::BootstrapOnly,
        ..rule("agent")
    }
}

/// Ready's heartbeat, and the agent's.
fn node_in(boot_id: &str, ready: i64, agent: i64) -> Node {
    let heartbeat = |name: &str, seconds| Condition {
        heartbeat: Some(at(seconds)),
        ..condition(name, "True")
    };
    Node {
        boot_id: boot_id.into(),
        conditions: vec![heartbeat("Ready", ready), heartbeat("Agent", agent)],
        ..node()
    }
}

/// The node a while later: annotations and taints stay.
fn then(before: &Node, now: Node) -> Node {
    Node {
        annotations: before.annotations.clone(),
        taints: before.taints.clone(),
        ..now
    }
}

fn carry_out(node: &Node, verdict: Verdict) -> (Node, State, Action) {
    let plan = plan_for(node, &[Case::new(agent(), verdict)]);
    let outcome = &plan.outcomes[0];
    let after = apply(node, &plan.changes);
    (after, outcome.state.clone(), outcome.action)
}

fn record(node: &Node) -> &str {
    let key = "readiness.k8s.io/bootstrap-completed-agent-uid";
    node.annotations.get(key).unwrap_or_default()
}

fn reported(node: &Node, condition: &str) -> bool {
    let mut answers = NodeAnswers {
        node: node.clone().into(),
        related: Default::default(),
        taint: agent().taint,
        completion: bootstrap::completion(node, &agent()),
        rebooted: bootstrap::rebooted(node, &agent(), None, at(60)),
        now: at(60),
    };
    let question = Question::ReportedThisBoot {
        condition: condition.into(),
    };
    answers.answer(&question).0 == Answer::Bool(true)
}

#[test]
fn compat_j_reboot_after_a_reboot_the_gate_closes_until_it_is_completed_anew() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    assert_eq!(record(&node), r#"{"rule-name":"agent","boot-id":"one"}"#);
    assert_eq!(bootstrap::completion(&node, &agent()), Completion::ThisBoot);

    let node = then(&node, node_in("two", 30, 2));
    assert_eq!(
        bootstrap::completion(&node, &agent()),
        Completion::EarlierBoot
    );
    assert!(!reported(&node, "Agent"), "yesterday's");
    let (node, state, action) = carry_out(&node, verdict_per_boot(Present, false));
    assert_eq!((state, action), (State::Decides, Action::AddTaint));
    assert_eq!(
        record(&node),
        r#"{"rule-name":"agent","boot-id":"one","rebooted":{"boot-id":"two","after":"2023-11-14T22:13:50Z"}}"#
    );

    // What counts is Ready's heartbeat when the boot was first seen, not the one of now.
    let node = then(&node, node_in("two", 50, 31));
    assert!(reported(&node, "Agent"));
    let same = then(&node, node_in("two", 50, 30));
    assert!(!reported(&same, "Agent"), "of the same second");
    let (node, _, action) = carry_out(&node, verdict_per_boot(Absent, true));
    assert_eq!(action, Action::RemoveTaint);
    assert_eq!(record(&node), r#"{"rule-name":"agent","boot-id":"two"}"#);
    assert!(reported(&node, "Agent"));
}

#[test]
fn compat_j_reboot_the_first_sight_of_a_completion_without_a_boot_stamps_it() {
    for keep in [Keep, Absent] {
        let (plain, ..) = carry_out(&node_in("one", 1, 2), verdict(Absent, true));
        assert_eq!(record(&plain), r#"{"rule-name":"agent"}"#);
        let (node, state, action) = carry_out(&plain, verdict_per_boot(keep, false));
        assert_eq!((state, action), (State::Completed, Action::None));
        assert_eq!(record(&node), r#"{"rule-name":"agent","boot-id":"one"}"#);
        // A node that does not say its boot tells nothing.
        let silent = then(&plain, node_in("", 1, 2));
        assert_eq!(carry_out(&silent, verdict_per_boot(keep, false)).0, silent);
    }
}

#[test]
fn compat_j_reboot_without_the_parameter_boots_are_not_kept() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    let (stamped, ..) = carry_out(
        &then(&node, node_in("two", 30, 2)),
        verdict_per_boot(Present, false),
    );
    for node in [then(&node, node_in("two", 30, 2)), stamped] {
        let (after, state, action) = carry_out(&node, verdict(Keep, false));
        assert_eq!((state, action), (State::Completed, Action::None));
        assert_eq!(record(&after), r#"{"rule-name":"agent"}"#);
    }
}

#[test]
fn compat_j_reboot_a_second_reboot_before_the_first_was_completed_begins_again() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    let node = then(&node, node_in("two", 30, 2));
    let (node, ..) = carry_out(&node, verdict_per_boot(Present, false));
    let node = then(&node, node_in("three", 40, 31));
    assert!(!reported(&node, "Agent"), "of the second boot");
    let (node, ..) = carry_out(&node, verdict_per_boot(Present, false));
    assert!(record(&node).contains(r#""boot-id":"one""#));
    assert!(record(&node).contains(r#""rebooted":{"boot-id":"three""#));
    assert!(reported(&then(&node, node_in("three", 45, 41)), "Agent"));
}

#[test]
fn compat_j_reboot_a_kubelet_that_does_not_say_its_boot_any_more_has_not_rebooted() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    let node = then(&node, node_in("", 30, 2));
    assert_eq!(bootstrap::completion(&node, &agent()), Completion::ThisBoot);
}

#[test]
fn compat_j_reboot_without_a_heartbeat_of_ready_the_moment_of_first_sight_counts() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    let mut node = then(&node, node_in("two", 0, 2));
    node.conditions.remove(0);
    let (node, ..) = carry_out(&node, verdict_per_boot(Present, false));
    assert!(
        record(&node).contains("2023-11-14T22:14:20Z"),
        "{}",
        record(&node)
    );
    assert!(!reported(&then(&node, node_in("two", 0, 60)), "Agent"));
    assert!(reported(&then(&node, node_in("two", 0, 61)), "Agent"));
}

#[test]
fn compat_j_reboot_where_no_reboot_was_seen_a_heartbeat_is_enough() {
    let mut node = node_in("one", 30, 2);
    assert!(reported(&node, "Agent"));
    assert!(!reported(&node, "Other"));
    node.conditions[1].heartbeat = None;
    assert!(!reported(&node, "Agent"));
}

#[test]
fn compat_j_reboot_a_dry_run_or_a_suspended_rule_writes_nothing_about_boots() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict(Absent, true));
    let [mut dry, mut suspended, mut leaving] = [agent(), agent(), agent()];
    dry.dry_run = true;
    suspended.suspended = true;
    for rule in [&dry, &suspended] {
        let case = Case::new(rule.clone(), verdict_per_boot(Keep, false));
        assert!(plan_for(&node, &[case]).changes.is_empty());
    }
    // It takes its record along.
    leaving.terminating = true;
    let plan = plan_for(
        &node,
        &[Case {
            verdict: None,
            ..Case::new(leaving, failed())
        }],
    );
    assert_eq!(
        plan.changes.annotations.values().collect::<Vec<_>>(),
        [&None]
    );
}

/// Keys of both forms, what the Go controller writes, and what nobody can read.
#[test]
fn compat_j_reboot_a_rollback_and_a_return_break_nothing() {
    let older = "readiness.k8s.io/bootstrap-completed-agent";
    let newer = "readiness.k8s.io/bootstrap-completed-agent-uid";
    for left in [
        vec![(older, "{}")],
        vec![(newer, r#"{"rule-name":"agent"}"#)],
        vec![(newer, "not JSON")],
        vec![
            (older, r#"{"rule-name":"agent"}"#),
            (newer, r#"{"rule-name":"agent"}"#),
        ],
    ] {
        let annotations = left.iter().copied();
        let node = Node {
            annotations: annotations.collect(),
            ..node_in("one", 1, 2)
        };
        let (node, state, _) = carry_out(&node, verdict_per_boot(Keep, false));
        assert_eq!(state, State::Completed, "{left:?}");
        assert_eq!(
            record(&node),
            r#"{"rule-name":"agent","boot-id":"one"}"#,
            "{left:?}"
        );
        let node = then(&node, node_in("two", 30, 2));
        let (node, _, action) = carry_out(&node, verdict_per_boot(Present, false));
        assert_eq!(action, Action::AddTaint, "{left:?}");
        let node = then(&node, node_in("two", 30, 31));
        let (node, _, action) = carry_out(&node, verdict_per_boot(Absent, true));
        assert_eq!(action, Action::RemoveTaint, "{left:?}");
        let (_, state, _) = carry_out(&node, verdict_per_boot(Keep, false));
        assert_eq!(state, State::Completed, "{left:?}");
    }
}

#[test]
fn compat_j_reboot_a_failing_policy_leaves_an_earlier_boot_as_it_is() {
    let (node, ..) = carry_out(&node_in("one", 1, 2), verdict_per_boot(Absent, true));
    let node = then(&node, node_in("two", 30, 2));
    let (after, state, _) = carry_out(&node, failed());
    assert_eq!(after, node);
    assert!(matches!(state, State::Failed(_)));
}
