//! What the environment says.

mod checks;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::check::Probe;
use crate::duration;
use crate::threshold::Thresholds;

/// A variable, as it is explained to people.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What counts where it is not set; empty where nothing does.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// All of them. `docs/reporter.md` has the same table; a test compares them.
pub const VARIABLES: [Variable; 13] = [
    variable(
        "NODE_NAME",
        "",
        "the node whose condition is written; required",
    ),
    variable(
        "CHECK_ENDPOINT",
        "",
        "what is asked: http://…, https://… or tcp://host:port; required",
    ),
    variable("CONDITION_TYPE", "", "the type of the condition; required"),
    variable("CHECK_INTERVAL", "30s", "from one check to the next"),
    variable(
        "HEARTBEAT_PERIOD",
        "5m",
        "how old a condition becomes before it is written again as it is",
    ),
    variable(
        "METRICS_BIND_ADDRESS",
        ":9445",
        "where /metrics and /healthz are served; 0: nowhere",
    ),
    variable(
        "IMPERSONATE_NODE",
        "",
        "true: act as the user system:node:NODE_NAME",
    ),
    variable(
        "CHECK_CA_FILE",
        "",
        "authorities in PEM for an https endpoint, in the place of those that are built in",
    ),
    variable(
        "CHECK_COMMAND",
        "",
        "a command in the place of an endpoint, as a JSON list",
    ),
    variable(
        "SUCCESS_THRESHOLD",
        "1",
        "successes in a row before the condition becomes True",
    ),
    variable(
        "FAILURE_THRESHOLD",
        "1",
        "failures in a row before the condition is True no more",
    ),
    variable(
        "CHECKS",
        "",
        "several checks as a JSON list, in the place of CHECK_ENDPOINT or CHECK_COMMAND",
    ),
    variable(
        "UNKNOWN_ON_EXIT",
        "",
        "true: set the condition to Unknown on SIGTERM",
    ),
];

/// What the program does.
#[derive(Debug)]
pub struct Configuration {
    /// The name of the node.
    pub node: String,
    /// At least one; no two with the same condition.
    pub checks: Vec<Check>,
    /// How old a heartbeat becomes.
    pub heartbeat: Duration,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Does it act as its node?
    pub impersonate: bool,
    /// Does it take back what it said when it ends?
    pub unknown_on_exit: bool,
}

/// One check.
#[derive(Debug)]
pub struct Check {
    /// The type of the condition.
    pub condition: String,
    /// What is asked.
    pub probe: Probe,
    /// How often.
    pub interval: Duration,
    /// What is believed.
    pub thresholds: Thresholds,
}

/// Where variables come from. One that is empty is not set, as in Go.
pub struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    /// What was wrong and could be done without.
    pub warnings: Vec<String>,
}

impl<'a> Environment<'a> {
    /// Reads variables by this.
    pub fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            read,
            warnings: Vec::new(),
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|value| !value.is_empty())
    }

    /// As the Go project's reporter reads it: only `true` is true. What is neither is told.
    fn impersonates(&mut self) -> bool {
        let text = self.get("IMPERSONATE_NODE");
        if let Some(text) = text
            .as_deref()
            .filter(|text| !matches!(*text, "true" | "false"))
        {
            self.warnings.push(format!(
                "IMPERSONATE_NODE={text}: only true counts; it writes under its own name, and not as its node"
            ));
        }
        text.as_deref() == Some("true")
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(format!("{name}={text}: give true, or false")),
        }
    }

    /// A duration; what is none counts as `default`.
    fn duration(&mut self, name: &str, text: Option<&str>, default: &str) -> Duration {
        if let Some(text) = text {
            match duration::parse(text) {
                Ok(duration) => return duration,
                Err(why) => {
                    let warning = format!("{name}={text}: {why}; {default} is taken");
                    self.warnings.push(warning);
                }
            }
        }
        // The defaults are durations: a test reads them.
        duration::parse(default).unwrap_or(Duration::from_secs(30))
    }

    fn threshold(&self, name: &str) -> Result<u32, String> {
        match self
            .get(name)
            .map(|text| (text.parse::<NonZeroU32>(), text))
        {
            None => Ok(1),
            Some((Ok(number), _)) => Ok(number.get()),
            Some((Err(_), text)) => Err(format!("{name}={text}: give a whole number from 1")),
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    pub fn configuration(&mut self) -> Result<Configuration, Vec<String>> {
        let list = self.get("CHECKS");
        let is_missing = |name: &&str| match *name {
            "CHECK_ENDPOINT" if self.get("CHECK_COMMAND").is_some() => false,
            "CHECK_ENDPOINT" | "CONDITION_TYPE" if list.is_some() => false,
            name => self.get(name).is_none(),
        };
        let required = ["NODE_NAME", "CHECK_ENDPOINT", "CONDITION_TYPE"];
        let missing: Vec<&str> = required.into_iter().filter(is_missing).collect();
        if !missing.is_empty() {
            return Err(vec![format!(
                "these variables are required and not set: {}; --help explains all",
                missing.join(", ")
            )]);
        }
        let mut problems = Vec::new();
        let node = self.get("NODE_NAME").unwrap_or_default();
        if !is_subdomain(&node) {
            problems.push(format!(
                "NODE_NAME={node}: no node has such a name: give lower case letters, digits, - and ."
            ));
        }
        let checks = match list {
            Some(list) => checks::list(self, &list),
            None => checks::single(self),
        };
        let checks = checks.unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        let heartbeat = self.get("HEARTBEAT_PERIOD");
        let default = default_of("HEARTBEAT_PERIOD");
        let heartbeat = self.duration("HEARTBEAT_PERIOD", heartbeat.as_deref(), default);
        let address = self.get("METRICS_BIND_ADDRESS");
        let address = address
            .as_deref()
            .unwrap_or(default_of("METRICS_BIND_ADDRESS"));
        let metrics = serve::address(address).unwrap_or_else(|why| {
            problems.push(format!("METRICS_BIND_ADDRESS={address}: {why}"));
            None
        });
        let unknown_on_exit = self.flag("UNKNOWN_ON_EXIT").unwrap_or_else(|problem| {
            problems.push(problem);
            false
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Configuration {
            node,
            checks,
            heartbeat,
            metrics,
            impersonate: self.impersonates(),
            unknown_on_exit,
        })
    }
}

fn default_of(name: &str) -> &'static str {
    let mut variables = VARIABLES.iter();
    let variable = variables.find(|variable| variable.name == name);
    variable.map_or("", |variable| variable.default)
}

/// As the API has it for the type of a condition: a name, after a domain and a slash or not.
fn is_type_of_condition(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 316
        && domain.is_none_or(is_subdomain)
        && ends(name.bytes().next())
        && ends(name.bytes().last())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A DNS subdomain, as the names of nodes are: such a name becomes part of a path and of a header. The domain
/// before the type of a condition is one too.
fn is_subdomain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            label.bytes().all(|byte| allowed(byte) || byte == b'-')
                && label.bytes().next().is_some_and(allowed)
                && label.bytes().last().is_some_and(allowed)
        })
}

#[cfg(test)]
mod tests;
