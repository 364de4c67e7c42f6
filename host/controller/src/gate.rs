//! What must not happen while another host leads: here every write passes, or does not.

use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when this host may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead {
    /// Until then, if nothing is heard meanwhile.
    Until {
        /// No write begins later, and none goes on.
        end: Instant,
        /// Which time it is that this host leads.
        term: u64,
    },
    /// Not now.
    No,
}

/// Lets writes through while this host leads.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Receiver<Lead>);

/// Why a write was not sent, or cut off.
#[derive(Debug, thiserror::Error)]
#[error("this host does not lead")]
pub(crate) struct NotLeading;

impl Gate {
    /// A gate, and what moves it.
    pub(crate) fn new(lead: Lead) -> (watch::Sender<Lead>, Self) {
        let (send, receive) = watch::channel(lead);
        (send, Self(receive))
    }

    /// The present term, in which writes may begin.
    fn term(&self) -> Option<u64> {
        match *self.0.borrow() {
            Lead::Until { end, term } => (Instant::now() < end).then_some(term),
            Lead::No => None,
        }
    }

    /// Waits for a term.
    pub(crate) async fn begins(&mut self) -> u64 {
        loop {
            if let Some(term) = self.term() {
                return term;
            }
            if self.0.changed().await.is_err() {
                // Nobody will open it any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until a term is over: by its time, whatever else is under way.
    pub(crate) async fn over(&mut self, term: u64) {
        loop {
            let lead = *self.0.borrow_and_update();
            let end = match lead {
                Lead::Until { end, term: now } if now == term && Instant::now() < end => end,
                _ => return,
            };
            tokio::select! {
                moved = self.0.changed() => if moved.is_err() {
                    return sleep_until(end).await;
                },
                () = sleep_until(end) => {}
            }
        }
    }

    /// The same client behind the gate.
    pub(crate) fn guard(&self, client: Client) -> Client {
        let gate = self.clone();
        let namespace = client.default_namespace().to_owned();
        let guarded = tower::service_fn(move |request: http::Request<Body>| {
            let (client, gate) = (client.clone(), gate.clone());
            async move { gate.send(&client, request).await }
        });
        Client::new(guarded, namespace)
    }

    /// Sends a request. A write is not begun while the gate is closed, and is dropped with its
    /// connection when the gate closes.
    async fn send(
        mut self,
        client: &Client,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, tower::BoxError> {
        if !is_write(&request) {
            return Ok(client.send(request).await?);
        }
        let Some(term) = self.term() else {
            return Err(NotLeading.into());
        };
        tokio::select! {
            // Asked first: a request does not go on after the end, nor begin.
            biased;
            () = self.over(term) => Err(NotLeading.into()),
            answer = client.send(request) => Ok(answer?),
        }
    }
}

/// A review asks a question, though by POST.
fn is_write(request: &http::Request<Body>) -> bool {
    let reviews = [
        "/apis/authentication.k8s.io/",
        "/apis/authorization.k8s.io/",
    ];
    let path = request.uri().path();
    !request.method().is_safe() && !reviews.iter().any(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests;
