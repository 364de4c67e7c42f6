//! Watches `ReadinessPolicy` objects where there are any: a cluster without the definition works as before.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::ReadinessPolicy;
use futures::StreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource, ResourceExt};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::client::{RequestError, timely};
use crate::connect::{answer_of, chain};
use crate::shared::Shared;

/// How often it is looked whether the definition is there, where it is not, or whether the right is.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long the first decision waits for policies: the rules of the others must not wait for a registry
/// that does not answer.
const FIRST: Duration = Duration::from_secs(30);

/// Whether each policy that was there at the start was tried once.
#[derive(Debug)]
pub(crate) struct First {
    waiting: Mutex<Option<BTreeSet<String>>>,
    synced: tokio::sync::watch::Sender<bool>,
}

impl First {
    pub(crate) fn new(synced: tokio::sync::watch::Sender<bool>) -> Self {
        Self {
            waiting: Mutex::new(None),
            synced,
        }
    }

    /// These are there.
    fn are(&self, names: impl Iterator<Item = String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.get_or_insert_with(|| names.collect());
        if waiting.is_empty() {
            self.synced.send_replace(true);
        }
    }

    /// This one was tried, whatever came of it.
    pub(super) fn tried(&self, name: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = &mut *waiting
            && waiting.remove(name)
            && waiting.is_empty()
        {
            self.synced.send_replace(true);
        }
    }

    /// There are none, or nobody waits any longer.
    fn is_over(&self) {
        self.synced.send_replace(true);
    }
}

/// Watches for ever.
pub(crate) async fn watch(
    shared: Arc<Shared>,
    mut writer: Writer<ReadinessPolicy>,
    config: watcher::Config,
    first: Arc<First>,
) {
    let end = Instant::now() + FIRST;
    let waited = async {
        sleep_until(end).await;
        first.is_over();
        std::future::pending::<()>().await;
    };
    let watching = async {
        let mut told = false;
        loop {
            match is_served(&shared).await {
                Ok(true) => {
                    let refused = follow(&shared, &mut writer, config.clone(), &first).await;
                    let error = chain(&refused.error);
                    if refused.is_gone {
                        debug!(error, "the definition of ReadinessPolicy is gone");
                    } else if !told {
                        warn!(
                            error,
                            "ReadinessPolicies cannot be watched: rules that name one are Stalled; the host needs the rights \
                             to list and watch readinesspolicies"
                        );
                        told = true;
                    }
                }
                Ok(false) => debug!("there is no definition of ReadinessPolicy"),
                Err(error) => {
                    warn!(%error, "it is not known whether there are ReadinessPolicies; asking again")
                }
            }
            first.is_over();
            sleep(LOOK_AGAIN).await;
        }
    };
    tokio::join!(waited, watching);
}

/// Does the API server know such objects?
async fn is_served(shared: &Shared) -> Result<bool, RequestError> {
    let group = ReadinessPolicy::api_version(&()).into_owned();
    let plural = ReadinessPolicy::plural(&());
    match timely(shared.client.list_api_group_resources(&group)).await {
        Ok(list) => Ok(list
            .resources
            .iter()
            .any(|resource| resource.name == plural)),
        Err(RequestError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The API server is against a watch.
struct Refused {
    error: watcher::Error,
    /// There is no such definition any more; else the right is missing.
    is_gone: bool,
}

/// Watches until that is refused.
async fn follow(
    shared: &Shared,
    writer: &mut Writer<ReadinessPolicy>,
    config: watcher::Config,
    first: &First,
) -> Refused {
    let api = Api::<ReadinessPolicy>::all(shared.client.clone());
    loop {
        let events = watch_objects(api.clone(), config.clone()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if let ControlFlow::Break(refused) = changed(shared, writer, event, first) {
                return refused;
            }
        }
    }
}

fn changed(
    shared: &Shared,
    writer: &mut Writer<ReadinessPolicy>,
    event: watcher::Result<Event<ReadinessPolicy>>,
    first: &First,
) -> ControlFlow<Refused> {
    match event {
        Ok(event) => {
            writer.apply_watcher_event(&event);
            shared.policies_seen.send_replace(());
            match event {
                Event::Apply(policy) | Event::Delete(policy) => {
                    shared.policies_due.add(policy.name_any());
                }
                Event::InitDone => {
                    let there: Vec<String> = writer
                        .as_reader()
                        .state()
                        .iter()
                        .map(|policy| policy.name_any())
                        .collect();
                    info!(policies = there.len(), "ReadinessPolicies are watched");
                    let known = shared.policies.get();
                    // One that went while nobody watched has no event of its own.
                    for name in there.iter().chain(known.names()) {
                        shared.policies_due.add(name.clone());
                    }
                    first.are(there.into_iter());
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
        Err(error) if matches!(code(&error), Some(403 | 404)) => {
            return ControlFlow::Break(Refused {
                is_gone: code(&error) == Some(404),
                error,
            });
        }
        // The API server ends every watch when the definition changes.
        Err(watcher::Error::WatchError(status)) if status.code == 410 => {
            debug!(error = status.message, "policies are listed again");
        }
        Err(error) => warn!(
            error = chain(&error),
            "policies cannot be watched; trying again"
        ),
    }
    ControlFlow::Continue(())
}

/// The HTTP status that a watch was refused with.
fn code(error: &watcher::Error) -> Option<u16> {
    answer_of(error).map(|status| status.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decision_waits_for_each_policy_that_was_there() {
        let synced = tokio::sync::watch::Sender::new(false);
        let first = First::new(synced.clone());
        first.tried("early");
        first.are(["a", "b"].map(String::from).into_iter());
        first.tried("a");
        first.tried("other");
        assert!(!*synced.borrow());
        // Listed again.
        first.are(["a", "b", "c"].map(String::from).into_iter());
        assert!(!*synced.borrow());
        first.tried("b");
        assert!(*synced.borrow());

        let synced = tokio::sync::watch::Sender::new(false);
        First::new(synced.clone()).are(std::iter::empty());
        assert!(*synced.borrow());
    }
}
