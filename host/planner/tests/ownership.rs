//! What a rule owns, and what goes with it.

mod common;

use std::collections::BTreeSet;

use common::*;
use planner::bootstrap;
use planner::facts::Node;
use planner::ownership;
use planner::plan::Action;
use planner::question::Completion;
use planner::rule::{Rule, TaintId, TaintPrefixes};
use planner::verdict::TaintAction::{Keep, Present};

#[test]
fn compat_021_relabelled_out_releases_only_what_is_owned() {
    let plan = plan_for(&held_by(&rule("a")), &[Case::not_selected(rule("a"))]);
    assert_eq!(plan.changes.remove, [id("agent")]);
    assert_eq!(plan.changes.annotations[ownership::ANNOTATION], None);
    assert_eq!(plan.outcomes[0].action, Action::RemoveTaint);
    let plan = plan_for(&tainted(), &[Case::not_selected(rule("a"))]);
    assert!(plan.changes.is_empty(), "somebody else's taint");
}

#[test]
fn compat_021_a_taint_that_was_there_is_adopted_once() {
    let case = || [Case::new(rule("a"), verdict(Present, false))];
    let plan = plan_for(&tainted(), &case());
    assert!(plan.outcomes[0].adopted);
    let node = apply(&tainted(), &plan.changes);
    let plan = plan_for(&node, &case());
    assert!(!plan.outcomes[0].adopted && plan.changes.is_empty());
    let plan = plan_for(&node, &[Case::not_selected(rule("a"))]);
    assert_eq!(plan.changes.remove, [id("agent")]);
}

#[test]
fn compat_021_an_entry_in_the_status_counts_where_the_node_has_no_record() {
    let seen = Case {
        seen_present: true,
        ..Case::not_selected(rule("a"))
    };
    assert_eq!(plan_for(&tainted(), &[seen]).changes.remove, [id("agent")]);
    let seen = Case {
        seen_present: true,
        ..Case::not_selected(rule("b"))
    };
    let plan = plan_for(
        &held_by(&rule("a")),
        &[seen, Case::new(rule("a"), verdict(Present, false))],
    );
    assert!(
        plan.changes.is_empty(),
        "the record says that it is another's"
    );
}

#[test]
fn compat_021_ownership_ends_when_the_taint_is_gone() {
    let node = Node {
        taints: vec![],
        ..held_by(&rule("a"))
    };
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Keep, false))]);
    assert_eq!(plan.changes.annotations[ownership::ANNOTATION], None);
}

#[test]
fn compat_023_deleting_an_enforcing_rule_releases_matching_and_owned_nodes() {
    let gone = Rule {
        terminating: true,
        ..rule("a")
    };
    let matching = Case {
        selected: true,
        ..Case::not_selected(gone.clone())
    };
    assert_eq!(
        plan_for(&tainted(), &[matching]).changes.remove,
        [id("agent")]
    );
    let owned = plan_for(&held_by(&rule("a")), &[Case::not_selected(gone.clone())]);
    assert_eq!(owned.changes.remove, [id("agent")]);
    assert!(
        plan_for(&tainted(), &[Case::not_selected(gone)])
            .changes
            .is_empty()
    );
}

#[test]
fn nrc_374_deleting_a_dry_run_rule_removes_only_what_it_owns() {
    let gone = Rule {
        terminating: true,
        dry_run: true,
        ..rule("a")
    };
    let case = || {
        [Case {
            selected: true,
            ..Case::not_selected(gone.clone())
        }]
    };
    assert!(plan_for(&tainted(), &case()).changes.is_empty());
    assert_eq!(
        plan_for(&held_by(&rule("a")), &case()).changes.remove,
        [id("agent")]
    );
}

#[test]
fn nrc_374_what_a_status_shows_is_not_owned_by_a_dry_run_nor_by_a_completed_rule() {
    let dry = Rule {
        terminating: true,
        dry_run: true,
        ..rule("a")
    };
    let seen = |rule: Rule| {
        [Case {
            seen_present: true,
            ..Case::not_selected(rule)
        }]
    };
    assert!(plan_for(&tainted(), &seen(dry)).changes.is_empty());
    let (key, value) = bootstrap::annotation(&bootstrap_only("a"));
    let node = Node {
        annotations: [(key, value)].into(),
        ..tainted()
    };
    assert!(
        plan_for(&node, &seen(bootstrap_only("a")))
            .changes
            .is_empty()
    );
}

#[test]
fn a_forged_record_takes_off_no_foreign_taint() {
    let foreign = TaintId {
        key: "dedicated".into(),
        ..id("agent")
    };
    let record = ownership::Record::new(&foreign, &rule("gone"), at(0), "Forged");
    let mut node = Node {
        taints: vec![taint(&foreign, "db")],
        ..node()
    };
    let value = serde_json::to_string(&[record]).unwrap();
    node.annotations.set(ownership::ANNOTATION, Some(&value));
    assert!(plan_for(&node, &[]).changes.is_empty());
}

fn with_records(mut node: Node, records: &[ownership::Record]) -> Node {
    let value = serde_json::json!(records).to_string();
    node.annotations.set(ownership::ANNOTATION, Some(&value));
    node
}

/// Its rule exists, whatever prefixes this host was given. One that only looks so is no other's.
#[test]
fn a_record_of_a_taint_of_an_existing_rule_counts_whatever_its_key_begins_with() {
    let elsewhere = |name: &str| TaintId {
        key: format!("example.com/{name}"),
        ..id("agent")
    };
    let far = Rule {
        taint: elsewhere("agent"),
        ..rule("far")
    };
    let prefixes = TaintPrefixes::default().beside([&far, &rule("a")]);
    let record = |taint: &TaintId, of: &Rule| ownership::Record::new(taint, of, at(0), "Held");
    for (record, counts) in [
        (record(&far.taint, &far), true),
        (record(&far.taint, &rule("a")), false),
        (record(&elsewhere("other"), &far), false),
        (record(&id("agent"), &rule("b")), true),
    ] {
        assert_eq!(prefixes.vouch_for(&record), counts, "{record:?}");
        let node = Node {
            taints: vec![taint(&record.id(), "")],
            ..node()
        };
        let node = with_records(node, std::slice::from_ref(&record));
        assert_eq!(!ownership::read(&node, &prefixes).is_empty(), counts);
        assert_eq!(ownership::problem(&node, &prefixes).is_none(), counts);
        let unknown = ownership::unknown(&node, &prefixes);
        assert_eq!(unknown.is_empty(), counts);
    }
}

/// Who knows more about it finds it still. With its taint it goes.
#[test]
fn a_record_that_nobody_vouches_for_is_not_lost_when_others_are_written() {
    let far = TaintId {
        key: "example.com/far".into(),
        ..id("agent")
    };
    let record = ownership::Record::new(&far, &rule("gone"), at(0), "Held");
    let with = |taints| with_records(Node { taints, ..node() }, std::slice::from_ref(&record));
    let held = || [Case::new(rule("a"), verdict(Present, false))];
    let node = with(vec![taint(&far, "")]);
    let node = apply(&node, &plan_for(&node, &held()).changes);
    let further = TaintPrefixes::with(["example.com/".to_owned()]);
    let records = ownership::read(&node, &further);
    let rules: Vec<_> = records.iter().map(|record| record.rule.as_str()).collect();
    assert_eq!(rules, ["gone", "a"]);
    let bare = with(vec![]);
    let bare = apply(&bare, &plan_for(&bare, &held()).changes);
    assert_eq!(ownership::read(&bare, &further).len(), 1);
}

#[test]
fn several_records_of_one_taint_are_one_and_the_latest_counts() {
    let record = |rule: &str, seconds| {
        ownership::Record::new(&id("agent"), &self::rule(rule), at(seconds), "Held")
    };
    let node = with_records(tainted(), &[record("a", 1), record("b", 2), record("a", 1)]);
    let read = ownership::read(&node, &TaintPrefixes::default());
    assert_eq!(read, [record("b", 2)]);
    // The earlier owner has no say in it.
    let case = || Case::not_selected(rule("a"));
    let stalled = BTreeSet::from(["b-uid".to_owned()]);
    assert!(plan_with(&node, &[case()], &stalled).changes.is_empty());
    assert_eq!(plan_for(&node, &[case()]).changes.remove, [id("agent")]);
}

#[test]
fn one_record_that_cannot_be_read_does_not_hide_the_others() {
    let mut node = held_by(&rule("a"));
    let value = node.annotations.get(ownership::ANNOTATION).unwrap();
    let value = value.replacen('[', r#"["odd","#, 1);
    node.annotations.set(ownership::ANNOTATION, Some(&value));
    assert_eq!(
        plan_for(&node, &[Case::not_selected(rule("a"))])
            .changes
            .remove,
        [id("agent")]
    );
}

#[test]
fn a_rule_named_like_the_uid_of_another_is_not_completed_by_it() {
    let (key, value) = bootstrap::annotation(&bootstrap_only("a"));
    let node = Node {
        annotations: [(key, value)].into(),
        ..node()
    };
    assert_eq!(
        bootstrap::completion(&node, &bootstrap_only("a-uid")),
        Completion::None
    );
}

#[test]
fn nrc_247_deleting_a_rule_removes_its_completions_of_both_forms() {
    let gone = Rule {
        terminating: true,
        ..bootstrap_only("a")
    };
    let keys = [
        format!("{}a-uid", bootstrap::PREFIX),
        format!("{}a", bootstrap::PREFIX),
    ];
    let foreign = format!("{}b", bootstrap::PREFIX);
    let all = keys
        .iter()
        .chain([&foreign])
        .map(|key| (key.clone(), "{}".to_owned()));
    let node = Node {
        annotations: all.collect(),
        ..node()
    };
    let plan = plan_for(&node, &[Case::not_selected(gone)]);
    assert_eq!(
        plan.changes.annotations,
        keys.into_iter().map(|key| (key, None)).collect()
    );
}

#[test]
fn compat_023_a_deleted_rule_hands_over_without_a_gap() {
    let gone = Rule {
        terminating: true,
        ..rule("a")
    };
    let heir = rule("b");
    let cases = [
        Case {
            selected: true,
            ..Case::not_selected(gone)
        },
        Case::new(heir.clone(), verdict(Present, false)),
    ];
    let plan = plan_for(&held_by(&rule("a")), &cases);
    assert!(plan.changes.remove.is_empty() && plan.changes.add.is_empty());
    let node = apply(&held_by(&rule("a")), &plan.changes);
    assert!(ownership::read(&node, &TaintPrefixes::default())[0].is_of(&heir));
}

#[test]
fn records_of_vanished_rules_are_released_and_those_of_stalled_rules_are_not() {
    let node = held_by(&rule("a"));
    let plan = plan_for(&node, &[]);
    assert_eq!(plan.changes.remove, [id("agent")]);
    assert_eq!(plan.orphans[0].rule, "a");
    let stalled = BTreeSet::from(["a-uid".to_owned()]);
    assert!(plan_with(&node, &[], &stalled).changes.is_empty());
}

#[test]
fn a_record_that_cannot_be_read_releases_nothing() {
    let mut node = held_by(&rule("a"));
    node.annotations.set(ownership::ANNOTATION, Some("[{"));
    assert!(
        plan_for(&node, &[Case::not_selected(rule("a"))])
            .changes
            .is_empty()
    );
    let plan = plan_for(&node, &[Case::new(rule("a"), verdict(Present, false))]);
    assert!(
        ownership::read(&apply(&node, &plan.changes), &TaintPrefixes::default())[0]
            .is_of(&rule("a"))
    );
}

/// A gate at birth has no clock.
#[test]
fn a_record_without_a_time_is_as_old_as_its_node() {
    let text = r#"[{"key":"readiness.k8s.io/agent","effect":"NoSchedule","ruleUID":"a-uid","rule":"a","reason":"GateAtBirth","free":true}]"#;
    let born = Node {
        annotations: [(ownership::ANNOTATION, text)].into(),
        created: Some(at(7)),
        ..tainted()
    };
    let prefixes = TaintPrefixes::default();
    assert_eq!(ownership::problem(&born, &prefixes), None);
    let held = || [Case::new(rule("a"), verdict(Present, false))];
    let plan = plan_for(&born, &held());
    assert!(plan.changes.is_empty(), "there is nothing to put right");
    let outcome = &plan.outcomes[0];
    assert_eq!(outcome.owned_since, Some(at(7)));
    assert!(!outcome.adopted && !outcome.counts);
    // It goes with its rule, as any other.
    assert_eq!(plan_for(&born, &[]).changes.remove, [id("agent")]);

    // Beside another rule's taint it stays what it is, and has a time then.
    let other = Rule {
        taint: id("other"),
        ..rule("b")
    };
    let cases = [held()[0].clone(), Case::new(other, verdict(Present, false))];
    let both = apply(&born, &plan_for(&born, &cases).changes);
    let records = ownership::read(&both, &prefixes);
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].since, records[0].free), (Some(at(7)), true));
    // A file may not say when the node was created.
    let undated = Node {
        created: None,
        ..born
    };
    assert!(
        plan_for(&undated, &held()).outcomes[0]
            .owned_since
            .is_some()
    );
}

#[test]
fn compat_j_replaces_a_stalled_rule_inherits_its_completion_and_takes_its_taint() {
    let new = Rule {
        replaces: Some("old".into()),
        ..bootstrap_only("new")
    };
    let old = Case::stalled(bootstrap_only("old"));
    let (key, value) = bootstrap::annotation(&bootstrap_only("old"));
    let completed = Node {
        annotations: [(key, value)].into(),
        ..node()
    };
    let wants = || Case::new(new.clone(), verdict(Present, false));
    let plan = plan_for(&completed, &[old.clone(), wants()]);
    assert!(plan.changes.add.is_empty(), "{:?}", plan.changes);
    assert!(
        plan.changes
            .annotations
            .contains_key(&bootstrap::annotation(&new).0)
    );
    let held = held_by(&bootstrap_only("old"));
    let plan = plan_for(&held, &[old.clone(), wants()]);
    assert!(plan.outcomes[1].adopted && plan.changes.remove.is_empty());
    // What nobody takes over stays, and is still said to be the rule's.
    let alone = plan_for(&held, std::slice::from_ref(&old));
    assert!(alone.changes.is_empty());
    assert_eq!(alone.outcomes[0].state, planner::plan::State::Stalled);
    assert!(alone.outcomes[0].owned_since.is_some());
    let out = Case {
        selected: false,
        ..old
    };
    let outside = plan_for(&held, &[out]);
    assert_eq!(outside.outcomes[0].state, planner::plan::State::Stalled);
}

/// Whatever keeps the new rule from acting: the completion would be gone when it may.
#[test]
fn compat_j_replaces_and_is_suspended_while_the_old_rule_is_deleted() {
    let new = Rule {
        replaces: Some("old".into()),
        suspended: true,
        ..bootstrap_only("new")
    };
    let old = Rule {
        terminating: true,
        ..bootstrap_only("old")
    };
    let (key, value) = bootstrap::annotation(&old);
    let completed = Node {
        annotations: [(key.clone(), value)].into(),
        ..node()
    };
    let gone = Case {
        selected: true,
        ..Case::not_selected(old)
    };
    let waits = Case::new(new.clone(), verdict(Present, false));
    let plan = plan_for(&completed, &[gone, waits]);
    assert_eq!(plan.changes.annotations[&key], None);
    assert!(plan.changes.annotations[&bootstrap::annotation(&new).0].is_some());
    assert!(plan.changes.add.is_empty());
}

#[test]
fn nrc_247_of_completions_only_those_of_rules_go_that_are_known_to_be_gone() {
    let gone = "01234567-89ab-cdef-0123-456789abcdef";
    let other = "11234567-89ab-cdef-0123-456789abcdef";
    let key = |suffix: &str| format!("{}{suffix}", bootstrap::PREFIX);
    let keys = [gone, other, "some-rule"].map(|suffix| (key(suffix), "{}".to_owned()));
    let node = Node {
        annotations: keys.into(),
        ..node()
    };
    let known = [gone.to_owned(), "some-rule".to_owned()].into();
    let plan = planner::plan::plan(&planner::plan::Input {
        node: &node,
        now: at(60),
        rules: &[],
        stalled: &Default::default(),
        gone: &known,
        prefixes: &Default::default(),
        frozen: false,
        only: None,
    });
    assert_eq!(plan.changes.annotations, [(key(gone), None)].into());
}
