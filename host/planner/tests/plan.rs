//! The planner's part of the compatibility contract, line by line.

mod common;

use std::time::Duration;

use common::*;
use planner::bootstrap;
use planner::facts::Node;
use planner::ownership;
use planner::plan::{Action, State};
use planner::question::{Answer, Completion, Question, Read};
use planner::rule::{Effect, Rule, TaintId, TaintPrefixes};
use planner::status::{condition_results, lacks_condition};
use planner::verdict::TaintAction::{Absent, Keep, Present};
use planner::verdict::{Finding, Subject};

#[test]
fn compat_014_an_absent_condition_shows_unknown_even_if_a_default_counts() {
    let mut rule = rule("a");
    rule.requirements[0].fallback = Some(planner::rule::Status::True);
    let result = condition_results(&node(), &rule).next().unwrap();
    assert_eq!(
        (result.current.as_str(), result.fallback.as_str()),
        ("Unknown", "True")
    );
    assert!(lacks_condition(&node(), &rule));
}

#[test]
fn compat_012_the_first_of_two_counts_and_a_strange_status_shows_unknown() {
    let conditions = vec![condition("Agent", "Odd"), condition("Agent", "True")];
    let node = Node {
        conditions,
        ..node()
    };
    assert_eq!(
        condition_results(&node, &rule("a"))
            .next()
            .unwrap()
            .current
            .as_str(),
        "Unknown"
    );
    assert!(!lacks_condition(&node, &rule("a")));
}

#[test]
fn compat_015_the_value_of_a_taint_does_not_matter() {
    let node = Node {
        taints: vec![taint(&id("agent"), "another")],
        ..node()
    };
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Absent, false))]);
    assert_eq!(plan.changes.remove, [id("agent")]);
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Present, false))]);
    assert_eq!((plan.changes.add.len(), plan.changes.remove.len()), (0, 0));
}

#[test]
fn compat_015_another_effect_is_another_taint() {
    let other = TaintId {
        effect: Effect::NoExecute,
        ..id("agent")
    };
    let node = Node {
        taints: vec![taint(&other, "pending")],
        ..node()
    };
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Absent, false))]);
    assert!(plan.changes.is_empty());
}

#[test]
fn compat_016_satisfied_removes_and_unsatisfied_adds_and_otherwise_nothing() {
    for (verdict_is, node, action) in [
        (Absent, tainted(), Action::RemoveTaint),
        (Absent, node(), Action::None),
        (Present, node(), Action::AddTaint),
        (Present, tainted(), Action::None),
        (Keep, node(), Action::None),
        (Keep, tainted(), Action::None),
    ] {
        let plan = plan_for(&node, &[Case::new(rule("a"), verdict(verdict_is, false))]);
        assert_eq!(plan.outcomes[0].action, action, "{verdict_is:?}");
    }
}

#[test]
fn compat_017_release_and_completion_are_one_plan() {
    let rule = bootstrap_only("a");
    let plan = plan_for(
        &tainted(),
        &[Case::new(rule.clone(), verdict(Absent, true))],
    );
    assert_eq!(plan.changes.remove, [id("agent")]);
    let (key, value) = bootstrap::annotation(&rule);
    assert_eq!(
        plan.changes.annotations[&key].as_deref(),
        Some(value.as_str())
    );
    assert!(plan.outcomes[0].completes);
    assert_eq!(plan.outcomes[0].action, Action::RemoveTaint);
}

#[test]
fn compat_017_a_completed_rule_never_adds_whatever_its_policy_says() {
    let rule = bootstrap_only("a");
    let (key, value) = bootstrap::annotation(&rule);
    let node = Node {
        annotations: [(key, value)].into(),
        ..node()
    };
    let plan = plan_for(&node, &[Case::new(rule, verdict(Present, false))]);
    assert!(plan.changes.is_empty());
    assert_eq!(plan.outcomes[0].state, State::Completed);
}

#[test]
fn compat_017_completed_and_tainted_by_hand_satisfied_removes_else_leaves() {
    let rule = bootstrap_only("a");
    let (key, value) = bootstrap::annotation(&rule);
    let node = Node {
        annotations: [(key, value)].into(),
        ..tainted()
    };
    let plan = plan_for(&node, &[Case::new(rule.clone(), verdict(Keep, false))]);
    assert!(plan.changes.is_empty());
    let plan = plan_for(&node, &[Case::new(rule, verdict(Absent, false))]);
    assert_eq!(plan.changes.remove, [id("agent")]);
    assert!(plan.changes.annotations.is_empty());
}

#[test]
fn compat_018_satisfied_and_untainted_only_completes() {
    let plan = plan_for(
        &node(),
        &[Case::new(bootstrap_only("a"), verdict(Absent, true))],
    );
    assert!(plan.changes.add.is_empty() && plan.changes.remove.is_empty());
    assert_eq!(plan.outcomes[0].action, Action::CompleteBootstrap);
}

#[test]
fn compat_019_key_value_legacy_key_and_a_long_name() {
    let long = bootstrap_only(&"x".repeat(71));
    let (key, value) = bootstrap::annotation(&long);
    assert_eq!(
        key,
        format!("readiness.k8s.io/bootstrap-completed-{}", long.uid)
    );
    assert_eq!(value, format!("{{\"rule-name\":\"{}\"}}", long.name));
    let legacy = format!("readiness.k8s.io/bootstrap-completed-{}", long.name);
    let node = Node {
        annotations: [(legacy, "{}")].into(),
        ..node()
    };
    assert_eq!(bootstrap::completion(&node, &long), Completion::ThisBoot);
    assert_eq!(
        bootstrap::completion(&node, &bootstrap_only("a")),
        Completion::None
    );
}

#[test]
fn compat_019_a_rule_from_a_file_finds_its_completion_by_name() {
    let (key, value) = bootstrap::annotation(&bootstrap_only("a"));
    let node = Node {
        annotations: [(key, value)].into(),
        ..node()
    };
    let from_file = Rule {
        uid: String::new(),
        ..bootstrap_only("a")
    };
    assert_eq!(
        bootstrap::completion(&node, &from_file),
        Completion::ThisBoot
    );
}

#[test]
fn a_completion_of_an_earlier_boot_is_told_apart() {
    let (key, _) = bootstrap::annotation(&bootstrap_only("a"));
    let value = r#"{"rule-name":"a","boot-id":"one"}"#.to_owned();
    let mut node = Node {
        annotations: [(key, value)].into(),
        boot_id: "one".into(),
        ..node()
    };
    assert_eq!(
        bootstrap::completion(&node, &bootstrap_only("a")),
        Completion::ThisBoot
    );
    node.boot_id = "two".into();
    assert_eq!(
        bootstrap::completion(&node, &bootstrap_only("a")),
        Completion::EarlierBoot
    );
}

#[test]
fn compat_022_a_dry_run_changes_nothing_and_says_what_it_would() {
    let dry = Rule {
        dry_run: true,
        ..rule("a")
    };
    for (verdict_is, node, would) in [
        (Present, node(), Action::AddTaint),
        (Absent, tainted(), Action::RemoveTaint),
    ] {
        let plan = plan_for(&node, &[Case::new(dry.clone(), verdict(verdict_is, false))]);
        assert!(plan.changes.is_empty());
        assert_eq!(plan.outcomes[0].state, State::DryRun { would, risky: true });
    }
}

#[test]
fn compat_022_a_dry_run_counts_no_change_for_a_completed_node() {
    let dry = Rule {
        dry_run: true,
        ..bootstrap_only("a")
    };
    let (key, value) = bootstrap::annotation(&dry);
    let node = Node {
        annotations: [(key, value)].into(),
        ..tainted()
    };
    let plan = plan_for(&node, &[Case::new(dry, verdict(Absent, false))]);
    assert_eq!(
        plan.outcomes[0].state,
        State::DryRun {
            would: Action::None,
            risky: false
        }
    );
}

#[test]
fn a_rule_that_completes_passes_its_taint_on_without_a_gap() {
    let older = bootstrap_only("a");
    let younger = Rule {
        created: Some(at(5)),
        ..rule("b")
    };
    let cases = [
        Case::new(older.clone(), verdict(Absent, true)),
        Case::new(younger.clone(), verdict(Present, false)),
    ];
    let plan = plan_for(&held_by(&older), &cases);
    assert!(plan.changes.remove.is_empty() && plan.changes.add.is_empty());
    assert_eq!(plan.outcomes[0].action, Action::CompleteBootstrap);
    assert_eq!(plan.outcomes[0].state, State::Decides);
    let node = apply(&held_by(&older), &plan.changes);
    assert!(ownership::read(&node, &TaintPrefixes::default())[0].is_of(&younger));
    assert_eq!(bootstrap::completion(&node, &older), Completion::ThisBoot);
}

#[test]
fn nrc_260_of_two_rules_on_one_taint_the_older_decides() {
    let younger = Rule {
        created: Some(at(5)),
        ..rule("a")
    };
    let cases = [
        Case::new(younger, verdict(Present, false)),
        Case::new(rule("b"), verdict(Absent, false)),
    ];
    let plan = plan_for(&tainted(), &cases);
    assert_eq!(plan.changes.remove, [id("agent")]);
    assert_eq!(
        plan.outcomes[0].state,
        State::Conflict { winner: "b".into() }
    );
    assert_eq!(plan.outcomes[0].action, Action::None);
    assert_eq!(plan.outcomes[1].action, Action::RemoveTaint);
}

#[test]
fn a_completed_rule_has_no_claim_against_a_younger_one() {
    let completed = bootstrap_only("a");
    let (key, value) = bootstrap::annotation(&completed);
    let node = Node {
        annotations: [(key, value)].into(),
        ..node()
    };
    let younger = Rule {
        created: Some(at(5)),
        ..rule("b")
    };
    let cases = [
        Case::new(completed, verdict(Absent, false)),
        Case::new(younger, verdict(Present, false)),
    ];
    let plan = plan_for(&node, &cases);
    assert_eq!(plan.changes.add.len(), 1);
    assert_eq!(plan.outcomes[0].state, State::Completed);
}

#[test]
fn a_loser_never_completes() {
    let younger = Rule {
        created: Some(at(5)),
        ..bootstrap_only("a")
    };
    let cases = [
        Case::new(younger, verdict(Absent, true)),
        Case::new(rule("b"), verdict(Present, false)),
    ];
    let plan = plan_for(&node(), &cases);
    assert!(
        !plan
            .changes
            .annotations
            .keys()
            .any(|key| key.starts_with(bootstrap::PREFIX))
    );
}

#[test]
fn a_policy_that_fails_changes_nothing() {
    for node in [node(), tainted(), held_by(&rule("a"))] {
        let plan = plan_for(&node, &[Case::new(rule("a"), failed())]);
        assert!(plan.changes.is_empty());
        assert!(matches!(plan.outcomes[0].state, State::Failed(_)));
    }
}

#[test]
fn the_message_says_what_was_seen_and_what_was_required() {
    let node = Node {
        conditions: vec![condition("Agent", "False")],
        ..node()
    };
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Present, false))]);
    assert_eq!(plan.outcomes[0].message, "Agent is False, required True");
}

#[test]
fn what_a_policy_names_itself_reads_well_in_singular_and_plural() {
    for (met, word) in [(true, "met"), (false, "not met")] {
        let taint = if met { Absent } else { Present };
        let mut verdict = verdict(taint, false);
        let finding = |words: &str| Finding {
            subject: Subject::Other(words.to_owned()),
            met,
        };
        verdict.result.as_mut().unwrap().findings = vec![
            finding("lease of the node"),
            finding("DaemonSets of namespace a"),
        ];
        let plan = plan_for(&tainted(), &[Case::new(rule("a"), verdict)]);
        let expected = format!("lease of the node: {word}; DaemonSets of namespace a: {word}");
        assert_eq!(plan.outcomes[0].message, expected);
    }
}

#[test]
fn the_message_says_what_time_is_wanting() {
    let read = |question, answer| Read {
        question,
        answer: Answer::Bool(answer),
        until: None,
    };
    let condition_is = |seconds| Question::ConditionIs {
        condition: "Agent".into(),
        status: planner::rule::Status::True,
        at_least: Duration::from_secs(seconds),
    };
    let heartbeat = Question::HeartbeatWithin {
        condition: "Agent".into(),
        at_most: Duration::from_secs(90),
    };
    let boot = Question::ReportedThisBoot {
        condition: "Agent".into(),
    };
    let timed = |question, until| Read {
        question,
        answer: Answer::Bool(false),
        until: Some(at(until)),
    };
    for (reads, expected) in [
        (vec![], "Agent is True, required True"),
        (
            vec![timed(condition_is(30), 30)],
            "Agent is True for less than 30s (until 2023-11-14T22:13:50Z), required True",
        ),
        (
            vec![timed(heartbeat.clone(), 40)],
            "Agent is True with a heartbeat that is more than 1m in the future: the clock of whoever reports it is ahead, required True",
        ),
        (
            vec![read(condition_is(30), false)],
            "Agent is True for less than 30s, required True",
        ),
        (
            vec![read(condition_is(30), true), read(heartbeat, false)],
            "Agent is True without a heartbeat in the last 1m 30s, required True",
        ),
        (
            vec![read(boot, false)],
            "Agent is True without a heartbeat since the node's reboot, required True",
        ),
    ] {
        let node = Node {
            conditions: vec![condition("Agent", "True")],
            ..node()
        };
        let mut verdict = verdict(Present, false);
        verdict.reads = reads;
        let plan = plan_for(&node, &[Case::new(rule("a"), verdict)]);
        assert_eq!(plan.outcomes[0].message, expected);
    }
}
