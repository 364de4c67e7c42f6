//! The limit on requests, with the flags of the Go controller.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use controller::RequestLimit;

use super::safety::duration;
use crate::input::BadInput;

/// What client-go takes for 0.
const DEFAULT_QPS: f64 = 5.0;
const DEFAULT_BURST: u32 = 10;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Requests to the API server in a second, in the long run; negative: no limit; 0: 5
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "-1",
        value_parser = number::<f64>,
        allow_negative_numbers = true
    )]
    kube_api_qps: f64,

    /// Requests to the API server at once, where they are limited; 0 or negative: 10
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "-1",
        value_parser = number::<i64>,
        allow_negative_numbers = true
    )]
    kube_api_burst: i64,

    /// The longest that a request about a node or a rule may take; then it is made again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    pub kube_api_timeout: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|timeout| {
        if timeout.is_zero() {
            Err("no request is answered in no time".to_owned())
        } else {
            Ok(timeout)
        }
    })
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "it is not such a number".to_owned())
}

impl Options {
    /// None: no limit.
    pub fn limit(self) -> Result<Option<RequestLimit>, BadInput> {
        let Self {
            kube_api_qps: qps,
            kube_api_burst: burst,
            kube_api_timeout: _,
        } = self;
        if qps.is_nan() {
            return Err(BadInput::one(
                "--kube-api-qps=NaN: give a number of requests in a second, or -1 for no limit"
                    .to_owned(),
            ));
        }
        if qps < 0.0 || qps.is_infinite() {
            return Ok(None);
        }
        Ok(Some(RequestLimit {
            per_second: if qps == 0.0 { DEFAULT_QPS } else { qps },
            burst: match burst {
                // With a negative burst client-go refuses each of its own requests.
                ..=0 => DEFAULT_BURST,
                _ => u32::try_from(burst).unwrap_or(u32::MAX),
            },
        }))
    }
}
