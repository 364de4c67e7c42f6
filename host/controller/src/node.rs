//! One node: decide, and carry the plan out with one patch.

mod warnings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::node::Node;
use kube::api::Api;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use planner::plan::Action;
use planner::rule::{DEFAULT_POLICY, TaintId};
use planner::{Timestamp, bootstrap};
use tracing::{info, warn};

use crate::client::{RequestError, Stored, patch_metadata, within};
use crate::decide::{Decided, Seat, decide};
use crate::events::Kind;
use crate::metrics::Write;
use crate::policies::MOST_VERSION;
use crate::queue::{LAST_RETRY, SOON};
use crate::rules::RuleSet;
use crate::shared::Shared;
use crate::status::clip;

/// How often a plan is made again at once when somebody else was faster; then it waits in the queue.
const ATTEMPTS: usize = 4;
/// A node that holds up the deletion of a rule is tried again so often, as a part of all those that do.
const EACH_STUCK: Duration = Duration::from_millis(20);

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

    /// Is what the watch shows older than what we wrote? Where that cannot be known, the patch's own
    /// tests must do.
    fn not_yet_seen(&self, name: &str, node: &Node) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((uid, version)) = written.get(name) else {
            return false;
        };
        let seen = node.resource_version();
        if node.facts.uid == *uid && Stored::is_newer(version, seen.as_deref()) {
            return true;
        }
        written.remove(name);
        false
    }

    pub(crate) fn forget_all(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
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
            shared
                .nodes_due
                .retry(name.clone(), longest_wait(&shared, &name));
        }
        shared.nodes_due.done(&name);
        shared.events.keep_pace().await;
    }
}

/// The longest that a node waits which could not be brought to what its rules want. Where many could not,
/// they must not keep the worker from the others.
fn longest_wait(shared: &Shared, name: &str) -> Duration {
    let stuck = shared.ledger().stuck_with(name);
    stuck.map_or(LAST_RETRY, |stuck| {
        let all = EACH_STUCK.saturating_mul(u32::try_from(stuck).unwrap_or(u32::MAX));
        all.clamp(SOON, LAST_RETRY)
    })
}

/// Brings a node to what its rules want. False: try again later.
async fn reconcile(shared: &Shared, name: &str) -> bool {
    let Some(node) = shared.nodes.get(&ObjectRef::new(name)) else {
        shared.forget_node(name);
        return true;
    };
    if shared.written.not_yet_seen(name, &node) {
        return true; // its event will bring it back
    }
    warnings::about_annotations(shared, &node.facts, Timestamp::now());
    let settled = match shared.orphans.settle(shared, &node.facts).await {
        Ok(settled) => settled,
        Err(RequestError::NotLeading(_)) => return true,
        Err(error) => {
            warn!(
                node = name, %error,
                "it is not known whether the rules in the node's records exist: their taints stay, and it is asked again"
            );
            false
        }
    };
    match carry_out(shared, node, None).await {
        Attempt::Done => settled,
        Attempt::Failed(node, why) => {
            failed(shared, &node, |_| Some(why.clone()));
            false
        }
        Attempt::Refused(node, why) => one_by_one(shared, node, why).await,
    }
}

/// How it went.
enum Attempt {
    /// The node is as its rules want it, or gone: then its deletion brings it back.
    Done,
    /// The API server could not be asked, or too many others were faster.
    Failed(Arc<Node>, String),
    /// The API server is against the plan for this node, as it was just read.
    Refused(Arc<Node>, String),
}

/// Plans for a node, or for one of its taints only, and applies the plan. Plans again from a fresh read
/// where the node has changed meanwhile.
async fn carry_out(shared: &Shared, mut node: Arc<Node>, only: Option<&TaintId>) -> Attempt {
    let api = Api::<Node>::all(shared.client.clone());
    let name = node.facts.name.clone();
    // One time for all attempts: it stands in the plan, and equal plans are to be equal.
    let now = Timestamp::now();
    let mut refused: Option<(json_patch::Patch, String)> = None;
    for attempt in 0..ATTEMPTS {
        let rules = shared.rules();
        let absent = shared.orphans.absent(&node.facts, &rules);
        let decided = decide(&node.facts, shared.deciding(&rules, &absent), only, now);
        let Some(patch) = api::patch::node_patch(&node, &decided.plan.changes) else {
            done(shared, &node, &rules, decided, only, now);
            return Attempt::Done;
        };
        if let Some((_, why)) = refused.take_if(|(before, _)| *before == patch) {
            return Attempt::Refused(node, why);
        }
        if attempt > 0 {
            shared.metrics.replanned();
        }
        let answer = patch_metadata(&api, &name, patch.clone(), shared.limits.timeout).await;
        shared.metrics.wrote(Write::of(&decided.plan), &answer);
        let why = match answer {
            Ok(answer) => {
                shared.written.remember(
                    &name,
                    answer.metadata.uid,
                    answer.metadata.resource_version,
                );
                announce(shared, &node, &rules, &decided, &absent.gone, now);
                done(shared, &node, &rules, decided, only, now);
                return Attempt::Done;
            }
            Err(RequestError::NotFound(_)) => return Attempt::Done,
            // The next term brings it back.
            Err(RequestError::NotLeading(_)) => return Attempt::Done,
            Err(RequestError::Conflict(why)) => (None, why),
            Err(RequestError::Refused(why)) => (Some(patch), why),
            Err(error) => return Attempt::Failed(node, error.to_string()),
        };
        refused = why.0.map(|patch| (patch, why.1));
        node = match within(shared.limits.timeout, api.get(&name)).await {
            Ok(fresh) => Arc::new(fresh),
            Err(RequestError::NotFound(_)) => return Attempt::Done,
            Err(error) => return Attempt::Failed(node, error.to_string()),
        };
    }
    let why = format!("others changed the node {ATTEMPTS} times in a row while it was patched");
    Attempt::Failed(node, why)
}

/// Patches a node taint by taint, where the API server refuses them together: one taint that admission
/// is against must not hold up the others. False: try again later.
async fn one_by_one(shared: &Shared, mut node: Arc<Node>, why: String) -> bool {
    let rules = shared.rules();
    let absent = shared.orphans.absent(&node.facts, &rules);
    let deciding = shared.deciding(&rules, &absent);
    let decided = decide(&node.facts, deciding, None, Timestamp::now());
    let taints = decided.changed_taints();
    let records_only = taints.is_empty() && !decided.plan.changes.is_empty();
    drop(decided);
    let mut refusals = BTreeMap::new();
    if taints.len() < 2 {
        refusals.extend(taints.into_iter().map(|taint| (taint, why.clone())));
    } else {
        let api = Api::<Node>::all(shared.client.clone());
        for taint in taints {
            match carry_out(shared, Arc::clone(&node), Some(&taint)).await {
                Attempt::Done => {}
                Attempt::Failed(_, why) | Attempt::Refused(_, why) => {
                    refusals.insert(taint, why);
                }
            }
            node = match within(shared.limits.timeout, api.get(&node.facts.name)).await {
                Ok(fresh) => Arc::new(fresh),
                Err(RequestError::NotFound(_)) => return true,
                Err(error) => {
                    failed(shared, &node, |_| Some(error.to_string()));
                    return false;
                }
            };
        }
    }
    failed(shared, &node, |taint| refusals.get(taint).cloned());
    if records_only {
        // Of no taint: a record that belongs to nothing any more.
        warn!(
            node = node.facts.name,
            error = why,
            "the records on the node cannot be written; it will be tried again"
        );
    }
    refusals.is_empty() && !records_only
}

/// The plan was carried out, or there was nothing to do.
fn done(
    shared: &Shared,
    node: &Node,
    rules: &RuleSet,
    decided: Decided<'_>,
    only: Option<&TaintId>,
    now: Timestamp,
) {
    if only.is_none() {
        shared.note(&node.facts, rules, &decided, |_| None, now);
        warnings::about_strangers(shared, &node.facts, rules, &decided);
        let held = warnings::about_outcomes(shared, &node.facts, &decided, now);
        if let Some(at) = decided.plan.ask_again_at.into_iter().chain(held).min() {
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
            shared.nodes_due.add_after(node.facts.name.clone(), wait);
        }
    }
    decided.seats.into_iter().for_each(Seat::keep);
}

/// Takes note of why the plan for a node, or the part of it that is about a taint, was not carried out.
fn failed(shared: &Shared, node: &Node, error: impl Fn(&TaintId) -> Option<String>) {
    let now = Timestamp::now();
    let rules = shared.rules();
    let absent = shared.orphans.absent(&node.facts, &rules);
    let decided = decide(&node.facts, shared.deciding(&rules, &absent), None, now);
    for (active, outcome) in decided.rules.iter().zip(&decided.plan.outcomes) {
        if (outcome.action != Action::None || outcome.adopted)
            && let Some(error) = error(&active.rule.taint)
        {
            warnings::about_failure(shared, &node.facts, &active.rule, &error);
        }
    }
    shared.note(&node.facts, &rules, &decided, error, now);
}

/// Tells, in the log and as events, what a patch did to the node's taints.
fn announce(
    shared: &Shared,
    node: &Node,
    rules: &RuleSet,
    decided: &Decided<'_>,
    gone: &BTreeSet<String>,
    now: Timestamp,
) {
    let facts = &node.facts;
    let due = shared.nodes_due.waited(&facts.name);
    shared.metrics.changed(facts, decided, &rules.prefixes, due);
    for (active, outcome) in decided.rules.iter().zip(&decided.plan.outcomes) {
        let (rule, taint) = (active.rule.name.as_str(), &active.rule.taint);
        if let Action::AddTaint | Action::RemoveTaint = outcome.action {
            active.changed(facts, outcome.action == Action::AddTaint);
        }
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
        // Of the policy that is built in nothing is said: its version is the host's.
        let named = Some(active.rule.policy.as_str()).filter(|name| *name != DEFAULT_POLICY);
        let version = named.map(|_| clip(active.policy.version(), MOST_VERSION));
        info!(
            node = facts.name, rule, %taint, reason = outcome.reason, why = outcome.message,
            bootstrap_completed = outcome.completes, policy = named, policy_version = version,
            "{what}"
        );
        let owner = (rule, active.rule.uid.as_str());
        shared.events.tell(facts, kind, taint, owner, now);
    }
    let keys = decided.plan.changes.annotations.keys();
    for uid in keys.filter_map(|key| gone.get(key.strip_prefix(bootstrap::PREFIX)?)) {
        info!(
            node = facts.name,
            rule_uid = uid,
            reason = "RuleGone",
            "completion removed"
        );
    }
    for record in &decided.plan.orphans {
        let taint = record.id();
        info!(node = facts.name, rule = record.rule, %taint, reason = "RuleGone", "taint removed");
        let owner = (record.rule.as_str(), record.rule_uid.as_str());
        let removed = Kind::Removed;
        shared.events.tell(facts, removed, &taint, owner, now);
    }
}
