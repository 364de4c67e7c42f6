//! Flags of the Go controller whose feature this version does not have. Not to know one would stop
//! a Deployment that only turns it off; to ignore one that turns it on would be worse.

use std::str::FromStr;

use clap::{ArgAction, Args};

use super::go_flags::boolean;
use crate::input::BadInput;

#[derive(Debug, Args)]
#[command(next_help_heading = "Not in this version: only what turns them off is accepted")]
#[group(skip)]
pub struct Options {
    /// Leader election
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    leader_elect: bool,

    /// Namespace of the lease; has no effect without leader election
    #[arg(long, value_name = "NAMESPACE", default_value = "")]
    leader_election_namespace: String,

    /// Requests to the API server in a second; -1: no limit
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "-1",
        value_parser = number::<f64>,
        allow_negative_numbers = true
    )]
    kube_api_qps: f64,

    /// Requests to the API server at once; -1: no limit
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "-1",
        value_parser = number::<i64>,
        allow_negative_numbers = true
    )]
    kube_api_burst: i64,

    /// Where profiles are served; 0 or nothing: nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pprof_bind_address: String,
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "it is not such a number".to_owned())
}

impl Options {
    /// Is something asked for that this version does not do?
    pub fn check(self) -> Result<(), BadInput> {
        let Self {
            leader_elect,
            leader_election_namespace: _,
            kube_api_qps,
            kube_api_burst,
            pprof_bind_address,
        } = self;
        let is_address = |text: &str| !matches!(text, "" | "0");
        let refused = [
            (
                leader_elect,
                "leader-elect",
                "leader election: leave it out and run one replica",
            ),
            // client-go takes every negative number for no limit.
            (
                kube_api_qps >= 0.0 || kube_api_qps.is_nan(),
                "kube-api-qps",
                "a limit on its requests: leave it out, or give -1",
            ),
            (
                kube_api_burst >= 0,
                "kube-api-burst",
                "a limit on its requests: leave it out, or give -1",
            ),
            (
                is_address(&pprof_bind_address),
                "pprof-bind-address",
                "profiling: leave it out",
            ),
        ];
        let problems: Vec<_> = refused
            .iter()
            .filter(|(asked, ..)| *asked)
            .map(|(_, flag, what)| format!("--{flag}: this version does not have {what}"))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(BadInput(problems))
        }
    }
}
