//! The log, as far as the Go controller's flags about its own can be followed.

mod json;

use std::io::{self, IsTerminal};

use clap::{ArgAction, Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use json::{Json, TimeEncoding};

use super::go_flags::boolean;
use crate::input::BadInput;

/// Says what is logged, and ranks above the flags.
const VARIABLE: &str = "RUST_LOG";

/// What libraries say of failures that the controller reports in its own words. Theirs are dumps.
const SAID_ALREADY: &str =
    "kube_client::client=off,kube_runtime::watcher=off,rustls_platform_verifier=off";

/// The parts of this program. What libraries say from debug on is much, and mostly not about rules.
const OURS: [&str; 7] = [
    "host",
    "controller",
    "engine",
    "planner",
    "api",
    "fetch",
    "serve",
];

/// What is logged at a level: of this program all, of libraries less.
fn directives(level: LevelFilter) -> String {
    let ours = || {
        let ours = OURS.map(|part| format!(",{part}={level}"));
        ours.concat()
    };
    match level {
        LevelFilter::TRACE => format!("{}{}", LevelFilter::DEBUG, ours()),
        LevelFilter::DEBUG => format!("{}{},{SAID_ALREADY}", LevelFilter::INFO, ours()),
        level => format!("{level},{SAID_ALREADY}"),
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
#[group(skip)]
pub struct Options {
    /// What is logged: debug (also of what libraries say: 2), info, error, panic, or 1, 2, … for more and more
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    zap_log_level: Option<LevelFilter>,

    /// Text (console) or JSON lines (json); without it text on a terminal, JSON otherwise
    #[arg(long, value_name = "ENCODER", value_enum)]
    zap_encoder: Option<Encoder>,

    /// Text and debug messages, unless other flags say otherwise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    zap_devel: bool,

    /// Accepted, and without effect: no stack traces are logged
    #[arg(long, value_name = "LEVEL", value_parser = ["info", "error", "panic"])]
    zap_stacktrace_level: Option<String>,

    /// How JSON lines give the time
    #[arg(
        long,
        value_name = "ENCODING",
        value_enum,
        default_value = "rfc3339nano"
    )]
    zap_time_encoding: TimeEncoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Encoder {
    Console,
    Json,
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "debug" | "1" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" | "panic" => Ok(LevelFilter::ERROR),
        _ if text.parse::<u8>().is_ok_and(|number| number > 1) => Ok(LevelFilter::TRACE),
        _ => Err("it is not debug, info, error, panic, or a number above 0".to_owned()),
    }
}

impl Options {
    /// Begins to log to stderr.
    pub fn start(self) -> Result<(), BadInput> {
        let Self {
            zap_log_level,
            zap_encoder,
            zap_devel,
            zap_stacktrace_level: _,
            zap_time_encoding: times,
        } = self;
        let level = zap_log_level.unwrap_or(if zap_devel {
            LevelFilter::DEBUG
        } else {
            LevelFilter::INFO
        });
        let filter = match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
                BadInput::one(format!("{VARIABLE}={text} cannot be understood: {error}"))
            })?,
            _ => EnvFilter::new(directives(level)),
        };
        let is_text = match zap_encoder {
            Some(encoder) => encoder == Encoder::Console,
            None => zap_devel || io::stderr().is_terminal(),
        };
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr);
        // A log is started once in a process; a second start keeps the first.
        let _ = if is_text {
            log.with_ansi(io::stderr().is_terminal()).try_init()
        } else {
            log.with_ansi(false).event_format(Json { times }).try_init()
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_about_this_program_and_more_also_about_libraries() {
        let parses = |level| EnvFilter::try_new(directives(level)).map(|_| directives(level));
        let debug = parses(LevelFilter::DEBUG).unwrap();
        assert!(
            debug.starts_with("info,host=debug,controller=debug,"),
            "{debug}"
        );
        let trace = parses(LevelFilter::TRACE).unwrap();
        assert!(
            trace.starts_with("debug,host=trace,controller=trace,"),
            "{trace}"
        );
        assert!(
            parses(LevelFilter::ERROR)
                .unwrap()
                .starts_with("error,kube_client")
        );
    }
}
