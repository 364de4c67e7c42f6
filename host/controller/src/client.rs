//! Requests to the API server: each with a time limit, and none asking for more than is needed.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, ObjectList, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::connect::chain;
use crate::gate::NotLeading;

/// The API server answers within a minute or ends the request; a lost connection never answers.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// Somebody else was faster.
    #[error("{0}")]
    Conflict(String),
    /// What the patch tested is not so any more; or validation, admission or authorization is against
    /// what it would make.
    #[error("{0}")]
    Refused(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// Another host leads, or this one does not know: it was not sent, or cut off.
    #[error("{0}")]
    NotLeading(NotLeading),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl RequestError {
    /// For a request that is as good as done where somebody else was faster.
    pub(crate) fn accept_conflict(self) -> Result<(), Self> {
        match self {
            Self::Conflict(_) => Ok(()),
            other => Err(other),
        }
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn timely<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RequestError> {
    within(TIMEOUT, request).await
}

/// Waits for an answer, but not longer than this.
pub(crate) async fn within<T>(
    timeout: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RequestError> {
    let Ok(answer) = tokio::time::timeout(timeout, request).await else {
        let seconds = timeout.as_secs_f64();
        return Err(RequestError::Other(format!("no answer within {seconds} s")));
    };
    answer.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 409 => {
            RequestError::Conflict(status.message.clone())
        }
        // A failed test of a JSON patch is 422 with the reason Invalid and no details.
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
            RequestError::Refused(status.message.clone())
        }
        kube::Error::Api(status) if status.code == 404 => {
            RequestError::NotFound(status.message.clone())
        }
        kube::Error::Api(status) => {
            RequestError::Other(format!("{} ({})", status.message, status.code))
        }
        kube::Error::Service(source) if source.is::<NotLeading>() => {
            RequestError::NotLeading(NotLeading)
        }
        other => RequestError::Other(chain(other)),
    })
}

/// All objects of a list, page by page.
pub(crate) async fn all_pages<K, E, F>(
    size: u32,
    ask: impl Fn(ListParams) -> F,
) -> Result<Vec<K>, E>
where
    K: Clone,
    F: Future<Output = Result<ObjectList<K>, E>>,
{
    let mut listed = Vec::new();
    let mut page = ListParams::default().limit(size);
    loop {
        let list = ask(page.clone()).await?;
        listed.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(listed),
        }
    }
}

/// What an answer to a patch is read for. Of the rest, mostly managed fields, nothing is kept.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) metadata: Version,
}

/// Which version of an object it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl Stored {
    /// Is what was seen older than this? Resource versions of one resource are ordered numbers
    /// (KEP-5504); where they are not, it is not known, and not taken for older.
    pub(crate) fn is_newer(ours: &str, seen: Option<&str>) -> bool {
        let number = |version: &str| version.parse::<u128>().ok();
        match (seen.and_then(number), number(ours)) {
            (Some(seen), Some(ours)) => seen < ours,
            _ => false,
        }
    }
}

/// Sends a JSON patch of a status.
pub(crate) async fn patch_status<K>(
    api: &Api<K>,
    name: &str,
    patch: json_patch::Patch,
    timeout: Duration,
) -> Result<Stored, RequestError>
where
    K: Resource + Clone,
{
    let (parameters, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    let request = Request::new(api.resource_url())
        .patch_subresource("status", name, &parameters, &patch)
        .map(metadata_only)
        .map_err(|error| RequestError::Other(error.to_string()))?;
    within(timeout, api.clone().into_client().request(request)).await
}

/// Nobody needs the object back.
fn metadata_only(request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    let (mut parts, body) = request.into_parts();
    let metadata_only = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    parts
        .headers
        .insert("accept", http::HeaderValue::from_static(metadata_only));
    http::Request::from_parts(parts, body)
}

/// Sends a JSON patch.
pub(crate) async fn patch_metadata<K>(
    api: &Api<K>,
    name: &str,
    patch: json_patch::Patch,
    timeout: Duration,
) -> Result<Stored, RequestError>
where
    K: Resource + Clone,
{
    let (parameters, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    let request = Request::new(api.resource_url())
        .patch_metadata(name, &parameters, &patch)
        .map_err(|error| RequestError::Other(error.to_string()))?;
    within(timeout, api.clone().into_client().request(request)).await
}

/// Stores an event.
pub(crate) async fn create_event(
    client: &Client,
    event: &Event,
    timeout: Duration,
) -> Result<(), RequestError> {
    let body = serde_json::to_vec(event).map_err(|error| RequestError::Other(error.to_string()))?;
    let request = Request::new("/apis/events.k8s.io/v1/namespaces/default/events")
        .create(&PostParams::default(), body)
        .map(metadata_only)
        .map_err(|error| RequestError::Other(error.to_string()))?;
    within(timeout, client.request::<IgnoredAny>(request))
        .await
        .map(drop)
}
