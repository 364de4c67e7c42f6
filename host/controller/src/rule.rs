//! One rule: its finalizer, and its status.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::NodeReadinessRule;
use api::rule::FINALIZER;
use api::rule::status::{Condition, NodeReadinessRuleStatus};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use planner::Timestamp;
use planner::rule::Status;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::birth::new_nodes;
use crate::client::{RequestError, patch_metadata, within};
use crate::events::Object;
use crate::metrics::Write;
use crate::reporters;
use crate::rules::{FREEZE, has_finalizer};
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
    stored: Option<NodeReadinessRuleStatus>,
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

/// Takes rules from the queue, one after the other, for ever.
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
            write_freeze(shared, &object).await?;
            write_status(shared, statuses, &object).await?;
            shared.metrics.reconciled(&object.uid().unwrap_or_default());
            Ok(())
        }
        (true, true) => finish(shared, &object).await,
        (true, false) => Ok(()),
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
    let last = statuses.last(&name, &uid);
    let waited = last
        .as_ref()
        .map_or(STATUS_INTERVAL, |last| last.at.elapsed());
    if waited < STATUS_INTERVAL {
        shared
            .rules_due
            .add_after(name, STATUS_INTERVAL.saturating_sub(waited));
        return Ok(());
    }
    if takes_over(shared, &uid) {
        shared.status_due(&name);
        return Ok(());
    }
    let desired = compose(shared, object, &uid);
    warn_about(shared, object, &desired);
    let stored = object.status.as_ref();
    let nothing_new = match &last {
        Some(last) => {
            status::same(&last.sent, &desired) && status::same_stored(last.stored.as_ref(), stored)
        }
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
    let (parameters, body) = (PatchParams::default(), Patch::Json::<()>(patch));
    let at = Instant::now();
    let answer = within(
        shared.limits.timeout,
        api.patch_status(&name, &parameters, &body),
    )
    .await;
    shared.metrics.wrote(Write::RuleStatus, &answer);
    let answer = match answer {
        Err(RequestError::NotFound(_)) => return Ok(()),
        answer => answer?,
    };
    // Each status of ours has conditions.
    statuses.tell_of_another_definition(answer.status.as_ref());
    statuses.remember(
        &name,
        Some(Last {
            uid,
            at,
            sent: desired,
            stored: answer.status,
        }),
    );
    Ok(())
}

/// Is the stored status, as the Go controller left it, all that says which nodes the rule held? Not where one of
/// them cannot be changed: that has to be told.
fn takes_over(shared: &Shared, uid: &str) -> bool {
    let rules = shared.rules();
    let mut active = rules.active.iter();
    let Some(active) = active.find(|active| active.rule.uid == uid && !active.rule.suspended)
    else {
        return false;
    };
    let exists = |node: &str| shared.nodes.get(&ObjectRef::new(node)).is_some();
    if !active.seen_present.is_needed(exists) {
        return false;
    }
    let mut ledger = shared.ledger();
    let mut nodes = ledger.rule(uid).nodes.values();
    !nodes.any(|node| node.failure.is_some())
}

/// Says in the cluster that every rule is frozen: it has to outlive this process, and it is released
/// by hand.
async fn write_freeze(shared: &Shared, object: &NodeReadinessRule) -> Result<(), RequestError> {
    let Some(why) = shared.unwritten_freeze(&object.name_any()) else {
        return Ok(());
    };
    let mut annotations = object.annotations().clone();
    annotations.insert(FREEZE.to_owned(), why);
    let patch = patch(json!([
        { "op": "test", "path": "/metadata/uid", "value": object.uid() },
        { "op": "test", "path": "/metadata/annotations", "value": object.meta().annotations },
        { "op": "add", "path": "/metadata/annotations", "value": annotations },
    ]))?;
    let api = Api::<NodeReadinessRule>::all(shared.client.clone());
    match patch_metadata(&api, &object.name_any(), patch, shared.limits.timeout).await {
        Ok(_) | Err(RequestError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reasons of `Ready` that somebody chose, and that somebody has to end.
const SWITCHES: [&str; 4] = [
    "BudgetExhausted",
    "DryRunKeepsTaints",
    "Frozen",
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
    shared.selects(active, matched);
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
            new_nodes: &new_nodes,
            reporters: shared.reporters.finding(uid),
        },
        now,
    )
}

fn patch(operations: serde_json::Value) -> Result<json_patch::Patch, RequestError> {
    serde_json::from_value(operations).map_err(|error| RequestError::Other(error.to_string()))
}
