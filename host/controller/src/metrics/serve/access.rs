//! Who may read the metrics: the API server says who shows a token, and whether they may.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::client::{RequestError, timely};

/// A token that was granted access is not asked about again for so long.
const REMEMBERED: Duration = Duration::from_secs(60);
/// So many tokens are remembered.
const TOKENS: usize = 256;
/// So many are asked about at the same time: strangers must not load the API server by our hand.
const ASKED: usize = 4;

/// What came of a request's token.
pub(super) enum Access {
    Granted,
    /// No token, or one that nobody knows.
    Unknown,
    /// The user's name.
    Denied(String),
    Failed,
}

pub(super) struct Reviews {
    client: Client,
    asked: Semaphore,
    /// By hash of the token.
    granted: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Reviews {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            asked: Semaphore::new(ASKED),
            granted: Mutex::default(),
        }
    }

    /// May whoever sent these headers read the metrics?
    pub(super) async fn of(&self, headers: &HeaderMap) -> Access {
        let token = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            let token = token.trim();
            (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
        });
        let Some(token) = token else {
            return Access::Unknown;
        };
        let key = Sha256::digest(token).into();
        if self.is_remembered(&key) {
            return Access::Granted;
        }
        let place = self.asked.acquire().await;
        let access = self.ask(token).await.unwrap_or_else(|error| {
            warn!(%error, "who asks for the metrics is not known: tokenreviews and subjectaccessreviews must be creatable");
            Access::Failed
        });
        drop(place);
        if matches!(access, Access::Granted) {
            let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
            if granted.len() >= TOKENS {
                granted.clear();
            }
            granted.insert(key, Instant::now());
        }
        access
    }

    fn is_remembered(&self, key: &[u8; 32]) -> bool {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.get(key).is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    async fn ask(&self, token: &str) -> Result<Access, RequestError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let answer = timely(reviews.create(&PostParams::default(), &review)).await?;
        let status = answer.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Access::Unknown);
        };
        let name = user.username.clone().unwrap_or_default();
        let review = SubjectAccessReview {
            spec: subject(user),
            ..SubjectAccessReview::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = timely(reviews.create(&PostParams::default(), &review)).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok(if allowed {
            Access::Granted
        } else {
            Access::Denied(name)
        })
    }
}

fn subject(user: UserInfo) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some("/metrics".to_owned()),
            verb: Some("get".to_owned()),
        }),
        ..SubjectAccessReviewSpec::default()
    }
}
