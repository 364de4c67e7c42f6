//! What is measured, under the names of the Go controller, for scrapers of Prometheus.
//!
//! What belongs to a rule is in [`rule`], and goes with the rule, as what is in [`policy`] does with a policy;
//! what can be counted when it is asked for is in [`scrape`]. The name of a node is never a label: nodes come and go by the thousand.
//! `docs/metrics-and-logs.md` lists every metric; a test compares it with what is printed.

mod policy;
mod process;
mod queue;
mod requests;
mod rule;
mod scrape;
mod serve;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use planner::rule::{DEFAULT_POLICY, Rule};
use prometheus::{Error, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use tracing::warn;

use crate::certificates::Served;

pub(crate) use self::serve::Bound;
pub use self::serve::MetricsError;
pub(crate) use queue::{QueueMetrics, QueueState};
pub(crate) use requests::CountRequests;
pub(crate) use write::Write;

use policy::PolicyMetrics;
use queue::QueueVectors;
use rule::RuleMetrics;

/// All of them.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Those that belong to no rule.
    registry: Registry,
    replans: IntCounter,
    writes: IntCounterVec,
    requests: IntCounterVec,
    leader: IntGaugeVec,
    pub(crate) node_queue: QueueMetrics,
    pub(crate) rule_queue: QueueMetrics,
    pub(crate) policy_queue: QueueMetrics,
    queues: QueueVectors,
    /// By UID of the rule.
    rules: RwLock<HashMap<String, Arc<RuleMetrics>>>,
    /// By name of the policy.
    policies: RwLock<HashMap<String, Arc<PolicyMetrics>>>,
    /// Are nodes counted by their state too?
    node_states: bool,
    /// What the webhook is served with, where it is.
    webhook: OnceLock<Arc<Served>>,
}

impl Metrics {
    /// # Errors
    /// A name that Prometheus does not know: a defect.
    pub(crate) fn new(node_states: bool) -> Result<Self, Error> {
        let registry = Registry::new();
        let build = GaugeVec::new(
            Opts::new(
                "node_readiness_build_info",
                "Always 1; the label is the version of the program.",
            ),
            &["version"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        registry.register(Box::new(build))?;
        let replans = IntCounter::new(
            "node_readiness_replans_total",
            "Plans for a node that were made again because somebody else had changed it meanwhile.",
        )?;
        registry.register(Box::new(replans.clone()))?;
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let writes = counters(
            "node_readiness_api_writes_total",
            "Writes to the API server, by what was written and what came of it.",
            &["kind", "result"],
        )?;
        let requests = counters(
            "rest_client_requests_total",
            "HTTP requests to the API server, by status code, method and host.",
            &["code", "host", "method"],
        )?;
        let leader = IntGaugeVec::new(
            Opts::new(
                "leader_election_master_status",
                "1 where this process is the leader of the lease that is named, else 0.",
            ),
            &["name"],
        )?;
        registry.register(Box::new(leader.clone()))?;
        let queues = QueueVectors::new(&registry)?;
        let default = Arc::new(PolicyMetrics::new(DEFAULT_POLICY, false)?);
        Ok(Self {
            replans,
            writes,
            requests,
            leader,
            node_queue: queues.of("node"),
            rule_queue: queues.of("nodereadinessrule"),
            policy_queue: queues.of("readinesspolicy"),
            queues,
            registry,
            rules: RwLock::default(),
            policies: RwLock::new([(DEFAULT_POLICY.to_owned(), default)].into()),
            node_states,
            webhook: OnceLock::new(),
        })
    }

    /// Is this process the leader by the lease of this name?
    pub(crate) fn set_leader(&self, lease: &str, is_leader: bool) {
        self.leader
            .with_label_values(&[lease])
            .set(i64::from(is_leader));
    }

    /// The webhook is served with what is there.
    pub(crate) fn serves_webhook(&self, certificate: Arc<Served>) {
        // It is said once.
        let _ = self.webhook.set(certificate);
    }

    /// A plan was refused, and is made again.
    pub(crate) fn replanned(&self) {
        self.replans.inc();
    }

    /// Counts the requests of a client to this host.
    pub(crate) fn count_requests(&self, host: String) -> CountRequests {
        CountRequests::new(self.requests.clone(), host)
    }

    /// Keeps the series of rules that exist, and begins those of new ones.
    pub(crate) fn keep_rules<'a>(
        &self,
        rules: impl Iterator<Item = &'a Rule>,
        exists: impl Fn(&str) -> bool,
    ) {
        let mut known = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|uid, _| exists(uid));
        for rule in rules {
            if known.contains_key(&rule.uid) {
                continue;
            }
            match RuleMetrics::new(rule) {
                Ok(metrics) => {
                    known.insert(rule.uid.clone(), Arc::new(metrics));
                }
                Err(error) => warn!(rule = rule.name, %error, "the rule is not measured"),
            }
        }
    }

    fn rule(&self, uid: &str) -> Option<Arc<RuleMetrics>> {
        let known = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        known.get(uid).cloned()
    }
}

#[cfg(test)]
mod tests;
