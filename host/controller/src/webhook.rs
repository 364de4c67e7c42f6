//! The validating webhook: the API server asks whether a rule may be stored.

mod managed;
mod material;
mod terms;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::NodeReadinessRule;
use api::admission::{Change, Existing, FieldError};
use futures::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use planner::rule::TaintPrefixes;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::info;

use crate::certificates::{CertificateError, Files, Served};
use crate::client::timely;
use crate::events::Events;
use crate::options::{Certificates, Webhook};
use crate::policies::{Live, Policies};
use crate::reporters::Reporters;
use managed::Managed;
use serve::Server;

/// Two rules, of which each is at most as large as etcd takes one.
const LARGEST_REVIEW: usize = 4 << 20;
/// The API server waits ten seconds; what it says when nobody answers helps nobody.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is no certificate, or none that can be used.
    #[error(
        "the webhook has no {0}; mount a Secret of type kubernetes.io/tls there, or let the host manage one: --webhook-manage-certificates"
    )]
    Certificate(#[from] CertificateError),
    /// The address cannot be served.
    #[error(
        "the webhook cannot be served at {address}: {error}; --webhook-bind-address gives another"
    )]
    Address {
        /// As given.
        address: std::net::SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The TLS library refuses its own defaults: a defect.
    #[error("the webhook has no TLS: {0}; please report this")]
    Tls(#[from] rustls::Error),
}

/// What the webhook shares with the control loop.
pub(crate) struct Known {
    pub(crate) rules: Store<NodeReadinessRule>,
    pub(crate) policies: Arc<Live>,
    pub(crate) prefixes: TaintPrefixes,
    pub(crate) reporters: Arc<Reporters>,
    pub(crate) events: Events,
}

/// A webhook whose port is bound and whose certificate was looked at.
pub(crate) struct Bound {
    server: Server,
    served: Arc<Served>,
    source: Source,
}

enum Source {
    Files(Files),
    Managed {
        namespace: Option<String>,
        secret: String,
        configuration: String,
    },
}

impl Bound {
    /// Needs no cluster, so that a missing certificate is known at once.
    pub(crate) async fn new(options: Webhook) -> Result<Self, WebhookError> {
        let Webhook {
            address,
            certificates,
        } = options;
        let source = match certificates {
            Certificates::Folder(folder) => Source::Files(Files::load(&folder)?),
            Certificates::Managed {
                namespace,
                secret,
                configuration,
            } => Source::Managed {
                namespace,
                secret,
                configuration,
            },
        };
        let served = Arc::new(Served::default());
        let server = Server::bind(address)
            .await
            .map_err(|error| WebhookError::Address { address, error })?
            .with_tls(serve::tls(Arc::clone(&served) as _)?);
        Ok(Self {
            server,
            served,
            source,
        })
    }

    /// The certificate, for whoever wants to know how long it is good.
    pub(crate) fn certificate(&self) -> Arc<Served> {
        Arc::clone(&self.served)
    }

    /// Answers until `end` is true.
    pub(crate) async fn serve(self, client: Client, shared: Known, end: watch::Receiver<bool>) {
        let Self {
            server,
            served,
            source,
        } = self;
        if let Ok(address) = server.address() {
            info!(%address, "the webhook is served");
        }
        let reviewer = Arc::new(Reviewer {
            client: client.clone(),
            rules: shared.rules,
            existing: Mutex::default(),
            policies: shared.policies,
            prefixes: shared.prefixes,
            reporters: shared.reporters,
        });
        let answer = move |request| answer(Arc::clone(&reviewer), request);
        let keep_certificate = async {
            match source {
                Source::Files(files) => files.watch(served).await,
                Source::Managed {
                    namespace,
                    secret,
                    configuration,
                } => {
                    let (client, events) = (&client, shared.events);
                    Managed::new(client, namespace, secret, configuration, served, events)
                        .run()
                        .await;
                }
            }
        };
        tokio::select! {
            () = server.serve(answer, end) => {}
            () = keep_certificate => {}
        }
    }
}

/// Knows the rules.
struct Reviewer {
    client: Client,
    rules: Store<NodeReadinessRule>,
    /// The rules as they were compared last, by name: to take a selector apart takes longer than to
    /// compare it.
    existing: Mutex<Arc<HashMap<String, Arc<Existing>>>>,
    policies: Arc<Live>,
    prefixes: TaintPrefixes,
    reporters: Arc<Reporters>,
}

impl Reviewer {
    async fn review(&self, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let mut response = AdmissionResponse::from(request);
        match self.judge(request).await {
            Ok(warnings) => {
                response.warnings = Some(warnings).filter(|warnings| !warnings.is_empty());
                response
            }
            Err(refusal) => {
                info!(
                    rule = request.name,
                    user = request.user_info.username,
                    refusal,
                    "a rule is refused"
                );
                response = response.deny(refusal);
                response.result.code = StatusCode::FORBIDDEN.as_u16();
                "Forbidden".clone_into(&mut response.result.reason);
                response
            }
        }
    }

    /// Warnings, or a refusal.
    async fn judge(
        &self,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Vec<String>, String> {
        let (new, old);
        let change = match request.operation {
            Operation::Delete | Operation::Connect => Change::Delete,
            Operation::Create => {
                new = rule(request.object.as_ref())?;
                Change::Create { new: &new }
            }
            Operation::Update => {
                new = rule(request.object.as_ref())?;
                old = rule(request.old_object.as_ref())?;
                Change::Update {
                    old: &old,
                    new: &new,
                }
            }
        };
        let others = if change.wants_others() {
            self.known(self.rules().await?)
        } else {
            Arc::default()
        };
        let mut review = change.review(others.values().map(Arc::as_ref));
        if let Some(rule) = change.wants_terms() {
            let policies = self.policies.get();
            review.add(self.problems(rule, &policies).await?);
            let waits = terms::waits(rule, &policies, &self.prefixes);
            review.warnings.extend(waits);
        }
        if let Some(refusal) = review.refusal() {
            return Err(refusal);
        }
        if let Some(rule) = change.begins() {
            let found = self.reporters.warnings(&self.client, rule, &self.prefixes);
            review.warnings.extend(found.await);
        }
        Ok(review.warnings)
    }

    /// What speaks against the terms of a rule.
    async fn problems(
        &self,
        rule: &NodeReadinessRule,
        policies: &Arc<Policies>,
    ) -> Result<Vec<FieldError>, String> {
        let name = rule.spec.policy.as_ref().map(|policy| &policy.name);
        if !name.is_some_and(|name| policies.is_slow(name)) {
            return Ok(terms::problems(rule, policies, &self.prefixes));
        }
        // Others are not kept waiting by it.
        let (rule, policies) = (rule.clone(), Arc::clone(policies));
        let prefixes = self.prefixes.clone();
        let asked = spawn_blocking(move || terms::problems(&rule, &policies, &prefixes)).await;
        asked.map_err(|error| format!("validation failed: {error}; please report this"))
    }

    /// These rules, with what is known of them from the last comparison.
    fn known(&self, rules: Vec<Arc<NodeReadinessRule>>) -> Arc<HashMap<String, Arc<Existing>>> {
        let mut existing = self.existing.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = rules.into_iter().map(|rule| {
            let name = rule.name_any();
            let known = match existing.get(&name) {
                Some(known) if Arc::ptr_eq(known.rule(), &rule) => Arc::clone(known),
                Some(known) => Arc::new(known.renewed(rule)),
                None => Arc::new(Existing::new(rule)),
            };
            (name, known)
        });
        *existing = Arc::new(rules.collect());
        Arc::clone(&existing)
    }

    /// The rules that exist: as the watch shows them, or asked for while it has not begun.
    async fn rules(&self) -> Result<Vec<Arc<NodeReadinessRule>>, String> {
        if let Some(Ok(())) = self.rules.wait_until_ready().now_or_never() {
            return Ok(self.rules.state());
        }
        let parameters = ListParams::default();
        let api = Api::<NodeReadinessRule>::all(self.client.clone());
        let listed = tokio::time::timeout(LIST_TIMEOUT, timely(api.list(&parameters))).await;
        let problem = match listed {
            Ok(Ok(list)) => return Ok(list.items.into_iter().map(Arc::new).collect()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIST_TIMEOUT.as_secs()),
        };
        Err(format!(
            "validation failed: the existing rules cannot be listed, and one of them may conflict: {problem}; try again"
        ))
    }
}

fn rule(object: Option<&DynamicObject>) -> Result<NodeReadinessRule, String> {
    let object = object.ok_or("validation failed: the review has no object")?;
    object.clone().try_parse().map_err(|error| {
        format!(
            "validation failed: {} is not a NodeReadinessRule: {error}",
            object.name_any()
        )
    })
}

async fn answer(reviewer: Arc<Reviewer>, request: Request<Incoming>) -> Response<String> {
    match review(&reviewer, request).await {
        Ok(answer) => {
            let json = HeaderValue::from_static("application/json");
            let mut response = Response::new(answer);
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err((status, text)) => {
            let mut response = Response::new(text);
            *response.status_mut() = status;
            response
        }
    }
}

async fn review(
    reviewer: &Reviewer,
    request: Request<Incoming>,
) -> Result<String, (StatusCode, String)> {
    if request.uri().path() != api::webhook::PATH {
        let text = format!("not found; there is {}", api::webhook::PATH);
        return Err((StatusCode::NOT_FOUND, text));
    }
    if request.method() != Method::POST {
        let text = "an AdmissionReview is sent by POST".to_owned();
        return Err((StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let body = serve::read_body(request.into_body(), LARGEST_REVIEW)
        .await
        .map_err(|status| (status, format!("the body cannot be taken: {status}")))?;
    let bad = |error: &dyn std::fmt::Display| {
        let text = format!("this is not an AdmissionReview with a request: {error}");
        (StatusCode::BAD_REQUEST, text)
    };
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    let request: AdmissionRequest<_> = review.try_into().map_err(|error| bad(&error))?;
    let answer = reviewer.review(&request).await.into_review();
    serde_json::to_string(&answer)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
