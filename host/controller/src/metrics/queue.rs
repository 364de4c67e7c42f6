//! `workqueue_…`: the names and labels of controller-runtime, so that its dashboards find them.

use std::time::Duration;

use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// controller-runtime names the queue in both.
const LABELS: &[&str] = &["name", "controller"];

/// What a queue counts by itself.
#[derive(Debug, Clone)]
pub(crate) struct QueueMetrics {
    /// Keys that began to wait.
    pub(crate) adds: IntCounter,
    /// Keys that failed.
    pub(crate) retries: IntCounter,
    /// Seconds from the wish to the work.
    pub(crate) waited: Histogram,
    /// Seconds of work.
    pub(crate) worked: Histogram,
}

/// How a queue is at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Keys that wait for a worker.
    pub(crate) depth: usize,
    /// Keys that wait for a moment: they were wanted for then, or are tried again then.
    pub(crate) due: usize,
    /// How long the first of those that wait for a worker has waited.
    pub(crate) oldest: Duration,
    /// How long the keys that are worked on have been, all together …
    pub(crate) unfinished: Duration,
    /// … and the one that takes longest.
    pub(crate) longest: Duration,
}

/// The metrics of all queues.
#[derive(Debug)]
pub(super) struct QueueVectors {
    adds: IntCounterVec,
    retries: IntCounterVec,
    waited: HistogramVec,
    worked: HistogramVec,
    depth: IntGaugeVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    our_depth: IntGaugeVec,
    our_due: IntGaugeVec,
    our_age: GaugeVec,
}

impl QueueVectors {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        // From 10 ns to 1000 s, as over there.
        let buckets = exponential_buckets(1e-8, 10.0, 12)?;
        let histogram = |name: &str, help: &str| {
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(buckets.clone()),
                LABELS,
            )
        };
        let vectors = Self {
            adds: IntCounterVec::new(
                Opts::new("workqueue_adds_total", "Keys that were added to the queue."),
                LABELS,
            )?,
            retries: IntCounterVec::new(
                Opts::new(
                    "workqueue_retries_total",
                    "Keys whose work failed and is tried again.",
                ),
                LABELS,
            )?,
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "How long a key waited before it was worked on.",
            )?,
            worked: histogram(
                "workqueue_work_duration_seconds",
                "How long the work on a key took.",
            )?,
            depth: IntGaugeVec::new(
                Opts::new("workqueue_depth", "Keys that wait to be worked on."),
                LABELS,
            )?,
            unfinished: GaugeVec::new(
                Opts::new(
                    "workqueue_unfinished_work_seconds",
                    "How long the keys that are worked on have been worked on, all together.",
                ),
                LABELS,
            )?,
            longest: GaugeVec::new(
                Opts::new(
                    "workqueue_longest_running_processor_seconds",
                    "How long the key that takes longest has been worked on.",
                ),
                LABELS,
            )?,
            our_depth: IntGaugeVec::new(
                Opts::new(
                    "node_readiness_queue_depth",
                    "Keys that wait to be worked on.",
                ),
                &["queue"],
            )?,
            our_due: IntGaugeVec::new(
                Opts::new(
                    "node_readiness_queue_due",
                    "Keys that time will bring: a policy is to be asked again then, or work that failed is tried again.",
                ),
                &["queue"],
            )?,
            our_age: GaugeVec::new(
                Opts::new(
                    "node_readiness_queue_age_seconds",
                    "How long the key that waits longest has waited.",
                ),
                &["queue"],
            )?,
        };
        let Self {
            adds,
            retries,
            waited,
            worked,
            depth,
            unfinished,
            longest,
            our_depth,
            our_due,
            our_age,
        } = &vectors;
        registry.register(Box::new(adds.clone()))?;
        registry.register(Box::new(retries.clone()))?;
        registry.register(Box::new(waited.clone()))?;
        registry.register(Box::new(worked.clone()))?;
        registry.register(Box::new(depth.clone()))?;
        registry.register(Box::new(unfinished.clone()))?;
        registry.register(Box::new(longest.clone()))?;
        registry.register(Box::new(our_depth.clone()))?;
        registry.register(Box::new(our_due.clone()))?;
        registry.register(Box::new(our_age.clone()))?;
        Ok(vectors)
    }

    /// What the queue of this name counts.
    pub(super) fn of(&self, name: &str) -> QueueMetrics {
        let labels = &[name, name];
        QueueMetrics {
            adds: self.adds.with_label_values(labels),
            retries: self.retries.with_label_values(labels),
            waited: self.waited.with_label_values(labels),
            worked: self.worked.with_label_values(labels),
        }
    }

    /// Takes over how the queue of this name is now.
    pub(super) fn set(&self, name: &str, state: QueueState) {
        let labels = &[name, name];
        let depth = i64::try_from(state.depth).unwrap_or(i64::MAX);
        self.depth.with_label_values(labels).set(depth);
        self.our_depth.with_label_values(&[name]).set(depth);
        let due = i64::try_from(state.due).unwrap_or(i64::MAX);
        self.our_due.with_label_values(&[name]).set(due);
        self.unfinished
            .with_label_values(labels)
            .set(state.unfinished.as_secs_f64());
        self.longest
            .with_label_values(labels)
            .set(state.longest.as_secs_f64());
        self.our_age
            .with_label_values(&[name])
            .set(state.oldest.as_secs_f64());
    }
}
