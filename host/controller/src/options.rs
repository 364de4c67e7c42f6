//! What an operator can set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use planner::rule::TaintPrefixes;

pub use crate::ledger::Alarm;

use crate::client::TIMEOUT;

/// How the control loop runs. The defaults are those of the Go controller's flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of a kubeconfig; none: `$KUBECONFIG`, in cluster, then the home folder.
    pub kubeconfig: Option<PathBuf>,
    /// Where `/healthz` and `/readyz` are served; none: nowhere.
    pub health: Option<SocketAddr>,
    /// How `/metrics` is served; none: it is not.
    pub metrics: Option<Metrics>,
    /// Count the nodes of each rule by their state too?
    pub node_state_metrics: bool,
    /// How many nodes are worked on at the same time, at least 1.
    pub node_workers: usize,
    /// How many rules are worked on at the same time, at least 1.
    pub rule_workers: usize,
    /// What an operator of a large cluster wants to be sure of.
    pub limits: Limits,
    /// The validating webhook; none: it is not served.
    pub webhook: Option<Webhook>,
    /// Whether to write only while this host holds the lease; none: always.
    pub leader_election: Option<LeaderElection>,
    /// How many requests may be sent; none: any number.
    pub requests: Option<RequestLimit>,
    /// How modules of policies are compiled; none: in this process. Where it has a cache the modules
    /// themselves are kept there as well, so that a start needs no registry.
    pub compiler: Option<engine::Compiler>,
    /// Path of the trust root that signatures without a key are verified with; none: they are not.
    pub trusted_root: Option<PathBuf>,
}

/// Where the lease is.
#[derive(Debug, Clone)]
pub struct LeaderElection {
    /// Its namespace; none: that of the pod.
    pub namespace: Option<String>,
}

/// A token bucket over all requests but watches and those about the lease.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimit {
    /// Requests in a second, in the long run. Positive.
    pub per_second: f64,
    /// Requests at once, at least 1.
    pub burst: u32,
}

/// What an operator of a large cluster wants to be sure of.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What the keys of rules' taints may begin with.
    pub prefixes: TaintPrefixes,
    /// When every rule is frozen by itself; none: never.
    pub alarm: Option<Alarm>,
    /// A node that is held longer is told about, once; none: never.
    pub held_too_long: Option<Duration>,
    /// The longest that a request about a node or a rule may take; then it is made again. Positive.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prefixes: TaintPrefixes::default(),
            alarm: None,
            held_too_long: Some(Duration::from_secs(60 * 60)),
            timeout: TIMEOUT,
        }
    }
}

/// How `/metrics` is served.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where.
    pub address: SocketAddr,
    /// With TLS, to whoever has a token that the API server knows and that may get `/metrics`; none:
    /// in the clear, to everybody.
    pub certificate: Option<MetricsCertificate>,
}

/// Where the certificate of the metrics comes from.
#[derive(Debug, Clone)]
pub enum MetricsCertificate {
    /// `tls.crt` and `tls.key` in this folder. Somebody else renews them.
    Folder(PathBuf),
    /// Made at the start.
    SelfSigned,
}

/// How the validating webhook is served.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where.
    pub address: SocketAddr,
    /// With which certificate.
    pub certificates: Certificates,
}

/// Where the webhook's certificate comes from.
#[derive(Debug, Clone)]
pub enum Certificates {
    /// `tls.crt` and `tls.key` in this folder. Somebody else renews them.
    Folder(PathBuf),
    /// The host makes and renews them, in a Secret that all replicas share.
    Managed {
        /// Namespace of the Secret; none: the one that the host runs in.
        namespace: Option<String>,
        /// Name of the Secret.
        secret: String,
        /// Name of the `ValidatingWebhookConfiguration` that is told whom to trust.
        configuration: String,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            health: None,
            metrics: None,
            node_state_metrics: false,
            node_workers: 1,
            rule_workers: 1,
            limits: Limits::default(),
            webhook: None,
            leader_election: None,
            requests: None,
            compiler: None,
            trusted_root: None,
        }
    }
}
