//! What the parts of the control loop share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use api::NodeReadinessRule;
use api::node::Node;
use engine::Policy;
use kube::Client;
use kube::runtime::reflector::Store;
use planner::Timestamp;
use planner::plan::{Action, State};

use crate::decide::Decided;
use crate::events::Events;
use crate::ledger::Ledger;
use crate::node::Written;
use crate::queue::Queue;
use crate::rules::RuleSet;

/// Changes of many nodes within this time go into one status.
const COALESCE: Duration = Duration::from_millis(100);

/// Caches, queues and memory.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) policy: Policy,
    pub(crate) events: Events,
    /// The nodes as the watch shows them.
    pub(crate) nodes: Store<Node>,
    /// The rules as the watch shows them.
    pub(crate) objects: Store<NodeReadinessRule>,
    /// Names of nodes to decide about.
    pub(crate) nodes_due: Queue<String>,
    /// Names of rules whose finalizer or status wants work.
    pub(crate) rules_due: Queue<String>,
    pub(crate) written: Written,
    rules: RwLock<Arc<RuleSet>>,
    ledger: Mutex<Ledger>,
}

impl Shared {
    pub(crate) fn new(
        client: Client,
        policy: Policy,
        events: Events,
        nodes: Store<Node>,
        objects: Store<NodeReadinessRule>,
    ) -> Self {
        Self {
            client,
            policy,
            events,
            nodes,
            objects,
            nodes_due: Queue::new(),
            rules_due: Queue::new(),
            written: Written::default(),
            rules: RwLock::default(),
            ledger: Mutex::default(),
        }
    }

    /// The rules now.
    pub(crate) fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the rules from the cache. Where they changed, every node is due.
    pub(crate) fn refresh_rules(&self) {
        let objects = self.objects.state();
        let before = self.rules();
        let set = before.build(&objects, &self.policy);
        let changed = !set.same_as(&before);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        if changed {
            let exists = |uid: &str| {
                objects
                    .iter()
                    .any(|object| object.metadata.uid.as_deref() == Some(uid))
            };
            self.ledger().retain(exists);
            self.all_nodes_due();
        }
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

    /// The memory of all rules. Hold it briefly: never across an await.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No code that can panic runs under the lock.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is gone.
    pub(crate) fn forget_node(&self, name: &str) {
        self.written.forget(name);
        let known_to = self.ledger().forget_node(name);
        for active in &self.rules().active {
            if known_to.contains(&active.rule.uid) {
                self.status_due(&active.rule.name);
            }
        }
    }

    /// Takes note of what was decided about a node, and why it could not be carried out.
    pub(crate) fn note(
        &self,
        node: &planner::facts::Node,
        rules: &RuleSet,
        decided: &Decided<'_>,
        error: Option<&str>,
        now: Timestamp,
    ) {
        let mut ledger = self.ledger();
        for active in &rules.active {
            let rule = &active.rule;
            let entry = ledger.rule(&rule.uid);
            let index = decided
                .rules
                .iter()
                .position(|decided| decided.rule.uid == rule.uid);
            let changed = match index.and_then(|index| decided.plan.outcomes.get(index)) {
                Some(outcome) => {
                    let failure = error.and_then(|error| match outcome.action {
                        Action::AddTaint => Some(format!("failed to add taint: {error}")),
                        Action::RemoveTaint => Some(format!("failed to remove taint: {error}")),
                        Action::CompleteBootstrap => {
                            Some(format!("failed to complete bootstrap: {error}"))
                        }
                        // Its completions may be still there.
                        Action::None if outcome.state == State::Terminating => {
                            Some(format!("failed to release: {error}"))
                        }
                        Action::None => None,
                    });
                    entry.note(node, rule, outcome, failure, now)
                }
                None => entry.forget(&node.name),
            };
            if error.is_none() {
                active.seen_present.forget(&node.name);
            }
            if changed {
                self.status_due(&rule.name);
            }
        }
    }

    /// Wants a rule's status written, soon.
    pub(crate) fn status_due(&self, rule: &str) {
        self.rules_due.add_after(rule.to_owned(), COALESCE);
    }
}
