//! Reporters that keep each other away: those of one rule do not tolerate the taint of another, whose own
//! reporters do not tolerate that of the first. On a node that both rules select none of them begins.
//!
//! A mere order is no mistake: the pods of a security agent may wait for a network.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use planner::rule::Rule;

use super::{DaemonSet, keeps_away, toleration};
use crate::selector::Selector;

/// How many ways from rule to rule are followed, from one reporter that is kept away. With very many rules that all
/// wait for each other there are more; then the short rings are found, which come first.
const MOST_WAYS: usize = 200;

/// What a rule waits for in a ring: its reporter does not tolerate the taint of the next rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    daemon_set: String,
    conditions: Vec<String>,
    /// The rule whose taint keeps it away.
    rule: String,
    toleration: String,
}

/// Rules that wait for each other, beginning with the reporter of one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ring {
    first: Step,
    others: Vec<Step>,
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step {
            daemon_set,
            conditions,
            rule,
            toleration,
        } = &self.first;
        let conditions = conditions.join(", ");
        write!(
            f,
            "DaemonSet {daemon_set} reports {conditions}, but its pods do not tolerate the taint of rule '{rule}'"
        )?;
        for Step {
            daemon_set, rule, ..
        } in &self.others
        {
            write!(
                f,
                ", which waits for DaemonSet {daemon_set}, whose pods do not tolerate the taint of rule '{rule}'"
            )?;
        }
        write!(
            f,
            ": they keep each other away for ever; give the pods of {daemon_set} the toleration {toleration}"
        )
    }
}

/// One reporter of one rule that the taint of another keeps away.
#[derive(Clone)]
struct Wait<'a> {
    set: &'a DaemonSet,
    /// Index of the rule whose taint it is.
    on: usize,
    /// The nodes where it is so.
    nodes: Selector,
}

/// The rings of each of these rules, in their order: the shortest for each reporter of it and each rule that keeps
/// this one away. Pods that the taint of their own rule keeps away are not told here. A dry run is in a ring
/// of its own only: what waits for it waits for nothing.
pub fn rings(rules: &[(&Rule, &Selector)], sets: &[DaemonSet]) -> Vec<Vec<Ring>> {
    let waits: Vec<_> = (0..rules.len())
        .map(|rule| waits(rule, rules, sets))
        .collect();
    (0..rules.len())
        .map(|rule| rings_of(rule, rules, &waits))
        .collect()
}

fn waits<'a>(waiting: usize, rules: &[(&Rule, &Selector)], sets: &'a [DaemonSet]) -> Vec<Wait<'a>> {
    let Some((rule, selector)) = rules.get(waiting).filter(|(rule, _)| keeps_away(rule)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for set in sets.iter().filter(|set| !set.reported(rule).is_empty()) {
        let others = rules.iter().enumerate().filter(|(on, (other, selected))| {
            *on != waiting
                && other.taint != rule.taint
                && set.is_kept_away_by(other)
                && selected.overlaps(selector)
                // Told of that rule.
                && set.blocked_by(other, selected).is_none()
        });
        for (on, (_, selected)) in others {
            let both = selector.and(selected);
            let nodes = set.places.iter().map(|place| place.and(&both));
            let nodes = nodes.filter(Selector::is_possible);
            found.extend(nodes.map(|nodes| Wait { set, on, nodes }));
        }
    }
    found
}

fn rings_of(start: usize, rules: &[(&Rule, &Selector)], waits: &[Vec<Wait<'_>>]) -> Vec<Ring> {
    let counts =
        |rule: usize| rule == start || rules.get(rule).is_some_and(|(other, _)| !other.dry_run);
    let from = |rule: usize| waits.get(rule).map(Vec::as_slice).unwrap_or_default();
    // Mostly no way leads back, and nothing has to be followed.
    let mut lead_back = BTreeSet::from([start]);
    loop {
        let before = lead_back.len();
        let more = (0..waits.len()).filter(|rule| {
            counts(*rule) && from(*rule).iter().any(|wait| lead_back.contains(&wait.on))
        });
        let more: Vec<_> = more.collect();
        lead_back.extend(more);
        if lead_back.len() == before {
            break;
        }
    }
    let firsts = from(start)
        .iter()
        .filter(|wait| lead_back.contains(&wait.on));
    let ways = firsts.filter_map(|first| shortest(start, first, &lead_back, &from));
    // One DaemonSet may have several places, and the same ring in each.
    let rings: BTreeSet<_> = ways.filter_map(|way| ring(start, &way, rules)).collect();
    rings.into_iter().collect()
}

/// The shortest way back to `start` that begins so, on nodes that all rules on it select.
fn shortest<'a, 'w: 'a>(
    start: usize,
    first: &'w Wait<'a>,
    lead_back: &BTreeSet<usize>,
    from: &impl Fn(usize) -> &'w [Wait<'a>],
) -> Option<Vec<&'w Wait<'a>>> {
    let mut ways = VecDeque::from([(vec![first], first.nodes.clone())]);
    for _ in 0..MOST_WAYS {
        let (way, nodes) = ways.pop_front()?;
        let at = way.last().map_or(start, |wait| wait.on);
        for next in from(at).iter().filter(|wait| lead_back.contains(&wait.on)) {
            if way.iter().any(|wait| wait.on == next.on) {
                continue;
            }
            let nodes = nodes.and(&next.nodes);
            if !nodes.is_possible() {
                continue;
            }
            let mut way = way.clone();
            way.push(next);
            if next.on == start {
                return Some(way);
            }
            ways.push_back((way, nodes));
        }
    }
    None
}

fn ring(start: usize, way: &[&Wait<'_>], rules: &[(&Rule, &Selector)]) -> Option<Ring> {
    let mut waiting = start;
    let mut steps = Vec::new();
    for wait in way {
        let (rule, _) = rules.get(waiting)?;
        let (on, _) = rules.get(wait.on)?;
        steps.push(Step {
            daemon_set: wait.set.name(),
            conditions: wait.set.reported(rule),
            rule: on.name.clone(),
            toleration: toleration(on),
        });
        waiting = wait.on;
    }
    let mut steps = steps.into_iter();
    Some(Ring {
        first: steps.next()?,
        others: steps.collect(),
    })
}

#[cfg(test)]
mod tests;
