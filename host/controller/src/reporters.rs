//! The deadlock that everybody builds once: pods that report a condition, and do not tolerate the taint that
//! waits for it; or the reporters of several rules that keep each other away.
//!
//! DaemonSets are not watched: they are listed when rules change, and now and then. Whoever may not list
//! them loses this check and nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::daemon_set::{DaemonSet, keeps_away, rings};
use kube::Client;
use kube::api::Api;
use planner::rule::TaintPrefixes;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::client::{RequestError, all_pages, within};
use crate::decide::ActiveRule;
use crate::shared::Shared;

/// The condition of a rule that says it.
pub(crate) const CONDITION: &str = "ReporterBlocked";
/// DaemonSets change now and then, and nobody tells.
const LOOK: Duration = Duration::from_secs(2 * 60);
/// Somebody who is mending it wants to see that it is mended.
const LOOK_WHILE_BLOCKED: Duration = Duration::from_secs(15);
/// Rules that are applied together are looked at together.
const TOGETHER: Duration = Duration::from_millis(500);
/// Whoever creates a rule does not wait longer for a warning.
const PATIENCE: Duration = Duration::from_secs(2);
/// DaemonSets in one answer.
const PAGE: u32 = 250;

/// What is known of the DaemonSets that report.
#[derive(Debug, Default)]
pub(crate) struct Reporters {
    /// They may not be listed. Not asked again: each process is told once.
    refused: AtomicBool,
    /// What blocks the reporters of a rule, by its UID; rules of which nobody is blocked are not there. None
    /// before the first look.
    blocked: Mutex<Option<BTreeMap<String, String>>>,
    rules_changed: Notify,
}

/// What is known of those who report what a rule waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nobody looked yet.
    NotYet,
    /// This host may not look.
    Never,
    /// Nobody is blocked.
    Free,
    /// Who is blocked, and what to do.
    Blocked(String),
}

impl Reporters {
    /// The rules are others than before.
    pub(crate) fn rules_changed(&self) {
        self.rules_changed.notify_one();
    }

    /// What is known of those who report what this rule waits for.
    pub(crate) fn finding(&self, rule_uid: &str) -> Finding {
        if self.refused.load(Ordering::Relaxed) {
            return Finding::Never;
        }
        match &*self.known() {
            None => Finding::NotYet,
            Some(blocked) => {
                (blocked.get(rule_uid).cloned()).map_or(Finding::Free, Finding::Blocked)
            }
        }
    }

    /// Somebody else may have looked meanwhile.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<BTreeMap<String, String>>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What somebody who creates this rule should know. Nothing if it cannot be found out quickly.
    pub(crate) async fn warnings(
        &self,
        client: &Client,
        rule: &api::NodeReadinessRule,
        prefixes: &TaintPrefixes,
    ) -> Vec<String> {
        let (Ok(planned), Ok(selector)) = (rule.to_rule(prefixes), rule.selector()) else {
            return Vec::new();
        };
        if !keeps_away(&planned) {
            return Vec::new();
        }
        let Ok(Some(sets)) = timeout(PATIENCE, self.list(client, PATIENCE)).await else {
            return Vec::new();
        };
        let blocked = sets
            .iter()
            .filter_map(|set| set.blocked_by(&planned, &selector));
        blocked.map(|blocked| blocked.to_string()).collect()
    }

    /// All of them; none where they cannot be had.
    async fn list(&self, client: &Client, patience: Duration) -> Option<Vec<DaemonSet>> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let api = &Api::<DaemonSet>::all(client.clone());
        let page = |page| async move { within(patience, api.list(&page)).await };
        match all_pages(PAGE, page).await {
            Ok(listed) => Some(listed),
            Err(RequestError::Refused(_)) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    info!(
                        "this host cannot list resource \"daemonsets\" in API group apps: it does not warn where the pods that \
                         report a condition do not tolerate the taint that waits for it; all else works"
                    );
                }
                None
            }
            Err(error) => {
                debug!(%error, "DaemonSets cannot be listed; trying again later");
                None
            }
        }
    }
}

/// Looks whenever rules change, and from time to time, for ever.
pub(crate) async fn watch(shared: &Shared) {
    let reporters = &shared.reporters;
    loop {
        look(shared).await;
        let is_blocked = (reporters.known().as_ref()).is_some_and(|blocked| !blocked.is_empty());
        let pause = if is_blocked { LOOK_WHILE_BLOCKED } else { LOOK };
        tokio::select! {
            () = reporters.rules_changed.notified() => sleep(TOGETHER).await,
            () = sleep(pause) => {}
        }
    }
}

async fn look(shared: &Shared) {
    let rules = shared.rules();
    let usable = || usable(&rules.active);
    let may_be_blocked = usable().any(|active| keeps_away(&active.rule));
    let sets = if may_be_blocked {
        let client = &shared.client;
        match shared.reporters.list(client, shared.limits.timeout).await {
            Some(sets) => sets,
            None => return,
        }
    } else {
        Vec::new()
    };
    // With many rules it takes longer than others should wait.
    let asked = Arc::clone(&rules);
    let Ok(found) = spawn_blocking(move || blocked(&asked.active, &sets)).await else {
        return;
    };
    let before = shared.reporters.known().replace(found.clone());
    for active in usable() {
        let rule = &active.rule;
        let was = before.as_ref().map(|before| before.get(&rule.uid));
        let now = found.get(&rule.uid);
        if was == Some(now) {
            continue;
        }
        if was.is_some() && now.is_none() {
            info!(
                rule = rule.name,
                "no taint of a rule keeps away the pods that report what the rule waits for any more"
            );
            // If it comes again it is news again.
            shared.events.settled(&rule.uid, CONDITION);
        }
        shared.status_due(&rule.name);
    }
}

fn usable(active: &[ActiveRule]) -> impl Iterator<Item = &ActiveRule> {
    active.iter().filter(|active| !active.stalled)
}

/// What keeps the reporters of rules away, by their UIDs.
fn blocked(active: &[ActiveRule], sets: &[DaemonSet]) -> BTreeMap<String, String> {
    let rules: Vec<_> = usable(active)
        .map(|active| (&*active.rule, &*active.selector))
        .collect();
    let rings = rings(&rules, sets);
    let mut found = BTreeMap::new();
    for ((rule, selector), rings) in rules.iter().zip(rings) {
        let own = sets.iter().filter_map(|set| set.blocked_by(rule, selector));
        let mut own: Vec<_> = own.collect();
        own.sort();
        let own = own.iter().map(ToString::to_string);
        let told: Vec<_> = own.chain(rings.iter().map(ToString::to_string)).collect();
        if !told.is_empty() {
            found.insert(rule.uid.clone(), told.join("; "));
        }
    }
    found
}
