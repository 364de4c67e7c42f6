//! What the API server's audit log says: who sent what, and when it was received.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

/// Everything, once answered; leases with what was sent.
pub const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Request
  verbs: [create, update]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
";

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// By whom.
    pub user: String,
    /// As whom, if that is somebody else.
    pub impersonated: Option<String>,
    /// `get`, `watch`, `patch`, …
    pub verb: String,
    /// `nodes`, `nodereadinessrules`, …
    pub resource: String,
    /// Path with query.
    pub uri: String,
    /// When the API server received it.
    pub received: Timestamp,
    /// The status of the answer.
    pub code: u64,
    /// The holder that a record of a lease names.
    pub holder: Option<String>,
}

impl Request {
    /// Does it change something that a leader alone may change?
    pub fn is_write(&self) -> bool {
        let resources = ["nodes", "nodereadinessrules", "events"];
        let verbs = ["create", "update", "patch", "delete", "deletecollection"];
        resources.contains(&self.resource.as_str()) && verbs.contains(&self.verb.as_str())
    }

    /// Was a record of a lease stored?
    pub fn stores_lease(&self) -> bool {
        self.resource == "leases" && self.holder.is_some() && (200..300).contains(&self.code)
    }

    /// Did it take or renew a lease?
    pub fn renews(&self) -> bool {
        self.stores_lease() && self.holder.as_deref() != Some("")
    }
}

/// The requests of some users so far, in the order of their receipt.
///
/// # Errors
/// The log cannot be read, or is not as documented.
pub fn read(log: &Path, users: &[&str]) -> anyhow::Result<Vec<Request>> {
    let text = std::fs::read_to_string(log)?;
    let mut requests = Vec::new();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let event: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let user = text("/user/username").unwrap_or_default();
        if !users.contains(&user) {
            continue;
        }
        let received = text("/requestReceivedTimestamp").context("an event without a time")?;
        requests.push(Request {
            user: user.to_owned(),
            impersonated: text("/impersonatedUser/username").map(str::to_owned),
            verb: text("/verb").unwrap_or_default().to_owned(),
            resource: text("/objectRef/resource").unwrap_or_default().to_owned(),
            uri: text("/requestURI").unwrap_or_default().to_owned(),
            received: received.parse()?,
            code: event
                .pointer("/responseStatus/code")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            holder: text("/requestObject/spec/holderIdentity").map(str::to_owned),
        });
    }
    requests.sort_by_key(|request| request.received);
    Ok(requests)
}
