//! Builders for nodes, rules and verdicts, and what the API server would make of a plan.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "test helpers, of which each test file uses its part"
)]

use std::collections::BTreeSet;

use planner::Timestamp;
use planner::facts::{Condition, Node, Observed, Taint};
use planner::plan::{Candidate, Changes, Input, Plan, plan};
use planner::rule::{
    DEFAULT_POLICY, Effect, Enforcement, Matching, Requirement, Rule, Status, TaintId,
    TaintPrefixes,
};
use planner::verdict::{Decision, Failure, Finding, Subject, TaintAction, Verdict};

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub fn id(name: &str) -> TaintId {
    TaintId {
        key: format!("readiness.k8s.io/{name}"),
        effect: Effect::NoSchedule,
    }
}

pub fn node() -> Node {
    Node {
        name: "node-1".into(),
        uid: "node-uid".into(),
        ..Node::default()
    }
}

pub fn condition(name: &str, status: &str) -> Condition {
    Condition {
        name: name.into(),
        status: Observed::parse(status),
        reason: String::new(),
        changed: Some(at(0)),
        heartbeat: Some(at(0)),
    }
}

pub fn taint(id: &TaintId, value: &str) -> Taint {
    Taint {
        key: id.key.clone(),
        effect: Some(id.effect),
        value: value.into(),
    }
}

pub fn rule(name: &str) -> Rule {
    Rule {
        name: name.into(),
        uid: format!("{name}-uid"),
        created: Some(at(0)),
        terminating: false,
        dry_run: false,
        taint: id("agent"),
        taint_value: Some("pending".into()),
        requirements: vec![Requirement {
            condition: "Agent".into(),
            required: Status::True,
            fallback: None,
        }],
        matching: Matching::AllOf,
        enforcement: Enforcement::Continuous,
        policy: DEFAULT_POLICY.into(),
        parameters: String::new(),
        suspended: false,
        replaces: None,
        budget: None,
    }
}

pub fn verdict(taint: TaintAction, complete_bootstrap: bool) -> Verdict {
    let met = taint == TaintAction::Absent;
    let decision = Decision {
        taint,
        complete_bootstrap,
        per_boot: false,
        reason: if met {
            "ConditionsMet"
        } else {
            "ConditionsNotMet"
        }
        .into(),
        message: String::new(),
        findings: vec![Finding {
            subject: Subject::Requirement(0),
            met,
        }],
    };
    Verdict {
        result: Ok(decision),
        reads: vec![],
    }
}

/// … of a policy that wants the bootstrap completed once in each boot.
pub fn verdict_per_boot(taint: TaintAction, complete_bootstrap: bool) -> Verdict {
    let mut verdict = verdict(taint, complete_bootstrap);
    verdict.result.as_mut().unwrap().per_boot = true;
    verdict
}

pub fn failed() -> Verdict {
    let failure = Failure {
        kind: "Trapped",
        message: "unreachable".into(),
    };
    Verdict {
        result: Err(failure),
        reads: vec![],
    }
}

/// A rule with its verdict, selecting the node.
#[derive(Debug, Clone)]
pub struct Case {
    pub rule: Rule,
    pub verdict: Option<Verdict>,
    pub selected: bool,
    pub stalled: bool,
    pub seen_present: bool,
    pub within_budget: bool,
}

impl Case {
    pub fn new(rule: Rule, verdict: Verdict) -> Self {
        Self {
            rule,
            verdict: Some(verdict),
            selected: true,
            stalled: false,
            seen_present: false,
            within_budget: true,
        }
    }

    pub fn stalled(rule: Rule) -> Self {
        Self {
            selected: true,
            stalled: true,
            ..Self::not_selected(rule)
        }
    }

    pub fn not_selected(rule: Rule) -> Self {
        Self {
            rule,
            verdict: None,
            selected: false,
            stalled: false,
            seen_present: false,
            within_budget: true,
        }
    }
}

pub fn plan_for(node: &Node, cases: &[Case]) -> Plan {
    plan_with(node, cases, &BTreeSet::new())
}

pub fn plan_with(node: &Node, cases: &[Case], stalled: &BTreeSet<String>) -> Plan {
    let rules: Vec<_> = cases
        .iter()
        .map(|case| Candidate {
            rule: &case.rule,
            selected: case.selected,
            stalled: case.stalled,
            verdict: case.verdict.as_ref(),
            seen_present: case.seen_present,
            replaces: cases
                .iter()
                .map(|other| &other.rule)
                .find(|other| case.rule.replaces.as_ref() == Some(&other.name)),
            within_budget: case.within_budget,
        })
        .collect();
    plan(&Input {
        node,
        now: at(60),
        rules: &rules,
        stalled,
        gone: &BTreeSet::new(),
        prefixes: &TaintPrefixes::default(),
        frozen: false,
        only: None,
    })
}

/// The node after the plan, as the API server would store it.
pub fn apply(node: &Node, changes: &Changes) -> Node {
    let mut node = node.clone();
    for id in &changes.remove {
        assert!(node.has_taint(id), "removes {id}, which is not there");
        node.taints.retain(|taint| !taint.is(id));
    }
    for new in &changes.add {
        assert!(!node.has_taint(&new.id), "adds {} twice", new.id);
        node.taints
            .push(taint(&new.id, new.value.as_deref().unwrap_or_default()));
    }
    for (key, value) in &changes.annotations {
        let (before, value) = (node.annotations.get(key), value.as_deref());
        assert_ne!(before, value, "{key} is set to what it is");
        node.annotations.set(key, value);
    }
    node
}

pub fn tainted() -> Node {
    Node {
        taints: vec![taint(&id("agent"), "pending")],
        ..node()
    }
}

pub fn bootstrap_only(name: &str) -> Rule {
    Rule {
        enforcement: Enforcement::BootstrapOnly,
        ..rule(name)
    }
}

/// A node on which the rule put its taint, by the planner's own doing.
pub fn held_by(rule: &Rule) -> Node {
    let plan = plan_for(
        &node(),
        &[Case::new(
            rule.clone(),
            verdict(TaintAction::Present, false),
        )],
    );
    apply(&node(), &plan.changes)
}
