//! Whether the rule that a record on a node names is gone, or only not seen.
//!
//! A taint whose record names a rule that nobody has is released. But a rule that exists can be missing from
//! the cache: a watch stands still, a list comes from an old cache of the API server, an object cannot be
//! decoded. So the API server is asked for the UIDs of all rules, now, before a taint goes for that reason.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::NodeReadinessRule;
use kube::api::{Api, ListParams};
use planner::facts::Node;
use planner::ownership;
use planner::rule::TaintPrefixes;
use tokio::time::{Duration, Instant};

use crate::client::{RequestError, within};
use crate::rules::RuleSet;
use crate::shared::Shared;

/// Nodes that wait for the same rule ask once in this time.
const FRESH: Duration = Duration::from_secs(1);

/// What the API server said.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// UIDs of rules that do not exist any more. A UID is never used again.
    gone: HashSet<String>,
    /// UIDs of rules that existed, and when.
    exist: Option<(Instant, HashSet<String>)>,
}

impl Orphans {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// UIDs in the node's records that are of no rule that can be used, and not known to be gone: their
    /// taints stay.
    pub(crate) fn kept(
        &self,
        node: &Node,
        rules: &RuleSet,
        prefixes: &TaintPrefixes,
    ) -> BTreeSet<String> {
        let records = ownership::read(node, prefixes).into_iter();
        let mut uids: BTreeSet<String> = records.map(|record| record.rule_uid).collect();
        for active in &rules.active {
            uids.remove(&active.rule.uid);
        }
        if !uids.is_empty() {
            let known = self.known();
            uids.retain(|uid| !known.gone.contains(uid));
        }
        uids
    }

    /// Is it known of every rule in the node's records whether it exists? Asks, where it is not. False: some exist
    /// that are not in the cache; the node is to be looked at again.
    ///
    /// # Errors
    /// The API server did not say.
    pub(crate) async fn settle(&self, shared: &Shared, node: &Node) -> Result<bool, RequestError> {
        let rules = shared.rules();
        let mut unknown = self.kept(node, &rules, &shared.limits.prefixes);
        unknown.retain(|uid| !rules.stalled.contains(uid));
        if unknown.is_empty() {
            return Ok(true);
        }
        let is_fresh = |known: &Known| {
            let exist = known.exist.as_ref();
            exist.is_some_and(|(asked, exist)| {
                asked.elapsed() < FRESH && unknown.iter().all(|uid| exist.contains(uid))
            })
        };
        if is_fresh(&self.known()) {
            return Ok(false);
        }
        let api = Api::<NodeReadinessRule>::all(shared.client.clone());
        // Without a resource version the answer is as new as the question.
        let parameters = ListParams::default();
        let listed = within(shared.limits.timeout, api.list_metadata(&parameters)).await?;
        let exist: HashSet<String> = (listed.items.into_iter())
            .filter_map(|rule| rule.metadata.uid)
            .collect();
        let gone: Vec<_> = (unknown.iter().filter(|uid| !exist.contains(*uid)))
            .cloned()
            .collect();
        let all = gone.len() == unknown.len();
        let mut known = self.known();
        known.gone.extend(gone);
        known.exist = Some((Instant::now(), exist));
        Ok(all)
    }
}
