//! One rule: its finalizer, and its status.

mod freeze;
mod statuses;

use std::sync::Arc;

use api::NodeReadinessRule;
use api::rule::FINALIZER;
use api::rule::status::{Condition, NodeReadinessRuleStatus};
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use planner::Timestamp;
use planner::rule::Status;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::birth::{NewNodes, new_nodes};
use crate::client::{RequestError, patch_metadata, patch_status, within};
use crate::events::Object;
use crate::freeze::FREEZE;
use crate::metrics::Write;
use crate::queue::{LAST_RETRY, SOON};
use crate::reporters::{self, Finding};
use crate::rules::{Against, has_finalizer};
use crate::shared::Shared;
use crate::status::{self, Matching, Told, Waits};
use freeze::HandOver;
use statuses::{Last, Outcome};

pub(crate) use statuses::Statuses;

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
                let object = shared.objects.get(&ObjectRef::new(&name));
                let goes = object.is_some_and(|object| object.meta().deletion_timestamp.is_some());
                let longest = if goes { SOON } else { LAST_RETRY };
                shared.rules_due.retry(name.clone(), longest);
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
            let written = freeze::write(shared, &object).await;
            if matches!(written, Ok(true)) {
                // The watch brings it back; before that the status would say that it is not there.
                return Ok(());
            }
            // The status is true whether or not the annotation can be written.
            write_status(shared, statuses, &object).await?;
            written?;
            let uid = object.uid().unwrap_or_default();
            if !shared.rules().stalled.contains(&uid) {
                shared.metrics.reconciled(&uid);
            }
            Ok(())
        }
        (true, finalized) => {
            let handed_over = freeze::hand_over(shared, &object).await?;
            match handed_over {
                HandOver::Done if finalized => finish(shared, statuses, &object).await,
                HandOver::Refused { heir, why } if finalized => {
                    let waits = Waits::Freeze {
                        heir: &heir,
                        why: &why,
                    };
                    let told = tell_waits(shared, statuses, &object, waits).await;
                    told.map(drop)
                }
                _ => Ok(()),
            }
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
    patch_finalizers(shared, object, change).await.map(drop)
}

/// Removes the finalizer of a rule that is being deleted, once every node is free of it. Says what it waits
/// for, where that does not go by itself.
async fn finish(
    shared: &Shared,
    statuses: &Statuses,
    object: &NodeReadinessRule,
) -> Result<(), RequestError> {
    let uid = object.uid().unwrap_or_default();
    let nodes = shared.nodes.state();
    let (left, stuck) = {
        let mut ledger = shared.ledger();
        let entry = ledger.rule(&uid);
        let left = nodes
            .iter()
            .filter(|node| !entry.cleaned.contains(&node.facts.name))
            .count();
        (left, entry.stuck.clone())
    };
    if left > 0 {
        debug!(
            rule = object.name_any(),
            left, "nodes are still being released"
        );
        if stuck.is_empty() {
            return Ok(());
        }
        let told = tell_waits(shared, statuses, object, Waits::Nodes(&stuck)).await;
        return told.map(drop);
    }
    let Some(index) = object
        .finalizers()
        .iter()
        .position(|finalizer| finalizer == FINALIZER)
    else {
        return Ok(());
    };
    if object.finalizers().len() > 1 {
        // Nobody of us says anything of it any more: what it says last has to be true.
        let told = tell_waits(shared, statuses, object, Waits::Others).await;
        if matches!(told, Ok(false)) {
            return Ok(());
        }
    }
    let change = json!({ "op": "remove", "path": format!("/metadata/finalizers/{index}") });
    let removed = patch_finalizers(shared, object, change).await;
    if let Err(RequestError::Refused(why)) = &removed
        && let Err(error) = tell_waits(shared, statuses, object, Waits::Finalizer(why)).await
    {
        warn!(rule = object.name_any(), %error, "the status could not be written");
    }
    if removed? {
        info!(
            rule = object.name_any(),
            "rule deleted, all nodes are released"
        );
    }
    Ok(())
}

/// Says in the status of a rule that is being deleted, and by an event, why it is still there. False: it is
/// too early to write the status again, and the rule comes back.
async fn tell_waits(
    shared: &Shared,
    statuses: &Statuses,
    object: &NodeReadinessRule,
    waits: Waits<'_>,
) -> Result<bool, RequestError> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    if !matches!(waits, Waits::Others) {
        let rule = Object::Rule {
            name: &name,
            uid: &uid,
        };
        let reason = waits.reason();
        shared.events.warn(rule, reason, reason, waits.message());
    }
    let Some((last, told)) = statuses.due(shared, object) else {
        return Ok(false);
    };
    let desired = status::deleting(object, &told, waits);
    put_status(shared, statuses, object, (last, told), desired).await?;
    Ok(true)
}

/// Puts the finalizer on a rule, or takes it off. `Refused`: the API server is against it. False: somebody else
/// was faster, and the watch brings what the rule is now.
async fn patch_finalizers(
    shared: &Shared,
    object: &NodeReadinessRule,
    change: serde_json::Value,
) -> Result<bool, RequestError> {
    let patch = patch(json!([
        { "op": "test", "path": "/metadata/uid", "value": object.uid() },
        { "op": "test", "path": "/metadata/finalizers", "value": object.meta().finalizers },
        change,
    ]))?;
    let api = Api::<NodeReadinessRule>::all(shared.client.clone());
    let answer = patch_metadata(&api, &object.name_any(), patch, shared.limits.timeout).await;
    shared.metrics.wrote(Write::RuleFinalizer, &answer);
    match answer {
        Ok(_) => Ok(true),
        Err(RequestError::NotFound(_)) => Ok(false),
        // A test of the patch that fails is answered as what the API server is against.
        Err(RequestError::Refused(why)) => {
            // By a list: the role of the chart has no `get`.
            let name = format!("metadata.name={}", object.name_any());
            let parameters = ListParams::default().fields(&name);
            let listed = within(shared.limits.timeout, api.list_metadata(&parameters)).await?;
            let tested = object.meta();
            let is_as_tested = listed.items.iter().any(|fresh| {
                let fresh = &fresh.metadata;
                fresh.uid == tested.uid && fresh.finalizers == tested.finalizers
            });
            if is_as_tested {
                Err(RequestError::Refused(why))
            } else {
                Ok(false)
            }
        }
        Err(error) => Err(error),
    }
}

/// Writes the status if it says something new, at most once in an interval.
async fn write_status(
    shared: &Shared,
    statuses: &Statuses,
    object: &NodeReadinessRule,
) -> Result<(), RequestError> {
    let Some((last, told)) = statuses.due(shared, object) else {
        return Ok(());
    };
    let takeover = takeover(shared, &object.uid().unwrap_or_default());
    if takeover == Takeover::Begins {
        shared.status_due(&object.name_any());
        return Ok(());
    }
    let Some(mut desired) = compose(shared, object, &told) else {
        return Ok(());
    };
    if takeover == Takeover::Waits {
        let stored = object.status.as_ref();
        desired.node_evaluations =
            stored.map_or_else(Vec::new, |stored| stored.node_evaluations.clone());
        // With counts the next host would take the status for ours: see `Seen`.
        desired.nodes = None;
    }
    warn_about(shared, object, &desired);
    put_status(shared, statuses, object, (last, told), desired).await
}

/// Stores a status, where it is not what is stored.
async fn put_status(
    shared: &Shared,
    statuses: &Statuses,
    object: &NodeReadinessRule,
    (last, told): (Option<Last>, Told),
    desired: NodeReadinessRuleStatus,
) -> Result<(), RequestError> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let stored = object.status.as_ref();
    let nothing_new = match &last {
        Some(last) => last.makes_needless(&desired, object),
        None => {
            stored.is_some_and(|stored| status::same(stored, &desired) && told.is_plausible(stored))
        }
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
    let goes = object.meta().deletion_timestamp.is_some();
    let ends = |reason| {
        !goes
            && before.is_some_and(|before| status::says(before, reason))
            && !status::says(&desired, reason)
    };
    // The next time it is news.
    if ends(status::SUSPENDED) {
        shared.events.settled(&uid, status::SUSPENDED);
    }
    if ends(status::FROZEN) {
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

/// What becomes of a status of the Go controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    /// Nothing: it is not needed.
    Done,
    /// Until its nodes were worked on it is all that says which of them the rule held.
    Begins,
    /// The same, and that may take long: while the rule is suspended, frozen or Stalled nothing is worked on,
    /// and a node that cannot be changed has to be told. What the status says of nodes stays in it.
    Waits,
}

fn takeover(shared: &Shared, uid: &str) -> Takeover {
    let rules = shared.rules();
    let Some(active) = rules.active.iter().find(|active| active.rule.uid == uid) else {
        return Takeover::Done;
    };
    let exists = |node: &str| shared.nodes.get(&ObjectRef::new(node)).is_some();
    if !active.seen_present.is_needed(exists) {
        return Takeover::Done;
    }
    if active.rule.suspended || active.stalled {
        return Takeover::Waits;
    }
    let mut ledger = shared.ledger();
    if ledger.rule(uid).fails() {
        Takeover::Waits
    } else {
        Takeover::Begins
    }
}

/// Reasons of `Ready` that somebody chose, and that somebody has to end.
const SWITCHES: [&str; 4] = [
    "BudgetExhausted",
    "DryRunKeepsTaints",
    status::FROZEN,
    status::SUSPENDED,
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

/// None: the rule is not among those that are decided with, yet or any more.
fn compose(
    shared: &Shared,
    object: &NodeReadinessRule,
    told: &Told,
) -> Option<NodeReadinessRuleStatus> {
    let uid = object.uid().unwrap_or_default();
    let rules = shared.rules();
    let active = rules.active.iter().find(|active| active.rule.uid == uid)?;
    let problem = active.stalled.then(|| {
        let rule = object.to_rule(&shared.limits.prefixes);
        let rule = rule.err().map(|error| error.to_string());
        let selector = || object.selector().err().map(|error| error.to_string());
        let invalid = rule.or_else(selector).map(Against::invalid);
        let problem = invalid.or_else(|| rules.refused.get(&uid).cloned());
        problem.unwrap_or_else(|| Against::invalid("the rule cannot be used".to_owned()))
    });
    let nodes = shared.nodes.state();
    let matched = nodes
        .iter()
        .filter(|node| active.selector.matches(&node.facts.labels))
        .count();
    shared.selects(active, matched);
    let new_nodes = match &problem {
        None => new_nodes(
            active,
            &rules.active,
            &rules.prefixes,
            rules.frozen.is_some(),
            Timestamp::now(),
        )
        .with_what_kubelets_may_not(&object.spec.node_selector),
        Some(Against { reason, message }) => NewNodes {
            held: false,
            reason: (*reason).to_owned(),
            message: message.clone(),
        },
    };
    let reporters = match problem {
        None => shared.reporters.finding(&uid),
        // Nobody looked.
        Some(_) => Finding::NotYet,
    };
    let mut ledger = shared.ledger();
    let entry = ledger.rule(&uid);
    let matching = Matching {
        matched,
        nodes: &entry.nodes,
        stuck: &entry.stuck,
        problem: problem.as_ref(),
        frozen: rules.frozen.as_ref(),
        replaced_exists: (active.rule.replaces.as_ref())
            .is_some_and(|name| shared.objects.get(&ObjectRef::new(name)).is_some()),
        new_nodes: &new_nodes,
        reporters,
    };
    Some(status::compose(told, &active.rule, &matching))
}

fn patch(operations: serde_json::Value) -> Result<json_patch::Patch, RequestError> {
    serde_json::from_value(operations).map_err(|error| RequestError::Other(error.to_string()))
}
