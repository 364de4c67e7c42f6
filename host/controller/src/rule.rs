//! One rule: its finalizer, and its status.

mod freeze;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::NodeReadinessRule;
use api::rule::FINALIZER;
use api::rule::status::{Condition, NodeReadinessRuleStatus};
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use planner::Timestamp;
use planner::rule::Status;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::birth::new_nodes;
use crate::client::{RequestError, Stored, patch_metadata, patch_status};
use crate::events::Object;
use crate::freeze::FREEZE;
use crate::metrics::Write;
use crate::reporters;
use crate::rules::has_finalizer;
use crate::shared::Shared;
use crate::status::{self, Matching};

/// The shortest time between two writes of one rule's status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    /// The status that was written last, by name of the rule.
    last: Mutex<HashMap<String, Last>>,
    /// Was it said that the definition in the cluster is not ours?
    told: AtomicBool,
}

#[derive(Debug, Clone)]
struct Last {
    /// Of the rule: another may have its name by now.
    uid: String,
    at: Instant,
    /// What was sent, and what the server made of it: another CRD may drop fields.
    sent: NodeReadinessRuleStatus,
    stored: Outcome,
}

/// What the server made of a status. Its answer does not say: it would be the whole object.
#[derive(Debug, Clone)]
enum Outcome {
    /// The watch has not shown it yet; the resource version of the rule with it.
    NotSeen(String),
    /// As the watch showed it.
    Seen(Option<NodeReadinessRuleStatus>),
}

impl Last {
    /// Takes what the watch shows, where it is what this write led to. Says whether it is.
    fn see(&mut self, object: &NodeReadinessRule) -> bool {
        let Outcome::NotSeen(version) = &self.stored else {
            return false;
        };
        let is_it = object.resource_version().as_ref() == Some(version);
        if is_it {
            self.stored = Outcome::Seen(object.status.clone());
        }
        is_it
    }

    /// Would it say nothing new to write this?
    fn makes_needless(
        &self,
        desired: &NodeReadinessRuleStatus,
        object: &NodeReadinessRule,
    ) -> bool {
        let shown = object.status.as_ref();
        let is_there = match &self.stored {
            Outcome::Seen(stored) => status::same_stored(stored.as_ref(), shown),
            Outcome::NotSeen(version) => {
                Stored::is_newer(version, object.resource_version().as_deref())
                    // Another write came on top before the watch showed it.
                    || shown.is_some_and(|shown| status::same(shown, desired))
            }
        };
        is_there && status::same(&self.sent, desired)
    }
}

impl Statuses {
    fn last(&self, name: &str, uid: &str) -> Option<Last> {
        let all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).filter(|last| last.uid == uid).cloned()
    }

    /// Trusts none of them any more.
    pub(crate) fn clear(&self) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn remember(&self, name: &str, last: Option<Last>) {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some(last) => all.insert(name.to_owned(), last),
            None => all.remove(name),
        };
    }

    /// Says once, where it is so, that the server drops fields of a status that only our definition has.
    fn tell_of_another_definition(&self, stored: Option<&NodeReadinessRuleStatus>) {
        let dropped = stored.is_some_and(|stored| stored.conditions.is_empty());
        if dropped && !self.told.swap(true, Ordering::Relaxed) {
            warn!(
                "the cluster has another definition of NodeReadinessRule, without the conditions and counts of its status, \
                 suspend, budget, replaces and policy: `host crd | kubectl apply -f -` installs ours; all else works"
            );
        }
    }
}

/// Takes rules from the queue, one after the other, for ever. Several do so side by side; the queue gives
/// one rule to one of them at a time.
pub(crate) async fn work(shared: Arc<Shared>, statuses: Arc<Statuses>) {
    loop {
        let name = shared.rules_due.take().await;
        match reconcile(&shared, &statuses, &name).await {
            Ok(()) => shared.rules_due.succeed(&name),
            Err(RequestError::NotLeading(_)) => {} // the next term will bring it back
            Err(error) => {
                warn!(rule = name, %error, "the rule could not be updated; it will be tried again");
                shared.rules_due.retry(name.clone());
            }
        }
        shared.rules_due.done(&name);
    }
}

async fn reconcile(shared: &Shared, statuses: &Statuses, name: &str) -> Result<(), RequestError> {
    let Some(object) = shared.objects.get(&ObjectRef::new(name)) else {
        statuses.remember(name, None);
        return Ok(());
    };
    let terminating = object.meta().deletion_timestamp.is_some();
    match (terminating, has_finalizer(&object)) {
        (false, false) => {
            let added = add_finalizer(shared, &object).await;
            if let Err(RequestError::Refused(why)) = &added {
                let uid = object.uid().unwrap_or_default();
                let rule = Object::Rule { name, uid: &uid };
                let note = format!(
                    "The rule does nothing yet: it cannot be given its finalizer {FINALIZER}: {why}"
                );
                shared.events.warn(rule, "NotBegun", &uid, note);
            }
            added
        }
        (false, true) => {
            freeze::write(shared, &object).await?;
            write_status(shared, statuses, &object).await?;
            shared.metrics.reconciled(&object.uid().unwrap_or_default());
            Ok(())
        }
        (true, finalized) => {
            let is_handed_over = freeze::hand_over(shared, &object).await?;
            if finalized && is_handed_over {
                finish(shared, &object).await?;
            }
            Ok(())
        }
    }
}

/// Before anything else: without it a rule could go while its taints stay.
async fn add_finalizer(shared: &Shared, object: &NodeReadinessRule) -> Result<(), RequestError> {
    let change = match object.meta().finalizers.as_deref() {
        None | Some([]) => {
            json!({ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] })
        }
        Some(_) => json!({ "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER }),
    };
    patch_finalizers(shared, object, change).await
}

/// Removes the finalizer of a rule that is being deleted, once every node is free of it.
async fn finish(shared: &Shared, object: &NodeReadinessRule) -> Result<(), RequestError> {
    let uid = object.uid().unwrap_or_default();
    let nodes = shared.nodes.state();
    let left = {
        let mut ledger = shared.ledger();
        let cleaned = &ledger.rule(&uid).cleaned;
        nodes
            .iter()
            .filter(|node| !cleaned.contains(&node.facts.name))
            .count()
    };
    if left > 0 {
        debug!(
            rule = object.name_any(),
            left, "nodes are still being released"
        );
        return Ok(());
    }
    let Some(index) = object
        .finalizers()
        .iter()
        .position(|finalizer| finalizer == FINALIZER)
    else {
        return Ok(());
    };
    let change = json!({ "op": "remove", "path": format!("/metadata/finalizers/{index}") });
    patch_finalizers(shared, object, change).await?;
    info!(
        rule = object.name_any(),
        "rule deleted, all nodes are released"
    );
    Ok(())
}

async fn patch_finalizers(
    shared: &Shared,
    object: &NodeReadinessRule,
    change: serde_json::Value,
) -> Result<(), RequestError> {
    let patch = patch(json!([
        { "op": "test", "path": "/metadata/uid", "value": object.uid() },
        { "op": "test", "path": "/metadata/finalizers", "value": object.meta().finalizers },
        change,
    ]))?;
    let api = Api::<NodeReadinessRule>::all(shared.client.clone());
    let answer = patch_metadata(&api, &object.name_any(), patch, shared.limits.timeout).await;
    shared.metrics.wrote(Write::RuleFinalizer, &answer);
    match answer {
        // The watch brings what it is now.
        Ok(_) | Err(RequestError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the status if it says something new, at most once in an interval.
async fn write_status(
    shared: &Shared,
    statuses: &Statuses,
    object: &NodeReadinessRule,
) -> Result<(), RequestError> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let mut last = statuses.last(&name, &uid);
    if let Some(last) = &mut last
        && last.see(object)
    {
        // Each status of ours has conditions.
        statuses.tell_of_another_definition(object.status.as_ref());
        statuses.remember(&name, Some(last.clone()));
    }
    let waited = last
        .as_ref()
        .map_or(STATUS_INTERVAL, |last| last.at.elapsed());
    if waited < STATUS_INTERVAL {
        shared
            .rules_due
            .add_after(name, STATUS_INTERVAL.saturating_sub(waited));
        return Ok(());
    }
    let desired = compose(shared, object, &uid);
    warn_about(shared, object, &desired);
    let stored = object.status.as_ref();
    let nothing_new = match &last {
        Some(last) => last.makes_needless(&desired, object),
        None => stored.is_some_and(|stored| status::same(stored, &desired)),
    };
    if nothing_new {
        return Ok(());
    }
    let patch = patch(json!([
        { "op": "test", "path": "/metadata/uid", "value": object.uid() },
        { "op": "add", "path": "/status", "value": &desired },
    ]))?;
    let api = Api::<NodeReadinessRule>::all(shared.client.clone());
    let at = Instant::now();
    let answer = patch_status(&api, &name, patch, shared.limits.timeout).await;
    shared.metrics.wrote(Write::RuleStatus, &answer);
    let rule = Object::Rule {
        name: &name,
        uid: &uid,
    };
    let answer = match answer {
        Err(RequestError::NotFound(_)) => return Ok(()),
        Err(RequestError::Refused(why)) => {
            let note = format!(
                "The status of the rule cannot be written, and does not say how it is; the rule works all the same: {why}"
            );
            shared.events.warn(rule, "StatusNotWritten", &uid, note);
            return Err(RequestError::Refused(why));
        }
        answer => answer?,
    };
    let before = last.as_ref().map(|last| &last.sent).or(stored);
    if before.is_some_and(status::says_frozen) && !status::says_frozen(&desired) {
        // The next time it is news.
        shared.events.settled(&uid, status::FROZEN);
        let note = format!("Not frozen any more: no rule carries annotation {FREEZE}");
        shared.events.inform(rule, "Thawed", note);
    }
    let version = answer.metadata.resource_version.unwrap_or_default();
    statuses.remember(
        &name,
        Some(Last {
            uid,
            at,
            sent: desired,
            stored: Outcome::NotSeen(version),
        }),
    );
    Ok(())
}

/// Reasons of `Ready` that somebody chose, and that somebody has to end.
const SWITCHES: [&str; 4] = [
    "BudgetExhausted",
    "DryRunKeepsTaints",
    status::FROZEN,
    "Suspended",
];

/// A Warning event for what somebody has to look at, beside the status that says it too.
fn warn_about(shared: &Shared, object: &NodeReadinessRule, status: &NodeReadinessRuleStatus) {
    let wanted = |condition: &&Condition| match condition.r#type.as_str() {
        "Ready" => SWITCHES.contains(&condition.reason.as_str()),
        "Conflict" | "Stalled" | reporters::CONDITION => condition.status == Status::True,
        _ => false,
    };
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    for condition in status.conditions.iter().filter(wanted) {
        let reason = match condition.r#type.as_str() {
            "Stalled" => "Stalled",
            "Conflict" => "Conflict",
            reporters::CONDITION => reporters::CONDITION,
            _ => (SWITCHES.into_iter())
                .find(|reason| *reason == condition.reason)
                .unwrap_or("NotReady"),
        };
        let rule = Object::Rule {
            name: &name,
            uid: &uid,
        };
        let note = condition.message.clone();
        // Each of the pods that are blocked is news.
        let subject = match reason {
            reporters::CONDITION => &condition.message,
            _ => &condition.reason,
        };
        shared.events.warn(rule, reason, subject, note);
    }
}

fn compose(shared: &Shared, object: &NodeReadinessRule, uid: &str) -> NodeReadinessRuleStatus {
    let now = Timestamp::now();
    let rules = shared.rules();
    let Some(active) = rules.active.iter().find(|active| active.rule.uid == uid) else {
        let rule = object
            .to_rule(&shared.limits.prefixes)
            .err()
            .map(|error| error.to_string());
        let selector = || object.selector().err().map(|error| error.to_string());
        let refused = || rules.refused.get(uid).cloned();
        let problem = rule.or_else(selector).or_else(refused);
        let problem = problem.as_deref().unwrap_or("the rule cannot be used");
        return status::stalled(object, problem, now);
    };
    let nodes = shared.nodes.state();
    let matched = nodes
        .iter()
        .filter(|node| active.selector.matches(&node.facts.labels))
        .count();
    let new_nodes = new_nodes(active, &shared.limits.prefixes, now);
    let mut ledger = shared.ledger();
    let entry = ledger.rule(uid);
    status::compose(
        object,
        &active.rule,
        &Matching {
            matched,
            nodes: &entry.nodes,
            frozen: rules.frozen.as_ref(),
            replaced_exists: (active.rule.replaces.as_ref())
                .is_some_and(|name| shared.objects.get(&ObjectRef::new(name)).is_some()),
            new_nodes: &new_nodes,
            reporters: shared.reporters.finding(uid),
        },
        now,
    )
}

fn patch(operations: serde_json::Value) -> Result<json_patch::Patch, RequestError> {
    serde_json::from_value(operations).map_err(|error| RequestError::Other(error.to_string()))
}
