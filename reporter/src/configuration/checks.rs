//! The checks: one from plain variables, or several from a list.

use std::num::NonZeroU32;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;

use super::{Check, Environment, default_of};
use crate::check::Probe;
use crate::connection;
use crate::threshold::Thresholds;
use crate::trust::Trust;

/// What a kubelet says of its node, every few seconds.
const OF_KUBELETS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// An item of `CHECKS`, and what the plain variables say of their one check.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Draft {
    condition_type: String,
    endpoint: Option<String>,
    command: Option<Vec<String>>,
    interval: Option<String>,
    ca_file: Option<PathBuf>,
    success_threshold: Option<NonZeroU32>,
    failure_threshold: Option<NonZeroU32>,
}

/// Where a check is written down.
#[derive(Debug, Clone, Copy)]
enum Place {
    Variables,
    /// At this place of `CHECKS`.
    List(usize),
}

impl Place {
    /// What is written there, by the name of its variable and of its field.
    fn name(self, variable: &str, field: &str) -> String {
        match self {
            Self::Variables => variable.to_owned(),
            Self::List(index) => format!("CHECKS[{index}].{field}"),
        }
    }

    fn endpoint(self) -> String {
        self.name("CHECK_ENDPOINT", "endpoint")
    }

    fn command(self) -> String {
        self.name("CHECK_COMMAND", "command")
    }

    fn condition_type(self) -> String {
        self.name("CONDITION_TYPE", "conditionType")
    }
}

/// The one check of the plain variables.
pub(super) fn single(environment: &mut Environment<'_>) -> Result<Vec<Check>, String> {
    let command = match environment.get("CHECK_COMMAND") {
        None => None,
        Some(text) => Some(serde_json::from_str(&text).map_err(|error| {
            format!(
                "CHECK_COMMAND={text}: this is no JSON list of a program and its arguments: {error}"
            )
        })?),
    };
    let draft = Draft {
        condition_type: environment.get("CONDITION_TYPE").unwrap_or_default(),
        endpoint: environment.get("CHECK_ENDPOINT"),
        command,
        ..Draft::default()
    };
    Ok(vec![check(environment, draft, Place::Variables)?])
}

/// Those of the variable `CHECKS`. What a check does not say is said by the plain variables.
pub(super) fn list(environment: &mut Environment<'_>, text: &str) -> Result<Vec<Check>, String> {
    for name in ["CHECK_ENDPOINT", "CHECK_COMMAND", "CONDITION_TYPE"] {
        if environment.get(name).is_some() {
            return Err(format!(
                "CHECKS and {name} are both set: put every check into CHECKS"
            ));
        }
    }
    let drafts: Vec<Draft> = serde_json::from_str(text).map_err(|error| {
        format!(
            "CHECKS is not as documented: {error}; give a JSON list such as \
             [{{\"conditionType\": \"example.com/AgentReady\", \"endpoint\": \"http://localhost:8765/healthz\"}}]"
        )
    })?;
    if drafts.is_empty() {
        return Err("CHECKS has no check in it".to_owned());
    }
    let mut checks: Vec<Check> = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let place = Place::List(index);
        let check = check(environment, draft, place)?;
        if checks
            .iter()
            .any(|other| other.condition == check.condition)
        {
            return Err(format!(
                "{}={}: another check writes this condition already",
                place.condition_type(),
                check.condition
            ));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn check(environment: &mut Environment<'_>, draft: Draft, place: Place) -> Result<Check, String> {
    let Draft {
        condition_type,
        endpoint,
        command,
        interval,
        ca_file,
        success_threshold,
        failure_threshold,
    } = draft;
    if condition_type.is_empty() {
        return Err(format!("{} is missing", place.condition_type()));
    }
    if !super::is_type_of_condition(&condition_type) {
        return Err(format!(
            "{}={condition_type}: this is no type of a condition: give letters, digits, -, _ and ., beginning and ending \
             with a letter or digit, after a domain and a slash or not, such as example.com/AgentReady",
            place.condition_type()
        ));
    }
    if OF_KUBELETS.contains(&condition_type.as_str()) {
        return Err(format!(
            "{}={condition_type}: the kubelet itself writes this condition, and would write over what is reported here: give \
             another type, such as example.com/AgentReady",
            place.condition_type()
        ));
    }
    let probe = match (endpoint, command) {
        (Some(_), Some(_)) => {
            let (endpoint, command) = (place.endpoint(), place.command());
            return Err(format!(
                "{endpoint} and {command} are both set: a check has one of them"
            ));
        }
        (None, None) => {
            let (endpoint, command) = (place.endpoint(), place.command());
            return Err(format!("{endpoint} is missing, and so is {command}"));
        }
        (None, Some(command)) => {
            if command.first().is_none_or(String::is_empty) {
                return Err(format!("{} names no program", place.command()));
            }
            Probe::Exec { command }
        }
        (Some(endpoint), None) => {
            let ca_file = ca_file.or_else(|| Some(environment.get("CHECK_CA_FILE")?.into()));
            let has_file = ca_file.is_some();
            let trust = Trust::new(ca_file);
            match probe(endpoint, trust).map_err(|why| format!("{}={why}", place.endpoint()))? {
                Probe::Http {
                    endpoint,
                    url,
                    mut trust,
                    // A redirect may lead from http to https.
                } if has_file || url.scheme_str() == Some("https") => {
                    let name = place.name("CHECK_CA_FILE", "caFile");
                    trust.config().map_err(|why| format!("{name}={why}"))?;
                    Probe::Http {
                        endpoint,
                        url,
                        trust,
                    }
                }
                probe => probe,
            }
        }
    };
    let interval = interval.or_else(|| environment.get("CHECK_INTERVAL"));
    let interval = environment.duration(
        &place.name("CHECK_INTERVAL", "interval"),
        interval.as_deref(),
        default_of("CHECK_INTERVAL"),
    );
    let threshold = |given: Option<NonZeroU32>, name| match given {
        Some(given) => Ok(given.get()),
        None => environment.threshold(name),
    };
    Ok(Check {
        condition: condition_type,
        probe,
        interval,
        thresholds: Thresholds {
            success: threshold(success_threshold, "SUCCESS_THRESHOLD")?,
            failure: threshold(failure_threshold, "FAILURE_THRESHOLD")?,
        },
    })
}

/// What is asked at an endpoint; or the endpoint, and what is wrong with it.
fn probe(endpoint: String, trust: Trust) -> Result<Probe, String> {
    let wrong = |why: &str| format!("{endpoint}: {why}");
    let form = "give http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or tcp://HOST:PORT";
    let url: Uri = endpoint.parse().map_err(|error| {
        let rest = endpoint.split_once("://").map(|(_, rest)| rest);
        // Parsing says something less helpful of these.
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return wrong(&format!("there is no host in it: {form}"));
        }
        wrong(&format!("{error}: {form}"))
    })?;
    let host = url.host().filter(|host| !host.is_empty());
    let host = host
        .ok_or_else(|| wrong(&format!("there is no host in it: {form}")))?
        .to_owned();
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(
            "(hidden): there is a user in it, and the endpoint stands in the condition, \
                    where everybody can read it: ask one that needs none"
                .to_owned(),
        );
    }
    let port = connection::port(&url).map_err(|why| wrong(&format!("{why}: {form}")))?;
    match url.scheme_str() {
        Some("http" | "https") => Ok(Probe::Http {
            endpoint,
            url,
            trust,
        }),
        Some("tcp") => {
            let port = port.ok_or_else(|| wrong("there is no port in it"))?;
            if url
                .path_and_query()
                .is_some_and(|path| !matches!(path.as_str(), "" | "/"))
            {
                return Err(wrong("a port has no path"));
            }
            Ok(Probe::Tcp {
                endpoint,
                host,
                port,
            })
        }
        _ => Err(wrong(&format!(
            "only http, https and tcp can be asked: {form}"
        ))),
    }
}
