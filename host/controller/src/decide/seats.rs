//! How many nodes each rule with a budget holds. Shared by all who decide, so that two that decide at
//! the same time do not both take the last place.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use planner::facts::Node;
use planner::ownership::{self, Record};
use planner::rule::TaintPrefixes;

use super::ActiveRule;

/// The number of nodes that a rule selects is counted again when it is older. Counted for each node
/// anew, the work would grow with the square of the cluster.
const RECOUNT: Duration = Duration::from_secs(1);

/// All nodes that there are.
type Fleet = Box<dyn Fn() -> Vec<Arc<Node>> + Send + Sync>;

/// The places that are taken, by UID of the rule; by its name where it comes from a file.
pub struct Seats {
    fleet: Fleet,
    rules: Mutex<HashMap<String, Taken>>,
}

/// The places of one rule.
#[derive(Debug)]
struct Taken {
    /// Names of the nodes that count.
    nodes: HashSet<String>,
    matched: usize,
    counted: Instant,
}

/// A place that was taken for a node that is to be held.
#[derive(Debug)]
pub struct Seat<'a> {
    seats: &'a Seats,
    rule: String,
    node: String,
    kept: bool,
}

impl Seats {
    /// What is taken at first is read from the records on the nodes of this fleet, when a rule with a
    /// budget first asks.
    pub fn new(fleet: impl Fn() -> Vec<Arc<Node>> + Send + Sync + 'static) -> Self {
        Self {
            fleet: Box::new(fleet),
            rules: Mutex::default(),
        }
    }

    /// A place for this node, if the rule has a budget with room.
    pub(super) fn take(
        &self,
        active: &ActiveRule,
        node: &Node,
        prefixes: &TaintPrefixes,
    ) -> Option<Seat<'_>> {
        let rule = &active.rule;
        let budget = rule.budget?;
        let key = key(active);
        let mut rules = self.lock();
        let taken = rules
            .entry(key.clone())
            .or_insert_with(|| self.count(active, prefixes));
        if taken.counted.elapsed() > RECOUNT {
            taken.recount(active, &(self.fleet)());
        }
        // One whose taint was taken off by hand has its place still.
        let kept = taken.nodes.contains(&node.name);
        if !kept && taken.nodes.len() >= budget.most.of(taken.matched) {
            return None;
        }
        taken.nodes.insert(node.name.clone());
        Some(Seat {
            seats: self,
            rule: key,
            node: node.name.clone(),
            kept,
        })
    }

    /// Does the rule hold the node, in a way that counts? As the node was just seen or patched. Says whether
    /// that makes room.
    pub(crate) fn settle(&self, active: &ActiveRule, node: &str, counts: bool) -> bool {
        match self.lock().get_mut(&key(active)) {
            Some(taken) if counts => {
                taken.nodes.insert(node.to_owned());
                false
            }
            Some(taken) => taken.nodes.remove(node),
            None => false,
        }
    }

    /// The rule selects so many nodes, as somebody just counted.
    pub(crate) fn selects(&self, active: &ActiveRule, matched: usize) {
        if let Some(taken) = self.lock().get_mut(&key(active)) {
            taken.matched = matched;
            taken.counted = Instant::now();
        }
    }

    /// How many nodes the rule may still hold; none if it has no budget, or never asked.
    pub(crate) fn left(&self, active: &ActiveRule) -> Option<usize> {
        let budget = active.rule.budget?;
        let rules = self.lock();
        let taken = rules.get(&key(active))?;
        Some(
            budget
                .most
                .of(taken.matched)
                .saturating_sub(taken.nodes.len()),
        )
    }

    /// The node is gone.
    pub(crate) fn forget_node(&self, node: &str) {
        for taken in self.lock().values_mut() {
            taken.nodes.remove(node);
        }
    }

    /// Forgets all: they are counted anew, from the records on the nodes.
    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    /// Forgets rules that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn count(&self, active: &ActiveRule, prefixes: &TaintPrefixes) -> Taken {
        let fleet = (self.fleet)();
        let rule = &active.rule;
        let held = fleet.iter().filter(|node| {
            // What the rule that this one replaces holds, this one is about to hold in its place.
            let replaces = |record: &Record| {
                rule.replaces.as_deref() == Some(&*record.rule)
                    && record.is_for(&rule.taint)
                    && active.selector.matches(&node.labels)
            };
            let mut records = ownership::read(node, prefixes).into_iter();
            let counts = |record: Record| !record.free && (record.is_of(rule) || replaces(&record));
            !node.terminating && records.any(counts)
        });
        let mut taken = Taken {
            nodes: held.map(|node| node.name.clone()).collect(),
            matched: 0,
            counted: Instant::now(),
        };
        taken.recount(active, &fleet);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        // No code that can panic runs under the lock.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn recount(&mut self, active: &ActiveRule, fleet: &[Arc<Node>]) {
        let selected = |node: &&Arc<Node>| active.selector.matches(&node.labels);
        self.matched = fleet.iter().filter(selected).count();
        self.counted = Instant::now();
    }
}

impl Seat<'_> {
    /// The node is held now.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Some(taken) = self.seats.lock().get_mut(&self.rule)
        {
            taken.nodes.remove(&self.node);
        }
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seats").field(&*self.lock()).finish()
    }
}

fn key(active: &ActiveRule) -> String {
    let rule = &active.rule;
    let key = if rule.uid.is_empty() {
        &rule.name
    } else {
        &rule.uid
    };
    key.clone()
}
