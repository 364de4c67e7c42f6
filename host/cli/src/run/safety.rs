//! What protects a cluster from a rule that is wrong, and an operator from not noticing.

use std::time::Duration;

use controller::{Alarm, Limits};
use jiff::SignedDuration;

use crate::prefixes;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    #[command(flatten)]
    prefixes: prefixes::Options,

    /// Freeze every rule by itself when more than this percentage of a rule's nodes, and at least
    /// 10, lose their readiness again within --freeze-window; 0: never
    ///
    /// Nothing is then added or removed until somebody takes the annotation
    /// readiness.node.x-k8s.io/freeze-all off the rule that carries it. Put on any rule by hand,
    /// that annotation freezes every rule as well.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=99))]
    freeze_when_regressed: u8,

    /// The time within which nodes count for --freeze-when-regressed
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    freeze_window: Duration,

    /// Warn once, by an event on the node, when a rule holds it for longer; 0s: never
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    held_warning_after: Duration,
}

impl Options {
    pub fn limits(&self, timeout: Duration) -> Limits {
        Limits {
            prefixes: self.prefixes.prefixes(),
            alarm: (self.freeze_when_regressed > 0).then_some(Alarm {
                percent: self.freeze_when_regressed,
                window: self.freeze_window,
            }),
            held_too_long: Some(self.held_warning_after).filter(|after| !after.is_zero()),
            timeout,
        }
    }
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "it is no duration, such as 30s, 5m or 1h30m".to_owned())
}
