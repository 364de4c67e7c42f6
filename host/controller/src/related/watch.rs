//! Watches objects that belong to nodes, or are about them, from when some policy asks about them until none does.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::WatchParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use planner::Timestamp;
use planner::related::Kind;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::objects::{About, Object};
use super::reads::differs;
use super::{Inner, State};
use crate::client::{RequestError, timely};
use crate::connect::{answer_of, chain};
use crate::policies::LOOK_AGAIN;
use crate::shared::Shared;

/// Watches what is wanted, for ever.
pub(crate) async fn watch(shared: Arc<Shared>, config: watcher::Config) {
    tokio::join!(
        watch_each::<api::Pod>(&shared, &config),
        watch_each::<api::NodeLease>(&shared, &config),
        watch_each::<api::CsiNode>(&shared, &config),
        watch_each::<api::ResourceSlice>(&shared, &config),
        watch_each::<api::DaemonSet>(&shared, &config),
    );
}

/// Watches objects of one kind, as long as they are wanted.
async fn watch_each<T: Object>(shared: &Shared, config: &watcher::Config) {
    let mut wanted = shared.related.wanted.subscribe();
    loop {
        // Whoever could want something is gone, and so is the host.
        if wanted
            .wait_for(|wanted| wanted.contains(&T::KIND))
            .await
            .is_err()
        {
            return std::future::pending().await;
        }
        info!(
            "a policy asks about {}: they are watched from now on",
            T::WORDS
        );
        shared.related.set(T::KIND, State::Waits);
        tokio::select! {
            () = follow::<T>(shared, T::narrow(config.clone())) => {}
            _ = wanted.wait_for(|wanted| !wanted.contains(&T::KIND)) => {}
        }
        shared.related.drop_all(T::KIND);
        info!(
            "no policy asks about {}: they are not watched any more",
            T::WORDS
        );
    }
}

/// Watches objects for ever. While that is refused it is tried again, from the list on: a watch that goes on
/// where one ended says nothing of itself until an object changes.
async fn follow<T: Object>(shared: &Shared, config: watcher::Config) {
    loop {
        let state = match refusal_to_watch::<T>(shared).await {
            Some(state) => state,
            None => State::Refused(until_refused::<T>(shared, config.clone()).await),
        };
        let why = state.why().to_owned();
        if shared.related.set(T::KIND, state) {
            warn!(
                error = why,
                "{} cannot be watched: policies that ask about them do not decide",
                T::WORDS
            );
            policies_due(shared);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Why objects may not be watched, if they may not. A server that streams no lists says so only when all of them
/// were listed, and until then the policies would decide: it is asked before, about no object at all.
async fn refusal_to_watch<T: Object>(shared: &Shared) -> Option<State> {
    let none = WatchParams::default().fields(T::NONE).timeout(1);
    match timely(T::api(shared.client.clone()).watch(&none, "0")).await {
        Err(RequestError::Refused(why)) => Some(State::Refused(why)),
        Err(RequestError::NotFound(why)) => Some(State::NotServed(why)),
        // Whatever else it is, the watch itself meets it as well.
        _ => None,
    }
}

/// Watches objects until the API server says that they may not be listed or watched: what it said.
async fn until_refused<T: Object>(shared: &Shared, config: watcher::Config) -> String {
    let objects = T::api(shared.client.clone());
    loop {
        let events = watcher::watcher(objects.clone(), config.clone()).default_backoff();
        let mut events = pin!(events);
        let mut listed = T::Listed::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = T::Listed::default(),
                Ok(Event::InitApply(object)) => {
                    if object.about() != About::Node("") {
                        object.list(&mut listed);
                    }
                }
                Ok(Event::InitDone) => {
                    let all = std::mem::take(&mut listed);
                    replace(shared, T::KIND, |inner| T::finish(all, inner));
                }
                Ok(Event::Apply(object)) => changed(shared, object, true),
                Ok(Event::Delete(object)) => changed(shared, object, false),
                Err(error) => match answer_of(&error) {
                    Some(status) if status.code == 403 => return status.message.clone(),
                    Some(status) if status.code == 410 => {
                        debug!(error = status.message, "{} are listed again", T::WORDS);
                    }
                    _ => warn!(
                        error = chain(&error),
                        "{} cannot be watched; trying again",
                        T::WORDS
                    ),
                },
            }
        }
    }
}

/// One object is another than before, or gone.
fn changed<T: Object>(shared: &Shared, object: T, is_there: bool) {
    let mut inner = shared.related.lock();
    let nodes = match object.about() {
        About::Node("") => return,
        About::Node(node) => vec![node.to_owned()],
        About::Any if !object.is_news(&inner, is_there) => return,
        About::Any => inner.reads.nodes_that_asked(T::KIND),
    };
    let due = due_after(shared, &mut inner, nodes, |inner| {
        object.apply(inner, is_there)
    });
    drop(inner);
    for node in due {
        shared.nodes_due.add(node);
    }
}

/// All objects of a kind were listed anew.
fn replace(shared: &Shared, kind: Kind, replace: impl FnOnce(&mut Inner)) {
    let mut inner = shared.related.lock();
    let nodes = inner.reads.nodes().cloned().collect();
    let mut before = None;
    let due = due_after(shared, &mut inner, nodes, |inner| {
        replace(inner);
        before = inner.states.insert(kind, State::Synced);
        true
    });
    drop(inner);
    for node in due {
        shared.nodes_due.add(node);
    }
    if before != Some(State::Synced) {
        policies_due(shared);
    }
}

/// Changes what is known, if that is a change: those of these nodes for which a question that was read to decide
/// about them is answered otherwise then. A node that is not there any more is decided about without this.
fn due_after(
    shared: &Shared,
    inner: &mut Inner,
    nodes: Vec<String>,
    change: impl FnOnce(&mut Inner) -> bool,
) -> Vec<String> {
    let asked = nodes.into_iter().filter_map(|name| {
        let questions = Arc::clone(inner.reads.of(&name)?);
        let node = Arc::clone(&shared.nodes.get(&ObjectRef::new(&name))?.facts);
        let before = inner.of(&node);
        Some((node, questions, before))
    });
    let asked: Vec<_> = asked.collect();
    if !change(inner) {
        return Vec::new();
    }
    let now = Timestamp::now();
    let due = asked
        .into_iter()
        .filter(|(node, questions, before)| differs(questions, before, &inner.of(node), now));
    due.map(|(node, ..)| node.name.clone()).collect()
}

/// Policies that ask about such objects may decide now, or not any more.
fn policies_due(shared: &Shared) {
    for policy in shared.policies.get().names() {
        shared.policies_due.add(policy.clone());
    }
}
