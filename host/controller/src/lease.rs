//! Leader election by a Lease, as client-go does it, so that this host and the Go controller never
//! lead at the same time.
//!
//! What a holder may do is bounded by [`TIMING`]: it stops writing [`Timing::renew_deadline`] after
//! its last successful renewal was *sent*; others wait [`Timing::duration`] after they *saw* that
//! renewal. No clock of another machine is read.

mod candidate;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt, watcher, watcher::watcher as watch_lease};
use planner::Timestamp;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::client::{RequestError, timely};
use crate::gate::{Gate, Lead};
use candidate::{Candidate, Step, Timing};

/// The Go controller's lease.
pub(crate) const NAME: &str = "ba65f13e.readiness.node.x-k8s.io";
/// Those of client-go, and of the Go controller.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};
/// How long bytes of ours may wait for the network: none arrive when another host may lead.
pub(crate) const IN_NETWORK: Duration = Duration::from_secs(5);
/// A request about the lease takes no longer: there must be time for another one.
const REQUEST: Duration = Duration::from_secs(5);
/// How long giving the lease back may take.
const RELEASE: Duration = Duration::from_secs(4);
/// Where a pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// It is not known where the lease is.
#[derive(Debug, thiserror::Error)]
#[error(
    "leader election has no namespace: {NAMESPACE_FILE} cannot be read ({0}), so this is not a pod; \
     give --leader-election-namespace"
)]
pub struct NoNamespace(std::io::Error);

/// The namespace of the lease: the given one, else that of the pod.
pub(crate) fn namespace(given: Option<String>) -> Result<String, NoNamespace> {
    match given {
        Some(namespace) => Ok(namespace),
        None => match std::fs::read_to_string(NAMESPACE_FILE) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(NoNamespace(error)),
        },
    }
}

/// Who holds the lease, as the end of a sentence; nothing where that cannot be read.
pub(crate) async fn holder(client: &Client, namespace: &str) -> String {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    match limited(leases.get_opt(NAME)).await {
        Ok(lease) => {
            let holder = lease.and_then(|lease| lease.spec?.holder_identity);
            holder.map_or_else(String::new, |holder| format!(", and is held by {holder}"))
        }
        Err(error) => format!(": {error}"),
    }
}

/// The work of leading when it is our turn, and waiting when it is not.
#[derive(Debug)]
pub(crate) struct Election {
    complaint: watch::Receiver<Option<String>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Election {
    /// Starts it once `ready` is, with a client that nothing else slows down.
    pub(crate) fn start(
        client: Client,
        namespace: &str,
        ready: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, Gate) {
        let (lead, gate) = Gate::new(Lead::No);
        let (stop, stopped) = oneshot::channel();
        let (complaint, complained) = watch::channel(None);
        let elector = Elector {
            leases: Api::namespaced(client, namespace),
            lease: format!("{namespace}/{NAME}"),
            lead,
            complaint,
        };
        let task = tokio::spawn(async move {
            elector.run(ready, stopped).await;
        });
        (
            Self {
                complaint: complained,
                stop,
                task,
            },
            gate,
        )
    }

    /// Why the lease cannot be read or written at the moment.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.complaint.borrow().clone()
    }

    /// Waits until the lease cannot be read or written for such a reason.
    pub(crate) async fn until_complaint(&self, such: impl Fn(&str) -> bool) {
        let mut complaint = self.complaint.clone();
        let said = |why: &Option<String>| why.as_deref().is_some_and(&such);
        if complaint.wait_for(said).await.is_err() {
            // Nobody will complain any more.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for its end, which does not come by itself.
    pub(crate) async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(()) => "leader election".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Gives the lease back. Nothing may be written any more, or be under way.
    pub(crate) async fn release(self) {
        // Where nobody listens, it has ended already.
        let _ = self.stop.send(());
        if timeout(RELEASE, self.task).await.is_err() {
            warn!("the lease could not be released in time; others wait until it is over");
        }
    }
}

struct Elector {
    leases: Api<Lease>,
    /// For the log.
    lease: String,
    lead: watch::Sender<Lead>,
    /// What was logged last: an error that stays is said once.
    complaint: watch::Sender<Option<String>>,
}

impl Elector {
    async fn run(mut self, ready: impl Future<Output = ()>, mut stop: oneshot::Receiver<()>) {
        tokio::select! {
            () = ready => {}
            _ = &mut stop => return,
        }
        let identity = identity();
        info!(lease = self.lease, identity, "leader election begins");
        let mut candidate = Candidate::new(NAME, identity, TIMING, Instant::now());
        let mut holder = None;
        let mut hints = None;
        loop {
            self.tell(&candidate);
            if candidate.holder() != holder.as_deref() {
                holder = candidate.holder().map(str::to_owned);
                info!(lease = self.lease, holder, "the lease has a new holder");
            }
            // A request is never left half-way: its lease would not be known, and not be released.
            if let Some(until) = self.step(&mut candidate).await {
                if candidate.leads_until().is_some() {
                    hints = None;
                } else if hints.is_none() {
                    hints = Some(self.hints());
                }
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = next(&mut hints) => candidate.hint(Instant::now()),
                    _ = &mut stop => break,
                }
            } else if !matches!(stop.try_recv(), Err(TryRecvError::Empty)) {
                break;
            }
        }
        self.lead.send_replace(Lead::No);
        self.release(&mut candidate).await;
    }

    /// Something each time the lease changes, as far as it can be watched. Without it, changes are
    /// seen when the lease is read again.
    fn hints(&self) -> BoxStream<'static, ()> {
        let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watch_lease(self.leases.clone(), only).default_backoff();
        events
            .filter_map(|event| std::future::ready(event.ok().map(drop)))
            .boxed()
    }

    fn tell(&self, candidate: &Candidate) {
        let term = candidate.term();
        let until = |end| Lead::Until { end, term };
        let lead = candidate.leads_until().map_or(Lead::No, until);
        self.lead.send_if_modified(|before| {
            let moved = *before != lead;
            *before = lead;
            moved
        });
    }

    /// Does what is due; says until when nothing is.
    async fn step(&mut self, candidate: &mut Candidate) -> Option<Instant> {
        let sent = Instant::now();
        let step = candidate.next(sent, Timestamp::now());
        let parameters = PostParams::default();
        let answer = match &step {
            Step::Wait(until) => return Some(*until),
            Step::Read => limited(self.leases.get_opt(NAME)).await,
            Step::Create(lease) => limited(self.leases.create(&parameters, lease))
                .await
                .map(Some),
            Step::Replace(lease) => limited(self.leases.replace(NAME, &parameters, lease))
                .await
                .map(Some),
        };
        let now = Instant::now();
        match (step, answer) {
            (Step::Create(_) | Step::Replace(_), Ok(Some(lease))) => {
                candidate.wrote(lease, sent, now);
                self.complaint.send_replace(None);
            }
            (_, Ok(lease)) => {
                if candidate.read(lease, sent, now) {
                    self.complaint.send_replace(None);
                }
            }
            (Step::Create(_) | Step::Replace(_), Err(RequestError::Conflict(why))) => {
                debug!(lease = self.lease, why, "the lease was changed meanwhile");
                candidate.conflict(sent, now);
            }
            // It was deleted.
            (Step::Replace(_), Err(RequestError::NotFound(_))) => candidate.conflict(sent, now),
            (_, Err(error)) => {
                candidate.failed(sent);
                self.complain(error.to_string());
            }
        }
        None
    }

    fn complain(&mut self, error: String) {
        if self.complaint.borrow().as_ref() != Some(&error) {
            warn!(
                lease = self.lease,
                error,
                "the lease cannot be read or renewed, and without it this host does not write; trying again"
            );
            self.complaint.send_replace(Some(error));
        }
    }

    async fn release(&self, candidate: &mut Candidate) {
        // Twice: somebody may have labelled it meanwhile.
        for _ in 0..2 {
            let Some(lease) = candidate.release(Timestamp::now()) else {
                return;
            };
            let asked = Instant::now();
            match limited(self.leases.replace(NAME, &PostParams::default(), &lease)).await {
                Ok(_) => return info!(lease = self.lease, "the lease is released"),
                Err(error) => debug!(lease = self.lease, %error, "the lease is not released yet"),
            }
            match limited(self.leases.get_opt(NAME)).await {
                Ok(lease) => candidate.read(lease, asked, Instant::now()),
                Err(_) => break,
            };
        }
        warn!(
            lease = self.lease,
            "the lease could not be released; others wait until it is over"
        );
    }
}

/// The next hint; without any there is none.
async fn next(hints: &mut Option<BoxStream<'static, ()>>) {
    if let Some(hints) = hints
        && hints.next().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, RequestError> {
    match timeout(REQUEST, timely(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(RequestError::Other(format!(
            "no answer within {} s",
            REQUEST.as_secs()
        ))),
    }
}

/// As client-go names a candidate: its host, and what no other process there has.
fn identity() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("{host}_{}", uuid::Uuid::new_v4())
}
