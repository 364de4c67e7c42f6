//! What holds for every node, every set of rules and every verdict.

mod common;

use common::*;
use planner::facts::{Node, Taint, Texts};
use planner::plan::Plan;
use planner::question::Completion;
use planner::rule::{Effect, Enforcement, Rule, TaintId, TaintPrefixes};
use planner::verdict::{TaintAction, Verdict};
use planner::{bootstrap, break_glass, ownership};
use proptest::prelude::*;

/// A rule out of few names and taints, so that they meet.
fn rules() -> impl Strategy<Value = Vec<Case>> {
    let case = (
        0..3usize,
        0..2usize,
        0..3i64,
        any::<[bool; 5]>(),
        (0..8usize, any::<bool>(), 0..4u8, 0..5u8),
        verdicts(),
    );
    let cases = proptest::collection::vec(case, 0..5);
    cases.prop_map(|cases| {
        let named = cases.into_iter().enumerate();
        named
            .map(|(index, (taint, effect, age, flags, more, verdict))| {
                let (replaces, within_budget, suspended, stalled) = more;
                let [terminating, dry_run, bootstrap, selected, seen_present] = flags;
                let rule = Rule {
                    created: Some(at(age)),
                    terminating: terminating && dry_run,
                    dry_run,
                    taint: TaintId {
                        effect: Effect::ALL[effect],
                        ..id(["x", "y", "z"][taint])
                    },
                    enforcement: if bootstrap {
                        Enforcement::BootstrapOnly
                    } else {
                        Enforcement::Continuous
                    },
                    suspended: suspended == 0,
                    // Half of them replace one that may be there, or themselves.
                    replaces: (replaces < 4).then(|| format!("rule-{replaces}")),
                    ..rule(&format!("rule-{index}"))
                };
                let stalled = stalled == 0 && !rule.terminating;
                let verdict = (selected && !rule.terminating && !stalled).then_some(verdict);
                Case {
                    rule,
                    verdict,
                    selected,
                    stalled,
                    seen_present,
                    within_budget,
                }
            })
            .collect()
    })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        1 => Just(failed()),
        3 => Just(verdict(TaintAction::Present, false)),
        3 => Just(verdict(TaintAction::Absent, false)),
        3 => Just(verdict(TaintAction::Absent, true)),
        1 => Just(verdict(TaintAction::Keep, false)),
        1 => Just(verdict_per_boot(TaintAction::Present, false)),
        2 => Just(verdict_per_boot(TaintAction::Absent, false)),
        2 => Just(verdict_per_boot(TaintAction::Absent, true)),
        1 => Just(verdict_per_boot(TaintAction::Keep, false)),
    ]
}

/// A node with taints and annotations of its own and of others, and with what an earlier plan
/// for other rules left behind.
fn nodes() -> impl Strategy<Value = Node> {
    let key = prop_oneof![Just("x"), Just("y"), Just("z")];
    let ours = proptest::collection::btree_set((key, 0..2usize), 0..4);
    let completed = proptest::collection::btree_set(0..5usize, 0..3);
    let excused = proptest::option::of((0..5usize, 0..100i64));
    let boots = prop_oneof![
        Just(("", "")),
        Just(("a", "a")),
        Just(("a", "b")),
        Just(("", "b")),
        Just(("a", ""))
    ];
    let all = (ours, completed, rules(), any::<bool>(), excused, boots);
    all.prop_map(|(ours, completed, earlier, foreign, excused, boots)| {
        let (boot, next_boot) = boots;
        let mut node = Node {
            boot_id: boot.into(),
            conditions: vec![condition("Ready", "True")],
            ..node()
        };
        if let Some((index, until)) = excused {
            let value = format!("rule-{index}={}", at(until));
            node.annotations.set(break_glass::ANNOTATION, Some(&value));
        }
        for (name, effect) in ours {
            node.taints.push(taint(
                &TaintId {
                    effect: Effect::ALL[effect],
                    ..id(name)
                },
                "v",
            ));
        }
        if foreign {
            node.taints.push(Taint {
                key: "example.com/new".into(),
                effect: None,
                value: "v".into(),
            });
            node.taints.push(taint(
                &TaintId {
                    key: "example.com/t".into(),
                    ..id("x")
                },
                "",
            ));
            node.annotations.set("example.com/note", Some("kept"));
        }
        for index in completed {
            let (key, plain) = bootstrap::annotation(&rule(&format!("rule-{index}")));
            let stamped = format!(r#"{{"rule-name":"rule-{index}","boot-id":"a"}}"#);
            let value = if boot.is_empty() { plain } else { stamped };
            node.annotations.set(&key, Some(&value));
        }
        let plan = plan_for(&node, &earlier);
        Node {
            boot_id: next_boot.into(),
            ..apply(&node, &plan.changes)
        }
    })
}

fn by_name<'a>(plan: &'a Plan, cases: &'a [Case]) -> Vec<(&'a str, String)> {
    let outcomes = cases.iter().zip(&plan.outcomes);
    let mut named: Vec<_> = outcomes
        .map(|(case, outcome)| (case.rule.name.as_str(), format!("{outcome:?}")))
        .collect();
    named.sort();
    named
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rules_does_not_matter(
        node in nodes(),
        (straight, mixed) in rules().prop_flat_map(|cases| (Just(cases.clone()), Just(cases).prop_shuffle()))
    ) {
        let (one, two) = (plan_for(&node, &straight), plan_for(&node, &mixed));
        prop_assert_eq!(&one.changes, &two.changes);
        prop_assert_eq!(by_name(&one, &straight), by_name(&two, &mixed));
    }

    #[test]
    fn what_is_foreign_is_never_in_a_plan(node in nodes(), cases in rules()) {
        let plan = plan_for(&node, &cases);
        let after = apply(&node, &plan.changes);
        let named = |id: &TaintId| {
            cases.iter().any(|case| case.rule.taint == *id)
                || ownership::read(&node, &TaintPrefixes::default()).iter().any(|record| record.is_for(id))
        };
        prop_assert!(plan.changes.remove.iter().all(named));
        prop_assert!(plan.changes.add.iter().all(|taint| named(&taint.id)));
        let foreign = |taint: &&Taint| taint.key.starts_with("example.com/");
        prop_assert!(node.taints.iter().filter(foreign).eq(after.taints.iter().filter(foreign)));
        let ours = |key: &String| key == ownership::ANNOTATION || key.starts_with(bootstrap::PREFIX);
        prop_assert!(plan.changes.annotations.keys().all(ours));
    }

    #[test]
    fn a_dry_run_or_a_failure_alone_changes_nothing(node in nodes(), mut case in rules(), fails: bool) {
        let node = Node { annotations: Texts::default(), ..node };
        case.truncate(1);
        for case in &mut case {
            (case.selected, case.rule.terminating, case.rule.dry_run) = (true, false, !fails);
            case.verdict = Some(if fails { failed() } else { verdict(TaintAction::Present, false) });
        }
        prop_assert!(plan_for(&node, &case).changes.is_empty());
    }
}

/// The same verdicts after the plan was carried out: a policy that sees the same conditions says
/// the same, but for the completion, which the node now shows.
fn again(node: &Node, cases: Vec<Case>) -> Vec<Case> {
    let rules: Vec<Rule> = cases.iter().map(|case| case.rule.clone()).collect();
    let settle = |mut case: Case| {
        let replaced = rules
            .iter()
            .find(|other| case.rule.replaces.as_ref() == Some(&other.name));
        let completion = bootstrap::completion_with(node, &case.rule, replaced);
        if let Some(Ok(decision)) = case.verdict.as_mut().map(|verdict| verdict.result.as_mut()) {
            decision.complete_bootstrap &= match completion {
                Completion::None => true,
                Completion::EarlierBoot => decision.per_boot,
                Completion::ThisBoot => false,
            };
        }
        // The status of a rule follows the node.
        case.seen_present &= node.has_taint(&case.rule.taint);
        case
    };
    cases.into_iter().map(settle).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_applied_plans_nothing(node in nodes(), mut cases in rules()) {
        for case in &mut cases {
            case.rule.replaces = None;
        }
        let first = plan_for(&node, &cases);
        let after = apply(&node, &first.changes);
        let cases = again(&after, cases);
        let second = plan_for(&after, &cases);
        prop_assert!(second.changes.is_empty(), "{:?}", second.changes);
    }

    /// A completion travels from a rule to the one that replaces it, to the one that replaces that.
    #[test]
    fn plans_settle_where_rules_replace_each_other(mut node in nodes(), mut cases in rules()) {
        for _ in 0..=cases.len() {
            let plan = plan_for(&node, &cases);
            node = apply(&node, &plan.changes);
            cases = again(&node, cases);
        }
        let last = plan_for(&node, &cases);
        prop_assert!(last.changes.is_empty(), "{:?}", last.changes);
    }

    #[test]
    fn a_suspended_rule_alone_changes_nothing_while_it_exists(node in nodes(), mut cases in rules()) {
        cases.truncate(1);
        let node = Node { annotations: Texts::default(), ..node };
        for case in &mut cases {
            (case.rule.suspended, case.rule.terminating) = (true, false);
        }
        prop_assert!(plan_for(&node, &cases).changes.is_empty());
    }
}
