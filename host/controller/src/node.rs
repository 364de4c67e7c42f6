//! One node: decide, and carry the plan out with one patch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::node::Node;
use kube::api::Api;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use planner::Timestamp;
use planner::plan::{Action, Plan};
use tracing::{info, warn};

use crate::client::{RequestError, patch_metadata, timely};
use crate::decide::{Decided, decide};
use crate::events::Kind;
use crate::shared::Shared;

/// How often a plan is made again at once when somebody else was faster; then it waits in the queue.
const ATTEMPTS: usize = 4;

/// Our last write to each node, until it comes back by the watch. A plan made before that would
/// answer a node that is no longer there.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<String, (String, String)>>);

impl Written {
    fn remember(&self, name: &str, uid: Option<String>, version: Option<String>) {
        if let (Some(uid), Some(version)) = (uid, version) {
            let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert(name.to_owned(), (uid, version));
        }
    }

    /// Is what the watch shows older than what we wrote? Resource versions of one resource are
    /// ordered numbers (KEP-5504); where they are not, the patch's own tests must do.
    fn not_yet_seen(&self, name: &str, node: &Node) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((uid, version)) = written.get(name) else {
            return false;
        };
        let number = |version: &str| version.parse::<u128>().ok();
        let seen = node.resource_version();
        let older = match (seen.as_deref().and_then(number), number(version)) {
            (Some(seen), Some(ours)) => seen < ours,
            _ => false,
        };
        if node.uid().as_ref() == Some(uid) && older {
            return true;
        }
        written.remove(name);
        false
    }

    pub(crate) fn forget(&self, name: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

/// Takes nodes from the queue, one after the other, for ever.
pub(crate) async fn work(shared: Arc<Shared>) {
    loop {
        let name = shared.nodes_due.take().await;
        if reconcile(&shared, &name).await {
            shared.nodes_due.succeed(&name);
        } else {
            shared.nodes_due.retry(name.clone());
        }
        shared.nodes_due.done(&name);
    }
}

/// Brings a node to what its rules want. False: try again later.
async fn reconcile(shared: &Shared, name: &str) -> bool {
    let Some(mut node) = shared.nodes.get(&ObjectRef::new(name)) else {
        shared.forget_node(name);
        return true;
    };
    if shared.written.not_yet_seen(name, &node) {
        return true; // its event will bring it back
    }
    let api = Api::<Node>::all(shared.client.clone());
    let mut refusal = String::new();
    for _ in 0..ATTEMPTS {
        let now = Timestamp::now();
        let rules = shared.rules();
        let decided = decide(&node.facts, &rules.active, &rules.stalled, now);
        let Some(patch) = api::patch::node_patch(&node, &decided.plan.changes) else {
            shared.note(&node.facts, &rules, &decided, None, now);
            ask_again(shared, name, &decided.plan, now);
            return true;
        };
        match patch_metadata(&api, name, patch).await {
            Ok(answer) => {
                shared.written.remember(
                    name,
                    answer.metadata.uid,
                    answer.metadata.resource_version,
                );
                announce(shared, &node, &decided, now);
                shared.note(&node.facts, &rules, &decided, None, now);
                ask_again(shared, name, &decided.plan, now);
                return true;
            }
            Err(RequestError::NotFound(_)) => return true, // its deletion will bring it back
            Err(RequestError::Conflict(why)) => match timely(api.get(name)).await {
                Ok(fresh) => (node, refusal) = (Arc::new(fresh), why),
                Err(RequestError::NotFound(_)) => return true,
                Err(error) => return failed(shared, &node, &decided, &error.to_string(), now),
            },
            Err(error) => return failed(shared, &node, &decided, &error.to_string(), now),
        }
    }
    let now = Timestamp::now();
    let rules = shared.rules();
    let decided = decide(&node.facts, &rules.active, &rules.stalled, now);
    let error = format!("refused {ATTEMPTS} times in a row, each after a fresh read: {refusal}");
    failed(shared, &node, &decided, &error, now)
}

/// Evaluates again when time alone may change a verdict.
fn ask_again(shared: &Shared, name: &str, plan: &Plan, now: Timestamp) {
    if let Some(at) = plan.ask_again_at {
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        shared.nodes_due.add_after(name.to_owned(), wait);
    }
}

fn failed(
    shared: &Shared,
    node: &Node,
    decided: &Decided<'_>,
    error: &str,
    now: Timestamp,
) -> bool {
    warn!(
        node = node.facts.name,
        error, "the node could not be patched; it will be tried again"
    );
    shared.note(&node.facts, &shared.rules(), decided, Some(error), now);
    false
}

/// Tells, in the log and as events, what a patch did to the node's taints.
fn announce(shared: &Shared, node: &Node, decided: &Decided<'_>, now: Timestamp) {
    let facts = &node.facts;
    for (active, outcome) in decided.rules.iter().zip(&decided.plan.outcomes) {
        let (rule, taint) = (active.rule.name.as_str(), &active.rule.taint);
        let kind = match outcome.action {
            Action::AddTaint => Kind::Added,
            Action::RemoveTaint => Kind::Removed,
            _ if outcome.adopted => Kind::Adopted,
            Action::CompleteBootstrap => {
                info!(
                    node = facts.name,
                    rule,
                    reason = outcome.reason,
                    "bootstrap completed"
                );
                continue;
            }
            Action::None => continue,
        };
        let what = match kind {
            Kind::Added => "taint added",
            Kind::Removed => "taint removed",
            Kind::Adopted => "taint adopted",
        };
        info!(
            node = facts.name, rule, %taint, reason = outcome.reason, why = outcome.message,
            bootstrap_completed = outcome.completes, "{what}"
        );
        shared.events.tell(facts, kind, taint, rule, now);
    }
    for record in &decided.plan.orphans {
        let taint = record.id();
        info!(node = facts.name, rule = record.rule, %taint, reason = "RuleGone", "taint removed");
        shared
            .events
            .tell(facts, Kind::Removed, &taint, &record.rule, now);
    }
}
