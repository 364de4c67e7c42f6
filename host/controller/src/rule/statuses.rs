//! The statuses that were written, and what the server made of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::NodeReadinessRule;
use api::rule::status::NodeReadinessRuleStatus;
use kube::ResourceExt;
use planner::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use crate::client::Stored;
use crate::shared::Shared;
use crate::status::{self, Told};

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
pub(super) struct Last {
    /// Of the rule: another may have its name by now.
    pub(super) uid: String,
    pub(super) at: Instant,
    /// What was sent, and what the server made of it: another CRD may drop fields.
    pub(super) sent: NodeReadinessRuleStatus,
    pub(super) stored: Outcome,
}

/// What the server made of a status. Its answer does not say: it would be the whole object.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The watch has not shown it yet; the resource version of the rule with it.
    NotSeen(String),
    /// As the watch showed it.
    Seen(Option<Box<NodeReadinessRuleStatus>>),
}

impl Last {
    /// Takes what the watch shows, where it is what this write led to. Says whether it is.
    fn see(&mut self, object: &NodeReadinessRule) -> bool {
        let Outcome::NotSeen(version) = &self.stored else {
            return false;
        };
        let is_it = object.resource_version().as_ref() == Some(version);
        if is_it {
            self.stored = Outcome::Seen(object.status.clone().map(Box::new));
        }
        is_it
    }

    /// Would it say nothing new to write this?
    pub(super) fn makes_needless(
        &self,
        desired: &NodeReadinessRuleStatus,
        object: &NodeReadinessRule,
    ) -> bool {
        let shown = object.status.as_ref();
        let is_there = match &self.stored {
            // Also its times are as they were stored: nobody else knows them.
            Outcome::Seen(stored) => stored.as_deref() == shown,
            Outcome::NotSeen(version) => {
                Stored::is_newer(version, object.resource_version().as_deref())
                    // Another write came on top before the watch showed it. Its times may be another's.
                    || shown.is_some_and(|shown| *shown == self.sent)
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

    /// What was written last of a rule, and when it had which condition; none if it is too early to write
    /// again: then the rule comes back.
    pub(super) fn due(
        &self,
        shared: &Shared,
        object: &NodeReadinessRule,
    ) -> Option<(Option<Last>, Told)> {
        let name = object.name_any();
        let mut last = self.last(&name, &object.uid().unwrap_or_default());
        if let Some(last) = &mut last
            && last.see(object)
        {
            // Each status of ours has conditions.
            self.tell_of_another_definition(object.status.as_ref());
            self.remember(&name, Some(last.clone()));
        }
        let waited = last.as_ref().map(|last| last.at.elapsed());
        let waited = waited.unwrap_or(STATUS_INTERVAL);
        if waited < STATUS_INTERVAL {
            let wait = STATUS_INTERVAL.saturating_sub(waited);
            shared.rules_due.add_after(name, wait);
            return None;
        }
        let sent = last.as_ref().map(|last| &last.sent);
        let told = Told::of(object, sent, Timestamp::now());
        Some((last, told))
    }

    /// Trusts none of them any more.
    pub(crate) fn clear(&self) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(super) fn remember(&self, name: &str, last: Option<Last>) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(version: &str, time: &str) -> NodeReadinessRule {
        let condition = json!({"type": "Ready", "status": "True", "observedGeneration": 1,
                               "lastTransitionTime": time, "reason": "Enforced", "message": ""});
        serde_json::from_value(json!({
            "metadata": {"name": "agent", "uid": "u-1", "resourceVersion": version},
            "spec": {"conditions": [{"type": "A", "requiredStatus": "True"}],
                     "enforcementMode": "continuous", "nodeSelector": {},
                     "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"}},
            "status": {"conditions": [condition]}}))
        .unwrap()
    }

    #[test]
    fn a_write_on_top_before_the_watch_showed_ours_is_seen_by_its_times_too() {
        let [ours, theirs] = ["2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z"];
        let sent = object("5", ours).status.unwrap();
        let last = Last {
            uid: "u-1".to_owned(),
            at: Instant::now(),
            sent: sent.clone(),
            stored: Outcome::NotSeen("5".to_owned()),
        };
        let needless = |version, time| last.makes_needless(&sent, &object(version, time));
        assert!(needless("4", theirs), "it does not show ours yet");
        assert!(needless("7", ours), "something else was written");
        assert!(!needless("7", theirs));
    }
}
