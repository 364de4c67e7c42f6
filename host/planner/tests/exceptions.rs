//! What is held is let go of by hand, and stays while a rule does nothing: break glass, budgets, suspension.

mod common;

use std::time::Duration;

use common::*;
use planner::facts::Node;
use planner::plan::{Action, State};
use planner::rule::{Budget, Limit, Rule, TaintPrefixes};
use planner::verdict::TaintAction::{Absent, Present};
use planner::{bootstrap, break_glass, ownership};

/// Lets the node go from a rule, for a minute more.
fn let_go(mut node: Node, rule: &str) -> Node {
    let entry = format!("{rule}={}", at(120));
    node.annotations.set(break_glass::ANNOTATION, Some(&entry));
    node
}

fn successor(name: &str, of: &str) -> Rule {
    Rule {
        replaces: Some(of.into()),
        created: Some(at(1)),
        ..rule(name)
    }
}

#[test]
fn compat_j_break_glass_leads_out_of_a_rule_that_is_suspended_or_frozen() {
    let suspended = Rule {
        suspended: true,
        ..rule("a")
    };
    let cases = [Case::new(suspended, verdict(Present, false))];
    let held = held_by(&rule("a"));
    assert!(plan_for(&held, &cases).changes.is_empty());
    let plan = plan_for(&let_go(held, "a"), &cases);
    assert_eq!(plan.changes.remove, [id("agent")]);
    let outcome = &plan.outcomes[0];
    assert_eq!(outcome.state, State::BrokenGlass { until: at(120) });
    assert_eq!(
        (outcome.action, outcome.after),
        (Action::RemoveTaint, false)
    );
}

#[test]
fn compat_j_break_glass_leads_out_of_a_rule_that_is_stalled() {
    let cases = [Case::stalled(rule("a"))];
    let held = held_by(&rule("a"));
    assert!(plan_for(&held, &cases).changes.is_empty());
    let plan = plan_for(&let_go(held.clone(), "a"), &cases);
    assert_eq!(plan.changes.remove, [id("agent")]);
    // Also where nobody knows any more what it selects.
    let unknown = Case {
        selected: false,
        ..cases[0].clone()
    };
    let plan = plan_for(&let_go(held, "a"), &[unknown]);
    assert_eq!(plan.changes.remove, [id("agent")]);
}

#[test]
fn compat_j_break_glass_for_a_rule_is_for_the_one_that_replaces_it() {
    let (old, new) = (rule("old"), successor("new", "old"));
    let free = let_go(node(), "old");
    let new = || Case::new(new.clone(), verdict(Present, false));
    for cases in [
        vec![Case::new(old, verdict(Present, false)), new()],
        vec![new()],
    ] {
        let plan = plan_for(&free, &cases);
        assert!(plan.changes.add.is_empty(), "{plan:?}");
    }
    let other = Case::new(rule("other"), verdict(Present, false));
    assert_eq!(plan_for(&free, &[other]).changes.add.len(), 1);
}

#[test]
fn compat_j_budget_counts_what_a_rule_takes_over_as_it_counted() {
    let budget = Budget {
        most: Limit::Nodes(1),
        exempt_younger_than: Duration::ZERO,
    };
    let with_budget = |rule| Rule {
        budget: Some(budget),
        ..rule
    };
    let (old, new) = (
        with_budget(rule("old")),
        with_budget(successor("new", "old")),
    );
    let new = Case::new(new, verdict(Present, false));
    let cases = [Case::new(old.clone(), verdict(Present, false)), new.clone()];
    let held = held_by(&old);
    let plan = plan_for(&held, &cases);
    assert!(plan.outcomes[1].adopted && plan.outcomes[1].counts);
    let records = ownership::read(&apply(&held, &plan.changes), &TaintPrefixes::default());
    assert_eq!((records[0].rule.as_str(), records[0].free), ("new", false));
    // What somebody put there never counted.
    let plan = plan_for(&tainted(), &[new]);
    assert!(plan.outcomes[0].adopted && !plan.outcomes[0].counts);
}

/// A status has to name it: its taint is on the node.
#[test]
fn what_is_held_and_selected_no_more_is_shown_while_it_stays() {
    let held = held_by(&rule("a"));
    let state_on = |node: &Node, rule: &Rule| {
        let plan = plan_for(node, &[Case::not_selected(rule.clone())]);
        assert!(plan.changes.is_empty());
        plan.outcomes[0].state.clone()
    };
    let suspended = Rule {
        suspended: true,
        ..rule("a")
    };
    assert_eq!(state_on(&held, &suspended), State::Suspended);
    assert_eq!(state_on(&tainted(), &suspended), State::NotSelected);
    let dry_run = Rule {
        dry_run: true,
        ..rule("a")
    };
    let would = State::DryRun {
        would: Action::RemoveTaint,
        risky: false,
    };
    assert_eq!(state_on(&held, &dry_run), would);
    assert_eq!(state_on(&tainted(), &dry_run), State::NotSelected);
}

/// The rule completed its bootstrap there and never adds its taint: somebody else did.
#[test]
fn a_deleted_rule_takes_nothing_off_a_node_that_it_completed_and_does_not_hold() {
    let gone = Rule {
        terminating: true,
        ..bootstrap_only("a")
    };
    let complete = Case::new(bootstrap_only("a"), verdict(Absent, true));
    let completed = apply(&node(), &plan_for(&node(), &[complete]).changes);
    let completed = Node {
        taints: tainted().taints,
        ..completed
    };
    let selected = Case {
        selected: true,
        ..Case::not_selected(gone)
    };
    let plan = plan_for(&completed, &[selected]);
    assert!(plan.changes.remove.is_empty());
    let (key, _) = bootstrap::annotation(&rule("a"));
    assert_eq!(plan.changes.annotations[&key], None);
}
