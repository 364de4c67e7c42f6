//! What is measured, under the names of the Go project's reporter.

use prometheus::{
    Error, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::check::Kind;

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// How long checks take, in seconds.
    pub check_duration: Histogram,
    healthy: IntCounter,
    unhealthy: IntCounter,
    error: IntCounter,
    /// Conditions that were written.
    pub written: IntCounter,
    /// Conditions that could not be written.
    pub failed: IntCounter,
    /// Checks after which there was nothing to write.
    pub skipped: IntCounter,
}

impl Metrics {
    /// # Errors
    /// A name that Prometheus does not know: a defect.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let build = Gauge::with_opts(
            Opts::new(
                "node_readiness_reporter_build_info",
                "Always 1; the label is the version of the program.",
            )
            .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1.0);
        registry.register(Box::new(build))?;
        let buckets = vec![0.005, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let check_duration = Histogram::with_opts(
            HistogramOpts::new(
                "node_readiness_reporter_check_duration_seconds",
                "How long a check took.",
            )
            .buckets(buckets),
        )?;
        registry.register(Box::new(check_duration.clone()))?;
        let counters = |name: &str, help: &str| -> Result<IntCounterVec, Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &["result"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let checks = counters(
            "node_readiness_reporter_checks_total",
            "Checks: ready (healthy), another answer (unhealthy), no answer (error).",
        )?;
        let writes = counters(
            "node_readiness_reporter_condition_writes_total",
            "Conditions that were written (success), that could not be (error), and checks after \
             which there was nothing to write (skipped).",
        )?;
        Ok(Self {
            check_duration,
            healthy: checks.with_label_values(&["healthy"]),
            unhealthy: checks.with_label_values(&["unhealthy"]),
            error: checks.with_label_values(&["error"]),
            written: writes.with_label_values(&["success"]),
            failed: writes.with_label_values(&["error"]),
            skipped: writes.with_label_values(&["skipped"]),
            registry,
        })
    }

    /// Counts a check.
    pub fn checked(&self, kind: Kind) {
        match kind {
            Kind::Healthy => self.healthy.inc(),
            Kind::Unhealthy => self.unhealthy.inc(),
            Kind::Error => self.error.inc(),
        }
    }

    /// The text format 0.0.4.
    ///
    /// # Errors
    /// It cannot be printed: a defect.
    pub fn print(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
