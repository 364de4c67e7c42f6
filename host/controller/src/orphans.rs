//! Whether the rule that a record on a node names is gone, or only not seen.
//!
//! A taint whose record names a rule that nobody has is released. But a rule that exists can be missing from
//! the cache: a watch stands still, a list comes from an old cache of the API server, an object cannot be
//! decoded. So the API server is asked for the UIDs of all rules, now, before a taint goes for that reason, or
//! the completion of a bootstrap.

use std::collections::{BTreeSet, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::NodeReadinessRule;
use kube::api::{Api, ListParams};
use planner::facts::Node;
use planner::{bootstrap, ownership};
use tokio::time::{Duration, Instant};

use crate::client::{RequestError, within};
use crate::rules::RuleSet;
use crate::shared::Shared;

/// The API server is asked once in this time: anybody who may write a node's annotations makes us ask.
const FRESH: Duration = Duration::from_secs(1);
/// So many UIDs that are gone are remembered, and as many before them. One that is forgotten is asked about
/// again.
const REMEMBERED: usize = 4096;

/// What the API server said.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// UIDs of rules that do not exist any more, the latest and those before. A UID is never used again.
    gone: [HashSet<String>; 2],
    asked: Option<Instant>,
}

impl Known {
    fn is_gone(&self, uid: &str) -> bool {
        self.gone.iter().any(|gone| gone.contains(uid))
    }

    fn remember(&mut self, gone: impl Iterator<Item = String>) {
        let [latest, before] = &mut self.gone;
        if latest.len() >= REMEMBERED {
            *before = mem::take(latest);
        }
        latest.extend(gone);
    }
}

/// UIDs that a node names, of rules that are not in the cache.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    /// They may exist: what they did stays.
    pub(crate) kept: BTreeSet<String>,
    /// They do not exist any more.
    pub(crate) gone: BTreeSet<String>,
}

impl Orphans {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules that the node's records and completions name, and that are not in the cache.
    pub(crate) fn absent(&self, node: &Node, rules: &RuleSet) -> Absent {
        let records = ownership::read(node, &rules.prefixes).into_iter();
        let mut named: BTreeSet<String> = records.map(|record| record.rule_uid).collect();
        named.extend(bootstrap::uids(node).map(str::to_owned));
        if named.is_empty() {
            return Absent::default();
        }
        for active in &rules.active {
            named.remove(&active.rule.uid);
            // A rule may have the UID of another for its name, and a completion under that.
            named.remove(&active.rule.name);
        }
        let known = self.known();
        let (gone, kept) = named.into_iter().partition(|uid| known.is_gone(uid));
        Absent { kept, gone }
    }

    /// Is it known of every rule that the node names whether it exists? Asks, where it is not. False: some exist
    /// that are not in the cache, or it was asked just now; the node is to be looked at again.
    ///
    /// # Errors
    /// The API server did not say.
    pub(crate) async fn settle(&self, shared: &Shared, node: &Node) -> Result<bool, RequestError> {
        let rules = shared.rules();
        let unknown = self.absent(node, &rules).kept;
        if unknown.is_empty() {
            return Ok(true);
        }
        {
            let mut known = self.known();
            // An answer says nothing about a rule that was created after it.
            if known.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
                return Ok(false);
            }
            known.asked = Some(Instant::now());
        }
        let api = Api::<NodeReadinessRule>::all(shared.client.clone());
        // Without a resource version the answer is as new as the question.
        let parameters = ListParams::default();
        let listed = within(shared.limits.timeout, api.list_metadata(&parameters)).await?;
        let exist = listed.items.into_iter().map(|rule| rule.metadata);
        let exist: HashSet<String> = exist
            .flat_map(|rule| [rule.uid, rule.name])
            .flatten()
            .collect();
        let all = !unknown.iter().any(|uid| exist.contains(uid));
        let gone = unknown.into_iter().filter(|uid| !exist.contains(uid));
        self.known().remember(gone);
        Ok(all)
    }
}
