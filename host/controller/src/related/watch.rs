//! Watches objects that belong to nodes, from when some policy asks about them until none does.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::Api;
use kube::api::WatchParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use planner::Timestamp;
use planner::related::{Kind, Related};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::pods::Listed;
use super::reads::differs;
use super::{Inner, State};
use crate::client::{RequestError, timely};
use crate::connect::{answer_of, chain};
use crate::policies::LOOK_AGAIN;
use crate::shared::Shared;

/// Watches what is wanted, for ever.
pub(crate) async fn watch(shared: Arc<Shared>, config: watcher::Config) {
    let mut wanted = shared.related.wanted.subscribe();
    loop {
        let is_wanted = |kind| wanted.borrow().contains(&kind);
        if is_wanted(Kind::Pods) {
            info!("a policy asks about the pods on nodes: they are watched from now on");
            shared.related.set(Kind::Pods, State::Waits);
            let config = config.clone().fields(BOUND);
            tokio::select! {
                () = follow_pods(&shared, config) => {}
                _ = wanted.wait_for(|wanted| !wanted.contains(&Kind::Pods)) => {}
            }
            shared.related.drop_all(Kind::Pods);
            info!("no policy asks about the pods on nodes: they are not watched any more");
        } else if wanted.changed().await.is_err() {
            // Whoever could want something is gone, and so is the host.
            return std::future::pending().await;
        }
    }
}

/// Pods that are bound to a node: the others belong to none.
const BOUND: &str = "spec.nodeName!=";

/// Watches pods for ever. While that is refused it is tried again, from the list on: a watch that goes on where
/// one ended says nothing of itself until a pod changes.
async fn follow_pods(shared: &Shared, config: watcher::Config) {
    loop {
        let why = match refusal_to_watch(shared).await {
            Some(why) => why,
            None => until_refused(shared, config.clone()).await,
        };
        let state = State::Refused(why.clone());
        if shared.related.set(Kind::Pods, state) {
            warn!(
                error = why,
                "pods cannot be watched: policies that ask about them do not decide"
            );
            policies_due(shared);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Why pods may not be watched, if they may not. A server that streams no lists says so only when all of them
/// were listed, and until then the policies would decide: it is asked before, about no pod at all.
async fn refusal_to_watch(shared: &Shared) -> Option<String> {
    let pods = Api::<api::Pod>::all(shared.client.clone());
    let none = WatchParams::default()
        .fields("metadata.name=none,metadata.namespace=none")
        .timeout(1);
    match timely(pods.watch(&none, "0")).await {
        Err(RequestError::Refused(why)) => Some(why),
        // Whatever else it is, the watch itself meets it as well.
        _ => None,
    }
}

/// Watches pods until the API server says that they may not be listed or watched: what it said.
async fn until_refused(shared: &Shared, config: watcher::Config) -> String {
    let pods = Api::<api::Pod>::all(shared.client.clone());
    loop {
        let events = watcher::watcher(pods.clone(), config.clone()).default_backoff();
        let mut events = pin!(events);
        let mut listed = Listed::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = Listed::default(),
                Ok(Event::InitApply(pod)) => {
                    if !pod.node.is_empty() && !pod.terminating {
                        listed.add(&pod.node, pod.facts);
                    }
                }
                Ok(Event::InitDone) => {
                    let all = std::mem::take(&mut listed).finish();
                    replace(shared, Kind::Pods, |inner| inner.pods = all);
                }
                Ok(Event::Apply(pod)) => changed(shared, pod, true),
                Ok(Event::Delete(pod)) => changed(shared, pod, false),
                Err(error) => match answer_of(&error) {
                    Some(status) if status.code == 403 => return status.message.clone(),
                    Some(status) if status.code == 410 => {
                        debug!(error = status.message, "pods are listed again");
                    }
                    _ => warn!(
                        error = chain(&error),
                        "pods cannot be watched; trying again"
                    ),
                },
            }
        }
    }
}

/// One pod is another than before, or gone.
fn changed(shared: &Shared, pod: api::Pod, is_there: bool) {
    let node = pod.node.as_str();
    if node.is_empty() {
        return;
    }
    let mut inner = shared.related.lock();
    let before = inner.of(node);
    if !inner
        .pods
        .apply(node, pod.facts, is_there && !pod.terminating)
    {
        return;
    }
    let is_due = is_due(&inner, node, &before);
    drop(inner);
    if is_due {
        shared.nodes_due.add(node.to_owned());
    }
}

/// Is a question that was read to decide about this node answered otherwise now?
fn is_due(inner: &Inner, node: &str, before: &Related) -> bool {
    let questions = inner.reads.of(node);
    questions.is_some_and(|questions| differs(questions, before, &inner.of(node), Timestamp::now()))
}

/// All objects of a kind were listed anew.
fn replace(shared: &Shared, kind: Kind, replace: impl FnOnce(&mut Inner)) {
    let mut inner = shared.related.lock();
    let nodes = inner.reads.nodes();
    let before: Vec<_> = nodes
        .map(|(node, _)| (node.clone(), inner.of(node)))
        .collect();
    replace(&mut inner);
    let state = inner.states.insert(kind, State::Synced);
    let due = before
        .into_iter()
        .filter(|(node, before)| is_due(&inner, node, before));
    let due: Vec<_> = due.map(|(node, _)| node).collect();
    drop(inner);
    for node in due {
        shared.nodes_due.add(node);
    }
    if state != Some(State::Synced) {
        policies_due(shared);
    }
}

/// Policies that ask about such objects may decide now, or not any more.
fn policies_due(shared: &Shared) {
    for policy in shared.policies.get().names() {
        shared.policies_due.add(policy.clone());
    }
}
