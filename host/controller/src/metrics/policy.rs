//! What is measured about one policy. It owns its series: they go when its object goes.

use std::sync::{Arc, PoisonError};

use planner::verdict::Verdict;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Error, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};
use tracing::warn;

use crate::decide::Run;
use crate::metrics::Metrics;

/// Seconds of a run: microseconds for a small policy, up to the longest deadline.
const BUCKETS: &[f64] = &[
    2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 2.5, 10.0,
];
/// `result` of an evaluation that ended in a decision …
const DECIDED: &str = "decided";
/// … and of one that needed no run for it.
const RECALLED: &str = "recalled";

/// The series of one policy.
#[derive(Debug)]
pub(super) struct PolicyMetrics {
    evaluations: IntCounterVec,
    seconds: Histogram,
    /// None: it is built in, and always there.
    state: Option<State>,
}

/// How it is with the module of an object.
#[derive(Debug)]
struct State {
    ready: IntGauge,
    last_good: IntGauge,
    paused: IntGauge,
}

impl PolicyMetrics {
    pub(super) fn new(name: &str, is_object: bool) -> Result<Self, Error> {
        let gauge = |metric: &str, help: &str| {
            IntGauge::with_opts(Opts::new(metric, help).const_label("policy", name))
        };
        let state = || -> Result<State, Error> {
            Ok(State {
                ready: gauge(
                    "node_readiness_policy_ready",
                    "1 where the module that the policy's object wants decides; else 0.",
                )?,
                last_good: gauge(
                    "node_readiness_policy_last_good",
                    "1 where the last good module decides in the place of the one that is wanted; else 0.",
                )?,
                paused: gauge(
                    "node_readiness_policy_paused",
                    "1 while the policy is not asked, since it failed again and again; else 0.",
                )?,
            })
        };
        let evaluations = IntCounterVec::new(
            Opts::new(
                "node_readiness_policy_evaluations_total",
                "Evaluations of nodes by the policy, by what came of them.",
            )
            .const_label("policy", name),
            &["result"],
        )?;
        for result in [DECIDED, RECALLED] {
            evaluations.with_label_values(&[result]);
        }
        Ok(Self {
            evaluations,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "node_readiness_policy_evaluation_seconds",
                    "How long the policy ran for one node.",
                )
                .const_label("policy", name)
                .buckets(BUCKETS.to_vec()),
            )?,
            state: is_object.then(state).transpose()?,
        })
    }

    fn evaluated(&self, verdict: &Verdict, run: Run) {
        let result = match &verdict.result {
            Ok(_) if run.made => DECIDED,
            Ok(_) => RECALLED,
            Err(failure) => failure.kind,
        };
        self.evaluations.with_label_values(&[result]).inc();
        if run.made {
            self.seconds.observe(run.took.as_secs_f64());
        }
    }

    /// All series. A histogram that has seen nothing says nothing.
    fn collect(&self) -> Vec<MetricFamily> {
        let Self {
            evaluations,
            seconds,
            state,
        } = self;
        let mut families = evaluations.collect();
        if seconds.get_sample_count() > 0 {
            families.extend(seconds.collect());
        }
        if let Some(State {
            ready,
            last_good,
            paused,
        }) = state
        {
            let gauges = [ready, last_good, paused];
            families.extend(gauges.into_iter().flat_map(Collector::collect));
        }
        families
    }
}

impl Metrics {
    /// Begins the series of a policy with an object, unless they are there.
    pub(crate) fn keep_policy(&self, name: &str) {
        let mut known = self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(name) {
            return;
        }
        match PolicyMetrics::new(name, true) {
            Ok(metrics) => {
                known.insert(name.to_owned(), Arc::new(metrics));
            }
            Err(error) => warn!(policy = name, %error, "the policy is not measured"),
        }
    }

    /// The object of a policy is gone.
    pub(crate) fn forget_policy(&self, name: &str) {
        let mut known = self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }

    /// Does the module decide that is wanted, or the last good one instead?
    pub(crate) fn set_policy(&self, name: &str, ready: bool, last_good: bool) {
        if let Some(metrics) = self.policy(name)
            && let Some(state) = &metrics.state
        {
            state.ready.set(i64::from(ready));
            state.last_good.set(i64::from(last_good));
        }
    }

    /// Is it not asked for a while?
    pub(super) fn set_paused(&self, name: &str, paused: bool) {
        if let Some(metrics) = self.policy(name)
            && let Some(state) = &metrics.state
        {
            state.paused.set(i64::from(paused));
        }
    }

    /// A node was evaluated for a rule that names this policy.
    pub(super) fn evaluated(&self, policy: &str, verdict: &Verdict, run: Run) {
        if let Some(metrics) = self.policy(policy) {
            metrics.evaluated(verdict, run);
        }
    }

    pub(super) fn of_policies(&self) -> Vec<MetricFamily> {
        let policies: Vec<_> = {
            let known = self.policies.read().unwrap_or_else(PoisonError::into_inner);
            known.values().cloned().collect()
        };
        policies
            .iter()
            .flat_map(|policy| policy.collect())
            .collect()
    }

    fn policy(&self, name: &str) -> Option<Arc<PolicyMetrics>> {
        let known = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }
}
