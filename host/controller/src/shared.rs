//! What the parts of the control loop share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use api::NodeReadinessRule;
use api::node::Node;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use planner::Timestamp;
use planner::plan::{Action, State};
use planner::rule::TaintId;
use tokio::sync::watch;

use crate::decide::{ActiveRule, Decided, Rules, Seats};
use crate::events::Events;
use crate::freeze::{self, Frozen};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::node::Written;
use crate::options::Limits;
use crate::orphans::{Absent, Orphans};
use crate::policies::{Guard, Live};
use crate::queue::Queue;
use crate::related::Known;
use crate::reporters::Reporters;
use crate::rules::RuleSet;

/// Changes of many nodes within this time go into one status.
const COALESCE: Duration = Duration::from_millis(100);

/// Caches, queues and memory.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) policies: Arc<Live>,
    pub(crate) events: Events,
    pub(crate) limits: Limits,
    /// The nodes as the watch shows them.
    pub(crate) nodes: Store<Node>,
    /// The rules as the watch shows them.
    pub(crate) objects: Store<NodeReadinessRule>,
    /// Names of nodes to decide about.
    pub(crate) nodes_due: Queue<String>,
    /// Names of rules whose finalizer or status wants work.
    pub(crate) rules_due: Queue<String>,
    /// Names of policies that want work. Hosts that do not lead work on them too: they take over
    /// without a gap, and their webhook is asked.
    pub(crate) policies_due: Queue<String>,
    /// Says that what is known of their objects has changed.
    pub(crate) policies_seen: watch::Sender<()>,
    pub(crate) written: Written,
    pub(crate) orphans: Orphans,
    pub(crate) related: Known,
    seats: Seats,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reporters: Arc<Reporters>,
    rules: RwLock<Arc<RuleSet>>,
    /// Two that refresh the rules at the same time must not end with the older view.
    refreshing: Mutex<()>,
    ledger: Mutex<Ledger>,
    /// UID of the rule that the API server did not let have the annotation of the freeze, and why.
    freeze_refused: Mutex<Option<(String, String)>>,
}

impl Shared {
    pub(crate) fn new(
        client: Client,
        policies: Arc<Live>,
        events: Events,
        limits: Limits,
        nodes: Store<Node>,
        objects: Store<NodeReadinessRule>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let fleet = nodes.clone();
        let facts = move || {
            fleet
                .state()
                .iter()
                .map(|node| Arc::clone(&node.facts))
                .collect()
        };
        let related = Known::new(limits.prefixes.clone());
        Self {
            client,
            policies,
            events,
            limits,
            nodes,
            objects,
            nodes_due: Queue::new(metrics.node_queue.clone()),
            rules_due: Queue::new(metrics.rule_queue.clone()),
            policies_due: Queue::new(metrics.policy_queue.clone()),
            policies_seen: watch::Sender::new(()),
            written: Written::default(),
            orphans: Orphans::default(),
            related,
            seats: Seats::new(facts),
            metrics,
            reporters: Arc::default(),
            rules: RwLock::default(),
            refreshing: Mutex::default(),
            ledger: Mutex::default(),
            freeze_refused: Mutex::default(),
        }
    }

    /// The rules now.
    pub(crate) fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is decided with. `absent`: rules that are not among these.
    pub(crate) fn deciding<'a>(&'a self, rules: &'a RuleSet, absent: &'a Absent) -> Rules<'a> {
        Rules {
            active: &rules.active,
            stalled: &absent.kept,
            gone: &absent.gone,
            prefixes: &rules.prefixes,
            frozen: rules.frozen.is_some(),
            seats: &self.seats,
            related: self,
        }
    }

    /// Takes the rules from the cache. Where they changed, every node is due.
    pub(crate) fn refresh_rules(&self) {
        self.take_rules(false, None);
    }

    /// `anew`: with nothing of what was known about them.
    fn take_rules(&self, anew: bool, alarm: Option<&Frozen>) {
        let refreshing = self.refreshing.lock();
        let refreshing = refreshing.unwrap_or_else(PoisonError::into_inner);
        let objects = self.objects.state();
        let before = if anew { Arc::default() } else { self.rules() };
        let known = before.frozen.as_ref().or(alarm);
        let frozen = Frozen::find(&objects, known);
        freeze::log(before.frozen.as_ref(), frozen.as_ref(), objects.len());
        // Also by whom it is written down: each status says that too.
        let freeze_changed = frozen != before.frozen;
        let to_write = frozen.as_ref().filter(|frozen| !frozen.written);
        if to_write.is_none() {
            *self.refusal() = None;
        }
        let to_write = to_write.map(|frozen| frozen.rule.clone());
        let prefixes = &self.limits.prefixes;
        let set = before.build(&objects, &self.policies.get(), prefixes, frozen);
        let changed = !set.same_as(&before);
        let contested = if changed {
            contested(before.active.iter().chain(&set.active))
        } else {
            HashSet::new()
        };
        let uids = objects
            .iter()
            .filter_map(|object| object.metadata.uid.as_deref());
        let uids: HashSet<&str> = uids.collect();
        let exists = |uid: &str| uids.contains(uid);
        if changed {
            let rules = set.active.iter().map(|active| &*active.rule);
            self.metrics.keep_rules(rules, exists);
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        drop(refreshing);
        if changed {
            self.ledger().retain(exists);
            self.seats.retain(exists);
            self.reporters.rules_changed();
            self.all_nodes_due();
        }
        for object in &objects {
            // Whether the rule is there that it replaces may have changed, and who decides about new nodes.
            let uid = object.metadata.uid.as_deref().unwrap_or_default();
            let told_anew = changed && object.spec.replaces.is_some() || contested.contains(uid);
            if freeze_changed || told_anew {
                self.status_due(&object.name_any());
            }
        }
        if let Some(rule) = to_write {
            self.rules_due.add(rule);
        }
        // Those that wait with their finalizer until another rule carries the annotation on.
        let goes = |object: &&Arc<NodeReadinessRule>| object.metadata.deletion_timestamp.is_some();
        for object in objects.iter().filter(goes).filter(|_| freeze_changed) {
            self.rules_due.add(object.name_any());
        }
    }

    /// Begins as after a start, with the caches as they are: somebody else may have written everything
    /// that was known.
    pub(crate) fn begin_term(&self) {
        self.forget();
        // Nobody is handed a node before the rules are there: it would be let go.
        self.take_rules(true, None);
        self.nodes_due.resume();
        self.rules_due.resume();
        self.all_nodes_due();
        for rule in self.objects.state() {
            self.rules_due.add(rule.name_any());
        }
        for policy in self.policies.get().names() {
            self.policies_due.add(policy.clone());
        }
    }

    /// Another module decides for the rules that name this policy, or none, or for another reason.
    pub(crate) fn policy_changed(&self, policy: &str) {
        self.refresh_rules();
        for rule in self.objects.state() {
            if names_policy(&rule, policy) {
                self.status_due(&rule.name_any());
            }
        }
    }

    /// A rule may stand in the way of a module that waits, and not any more.
    pub(crate) fn policy_of_rule_due(&self, rule: &NodeReadinessRule) {
        let policies = self.policies.get();
        let mut names = policies.names();
        if let Some(policy) = names.find(|policy| names_policy(rule, policy)) {
            self.policies_due.add(policy.clone());
        }
    }

    /// Takes no more work. The caches stay warm.
    pub(crate) fn end_term(&self) {
        self.nodes_due.pause();
        self.rules_due.pause();
        self.forget();
    }

    fn forget(&self) {
        self.written.forget_all();
        self.seats.forget_all();
        self.reporters.forget();
        *self.ledger() = Ledger::default();
    }

    /// Wants every node decided about, also those that are only remembered.
    pub(crate) fn all_nodes_due(&self) {
        let remembered = self.ledger().node_names();
        let cached = self.nodes.state();
        for name in cached
            .iter()
            .map(|node| &node.facts.name)
            .chain(&remembered)
        {
            self.nodes_due.add(name.clone());
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Option<(String, String)>> {
        let refused = self.freeze_refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner)
    }

    /// The API server does not let the rule with this UID carry the freeze.
    pub(crate) fn freeze_refused(&self, uid: &str, why: &str) {
        *self.refusal() = Some((uid.to_owned(), why.to_owned()));
    }

    /// Why the rule that is to carry the freeze cannot, as far as it was tried.
    pub(crate) fn why_not_frozen(&self, frozen: &Frozen) -> Option<String> {
        let refused = self.refusal();
        let (_, why) = refused.as_ref().filter(|(uid, _)| frozen.is_by(uid))?;
        Some(why.clone())
    }

    /// The memory of all rules. Hold it briefly: never across an await.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No code that can panic runs under the lock.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is gone.
    pub(crate) fn forget_node(&self, name: &str) {
        self.written.forget(name);
        self.related.forget_node(name);
        self.seats.forget_node(name);
        let known_to = self.ledger().forget_node(name);
        for active in &self.rules().active {
            active.policy.forget(&active.rule, name);
            active.flaps.forget(name);
            let was_shown = active.seen_present.forget(name);
            if was_shown || known_to.contains(&active.rule.uid) {
                self.status_due(&active.rule.name);
            }
        }
    }

    /// Takes note of what was decided about a node, and of why the part of it that is about a taint
    /// could not be carried out.
    pub(crate) fn note(
        &self,
        node: &planner::facts::Node,
        rules: &RuleSet,
        decided: &Decided<'_>,
        error: impl Fn(&TaintId) -> Option<String>,
        now: Timestamp,
    ) {
        self.metrics.note(node, decided, &error);
        let mut alarms = Vec::new();
        // Some of the rules, in the same order.
        let outcomes = decided.rules.iter().zip(&decided.plan.outcomes);
        let mut outcomes = outcomes.peekable();
        let mut ledger = self.ledger();
        for active in &rules.active {
            let rule = &active.rule;
            let entry = ledger.rule(&rule.uid);
            let outcome = outcomes.next_if(|(decided, _)| decided.rule.uid == rule.uid);
            if active.policy.guard().is_some_and(Guard::take_news) {
                self.policies_due.add(rule.policy.clone());
            }
            // Of what is not known yet nothing is noted: what was known before goes on.
            let is_open = outcome.is_some_and(|(_, outcome)| outcome.state.is_open());
            if is_open || rules.beginning.contains(&rule.uid) {
                continue;
            }
            let mut failed = false;
            // Also where nothing else is news: who asked first may have counted a node that was released
            // meanwhile.
            let mut room = false;
            let changed = match outcome {
                Some((_, outcome)) => {
                    let failure = error(&rule.taint).and_then(|error| match outcome.action {
                        Action::AddTaint => Some(format!("failed to add taint: {error}")),
                        Action::RemoveTaint => Some(format!("failed to remove taint: {error}")),
                        Action::CompleteBootstrap => {
                            Some(format!("failed to complete bootstrap: {error}"))
                        }
                        // Its completions may be still there.
                        Action::None if outcome.state == State::Terminating => {
                            Some(format!("failed to release: {error}"))
                        }
                        Action::None if outcome.adopted => {
                            Some(format!("failed to take over the taint: {error}"))
                        }
                        Action::None => None,
                    });
                    failed = failure.is_some();
                    // Also by a patch of ours whose answer was lost.
                    let holds = outcome.owned_since.is_some() && !outcome.adopted;
                    if outcome.after
                        && holds
                        && !failed
                        && let Some(alarm) = self.limits.alarm
                        && let Some(nodes) = entry.regressed(node, &alarm, Instant::now())
                    {
                        alarms.push((rule, nodes, entry.nodes.len(), alarm.window));
                    }
                    if !failed {
                        room = self.seats.settle(active, &node.name, outcome.counts);
                    }
                    entry.note(node, rule, outcome, failure, now)
                }
                None => {
                    room = self.seats.settle(active, &node.name, false);
                    entry.forget(&node.name)
                }
            };
            // One that does nothing records nothing on the node: what its status says is still needed.
            let acts = !failed && !rule.suspended && !active.stalled;
            // A status of the Go controller may wait for this node alone.
            let was_shown = acts && active.seen_present.forget(&node.name);
            if changed || was_shown {
                self.status_due(&rule.name);
            }
            if changed || room {
                // Those that wait for a place in the budget, as many as there are.
                let left = self.seats.left(active).unwrap_or_default();
                for waiting in entry
                    .over_budget
                    .iter()
                    .filter(|name| **name != node.name)
                    .take(left)
                {
                    self.nodes_due.add(waiting.clone());
                }
            }
        }
        drop(ledger);
        for (rule, nodes, all, window) in alarms {
            let (name, seconds) = (&rule.name, window.as_secs());
            let why = format!(
                "NodesRegressed: {nodes} of {all} nodes of rule '{name}' within {seconds} s"
            );
            self.take_rules(false, Some(&Frozen::alarm(rule, why)));
        }
    }

    /// A rule selects so many nodes now. Where that is room in its budget, those that wait for it are due: they
    /// may have been refused by an older count, and nothing else brings them back.
    pub(crate) fn selects(&self, active: &ActiveRule, matched: usize) {
        self.seats.selects(active, matched);
        let left = self.seats.left(active).unwrap_or_default();
        let mut ledger = self.ledger();
        let waiting = &ledger.rule(&active.rule.uid).over_budget;
        let waiting: Vec<String> = waiting.iter().take(left).cloned().collect();
        drop(ledger);
        for name in waiting {
            self.nodes_due.add(name);
        }
    }

    /// Wants a rule's status written, soon.
    pub(crate) fn status_due(&self, rule: &str) {
        self.rules_due.add_after(rule.to_owned(), COALESCE);
    }
}

/// The UIDs of rules with a taint that another rule has too, or had.
fn contested<'a>(rules: impl Iterator<Item = &'a ActiveRule>) -> HashSet<String> {
    let mut by_taint: HashMap<_, HashSet<&str>> = HashMap::new();
    for active in rules {
        let uids = by_taint.entry(&active.rule.taint).or_default();
        uids.insert(&active.rule.uid);
    }
    let several = by_taint.into_values().filter(|uids| uids.len() > 1);
    several.flatten().map(str::to_owned).collect()
}

fn names_policy(rule: &NodeReadinessRule, policy: &str) -> bool {
    let named = rule.spec.policy.as_ref();
    named.is_some_and(|named| named.name == policy)
}
