//! Asking whether something is ready.

mod exec;
mod http;

use std::fmt;
use std::time::Duration;

use ::http::Uri;
use tokio::time::timeout;

use crate::condition::{Report, Status};
use crate::connection;
use crate::trust::Trust;

/// For one check, from its beginning to its end.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of the body of an answer, or of what a command prints.
const READ: usize = 64 * 1024;
/// What is written of it.
const WRITTEN: usize = 1024;

/// How a check went, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ready.
    Healthy,
    /// An answer, and another one than ready.
    Unhealthy,
    /// No answer.
    Error,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it is counted.
    pub kind: Kind,
    /// What it means for the condition.
    pub report: Report,
}

impl Outcome {
    fn ready(reason: &'static str, message: String) -> Self {
        Self::new(Kind::Healthy, Status::True, reason, message)
    }

    fn unready(reason: &'static str, message: String) -> Self {
        Self::new(Kind::Unhealthy, Status::False, reason, message)
    }

    fn failed(reason: &'static str, message: String) -> Self {
        Self::new(Kind::Error, Status::False, reason, message)
    }

    /// Whoever asked was not answered.
    fn unreachable(endpoint: &str, why: &str) -> Self {
        let message = format!("Failed to reach endpoint {endpoint}: {}", clip(why));
        Self::failed("EndpointConnectionError", message)
    }

    fn new(kind: Kind, status: Status, reason: &'static str, message: String) -> Self {
        Self {
            kind,
            report: Report {
                status,
                reason,
                message,
            },
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub enum Probe {
    /// GET; 2xx is ready.
    Http {
        /// As it was given.
        endpoint: String,
        /// The same.
        url: Uri,
        /// Of an https endpoint.
        trust: Trust,
    },
    /// An open port is ready.
    Tcp {
        /// As it was given.
        endpoint: String,
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// An exit status of 0 is ready.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { endpoint, .. } | Self::Tcp { endpoint, .. } => f.write_str(endpoint),
            Self::Exec { command } => write!(f, "{command:?}"),
        }
    }
}

impl Probe {
    /// Asks once. It may be dropped at any moment.
    pub async fn ask(&mut self) -> Outcome {
        match self {
            Self::Http {
                endpoint,
                url,
                trust,
            } => http::ask(endpoint, url, trust).await,
            Self::Tcp {
                endpoint,
                host,
                port,
            } => match timeout(PATIENCE, connection::tcp(host, *port)).await {
                Ok(Ok(_)) => Outcome::ready("EndpointOK", ready(endpoint)),
                Ok(Err(why)) => Outcome::unreachable(endpoint, &why),
                Err(_) => Outcome::unreachable(endpoint, &no_answer()),
            },
            Self::Exec { command } => exec::ask(command).await,
        }
    }
}

fn ready(endpoint: &str) -> String {
    format!("Endpoint reports ready at {endpoint}")
}

fn no_answer() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// The beginning of what somebody said, which may not be text.
fn start(said: &[u8]) -> String {
    clip(String::from_utf8_lossy(said).trim_end()).to_owned()
}

/// The beginning of a text that somebody else is the author of.
pub fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(WRITTEN))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compat_048_a_text_is_cut_between_its_characters() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"a".repeat(1025)), "a".repeat(1024));
        let wide = "€".repeat(400);
        assert_eq!(clip(&wide), "€".repeat(341));
        assert_eq!(start(b"not \xff ready\n"), "not \u{fffd} ready");
        // What is no text becomes longer when it is made one.
        assert!(start(&[0xff; 1024]).len() <= 1024);
    }
}
