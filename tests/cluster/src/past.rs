//! An API server whose watch cache is behind: whoever lists again after a reconnect is shown what was so
//! a while ago, under the resource version of that time, and then what happened since.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::proxy::{Answer, LISTS};

/// A watch that breaks again and again is tried again after a minute at last.
const LISTS_AGAIN: Duration = Duration::from_secs(3 * 60);

/// What was so when it was remembered, and whether that is still shown.
pub struct Past {
    /// By the path of the list.
    lists: Mutex<HashMap<&'static str, Value>>,
    behind: watch::Sender<bool>,
    /// Does it also show the past to those who ask for what is so now? No API server should.
    always: bool,
    shown: watch::Sender<usize>,
}

impl Past {
    /// With nothing to show yet. A server that keeps the rules shows an old state only to those who say
    /// that any will do (`resourceVersion=0`); `always`: to everybody.
    pub fn new(always: bool) -> Self {
        Self {
            lists: Mutex::default(),
            behind: watch::Sender::new(false),
            always,
            shown: watch::Sender::new(0),
        }
    }

    /// Remembers what is so now of the nodes, or the rules, or both: what the paths of the lists contain.
    /// Only of those with these labels, as far as there are any.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn remember(
        &self,
        client: &Client,
        what: &str,
        selector: &str,
    ) -> anyhow::Result<()> {
        for path in LISTS.into_iter().filter(|path| path.contains(what)) {
            let uri = format!("{path}?labelSelector={}", selector.replace('=', "%3D"));
            let list: Value = client.request(Request::get(uri).body(Vec::new())?).await?;
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.insert(path, list);
        }
        Ok(())
    }

    /// From now on the server is behind, or has caught up.
    pub fn show(&self, behind: bool) {
        self.behind.send_replace(behind);
    }

    /// Waits until it has caught up. Nothing that is remembered from then on mixes with what was shown before.
    ///
    /// # Errors
    /// It is behind for longer than a host waits that lists again.
    pub async fn until_current(&self) -> anyhow::Result<()> {
        let mut behind = self.behind.subscribe();
        let current = timeout(LISTS_AGAIN, behind.wait_for(|behind| !behind));
        current.await.context("nobody lists again")??;
        Ok(())
    }

    /// How many lists it answered from the past.
    pub fn shown(&self) -> usize {
        *self.shown.borrow()
    }

    /// Waits until it answered so many lists from the past.
    pub async fn until_shown(&self, lists: usize) {
        // It is there as long as this is.
        let _ = self
            .shown
            .subscribe()
            .wait_for(|shown| *shown >= lists)
            .await;
    }

    /// The answer to a streaming list, if it is one that is answered from the past.
    pub(crate) fn answer(&self, client: &Client, uri: &Uri) -> Option<Response<Answer>> {
        let query = uri.query().unwrap_or_default();
        let any_will_do = query.split('&').any(|part| part == "resourceVersion=0");
        let is_list = query.contains("sendInitialEvents=true");
        if !is_list || !*self.behind.borrow() || !(any_will_do || self.always) {
            return None;
        }
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists.get(uri.path())?;
        let (events, version) = events(list)?;
        let since = resume(uri, &version);
        self.shown.send_modify(|shown| *shown += 1);
        let (client, mut behind) = (client.clone(), self.behind.subscribe());
        let rest = async move {
            // Nobody sets it any more: the same.
            let _ = behind.wait_for(|behind| !behind).await;
            let request = Request::get(since?).body(Body::empty())?;
            let answer = client.send(request).await?;
            let body = answer.into_body().into_data_stream();
            anyhow::Ok(body.map_err(anyhow::Error::from))
        };
        let rest = futures::stream::once(rest).try_flatten();
        let first = futures::stream::once(async { Ok(events.into()) });
        let frames = first
            .chain(rest)
            .map_ok(Frame::data)
            .map_err(io::Error::other);
        Some(Response::new(StreamBody::new(frames).boxed_unsync()))
    }
}

/// A list as the events of a streaming list, and its resource version.
fn events(list: &Value) -> Option<(String, String)> {
    let version = list["metadata"]["resourceVersion"].as_str()?.to_owned();
    let kind = list["kind"].as_str()?.trim_end_matches("List");
    let typed = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = list["apiVersion"].clone();
        object["kind"] = kind.into();
        object
    };
    let added = |object| format!("{}\n", json!({ "type": "ADDED", "object": typed(object) }));
    let mut text: String = list["items"].as_array()?.iter().map(added).collect();
    let end = json!({ "type": "BOOKMARK", "object": typed(&json!({ "metadata": {
        "resourceVersion": version, "annotations": { "k8s.io/initial-events-end": "true" },
    }}))});
    text.push_str(&format!("{end}\n"));
    Some((text, version))
}

/// The same watch, from a resource version on.
fn resume(uri: &Uri, version: &str) -> anyhow::Result<Uri> {
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| {
        let ends = [
            "resourceVersion=",
            "resourceVersionMatch=",
            "sendInitialEvents=",
        ];
        !part.is_empty() && !ends.iter().any(|end| part.starts_with(end))
    });
    let query: Vec<&str> = parts.collect();
    let query = query.join("&");
    let uri = format!("{}?{query}&resourceVersion={version}", uri.path());
    uri.parse().context("a watch")
}
