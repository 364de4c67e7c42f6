//! Who we are to a registry or web server: docker's configuration file, as an imagePullSecret has it.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// Logins by host, and by path where one is given. No program is run for those that docker keeps in a
/// credential store.
#[derive(Clone, Default)]
pub struct Credentials {
    /// What is longer comes first: a path of a host before the host.
    entries: Vec<(Place, Login)>,
    stores: Stores,
}

/// How to log in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Exchanged for a token at the registry's token server.
    Refresh(String),
    /// Shown as it is.
    Token(String),
}

/// Docker's configuration cannot be read. No message repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// No JSON of the expected shape.
    #[error(
        "the credentials are not a docker config (line {line}, column {column}): it is a JSON object such as \
         {{\"auths\": {{\"registry.example.com\": {{\"auth\": \"…\"}}}}}}"
    )]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The entry of a host has an `auth` that is something else.
    #[error("the credentials of {0} cannot be read: `auth` is USER:PASSWORD in base64")]
    Auth(String),
    /// The entry's name is no host.
    #[error("the credentials are of '{0}', which is not a host with or without a path")]
    Host(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(flatten)]
    stores: Stores,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stores {
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Credentials {
    /// From `~/.docker/config.json`, or the `.dockerconfigjson` of a Secret.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_docker_config(text: &[u8]) -> Result<Self, InvalidCredentials> {
        let config: Config = serde_json::from_slice(text).map_err(|error| {
            // Its own message may repeat a value.
            InvalidCredentials::Json {
                line: error.line(),
                column: error.column(),
            }
        })?;
        let mut credentials = Self {
            entries: Vec::new(),
            stores: config.stores,
        };
        for (name, entry) in config.auths {
            let place = Place::parse(&name).ok_or(InvalidCredentials::Host(name.clone()))?;
            if let Some(login) = login(entry).ok_or(InvalidCredentials::Auth(name))? {
                credentials.entries.push((place, login));
            }
        }
        credentials.sort();
        Ok(credentials)
    }

    /// Those of another configuration too; where both have some for a place, these come first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self.sort();
        self.stores.creds_store = self.stores.creds_store.or(other.stores.creds_store);
        for (host, helper) in other.stores.cred_helpers {
            self.stores.cred_helpers.entry(host).or_insert(helper);
        }
        self
    }

    fn sort(&mut self) {
        // Stable: what came first stays first among equals.
        self.entries.sort_by_key(|(Place { host, path }, _)| {
            std::cmp::Reverse((path.len(), !host.contains('*'), host.len()))
        });
    }

    /// For a host, with the port where the address has one, and a path.
    pub(crate) fn of(&self, host: &str, path: &str) -> Option<&Login> {
        let host = docker_hub(host);
        self.entries
            .iter()
            .find(|(place, _)| place.covers(host, path))
            .map(|(_, login)| login)
    }

    /// The program that docker would ask about this host.
    pub(crate) fn helper(&self, host: &str) -> Option<&str> {
        let Stores {
            creds_store,
            cred_helpers,
        } = &self.stores;
        let helper = cred_helpers.get(host).or(creds_store.as_ref())?;
        Some(helper.as_str())
    }
}

/// None where there is nothing in it: docker leaves empty entries for what is in a credential store.
/// No outer one where it cannot be read.
fn login(entry: Entry) -> Option<Option<Login>> {
    let Entry {
        auth,
        username,
        password,
        identitytoken,
        registrytoken,
    } = entry;
    Some(Some(if !registrytoken.is_empty() {
        Login::Token(registrytoken)
    } else if !identitytoken.is_empty() {
        Login::Refresh(identitytoken)
    } else if !auth.is_empty() {
        let text = BASE64_STANDARD.decode(auth.trim()).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (user, password) = text.split_once(':')?;
        Login::Password {
            user: user.to_owned(),
            // Docker pads it.
            password: password.trim_end_matches('\0').to_owned(),
        }
    } else if !username.is_empty() {
        Login::Password {
            user: username,
            password,
        }
    } else {
        return Some(None);
    }))
}

/// A host with or without port and path, in which `*` stands for a part of the host's name: the
/// kubelet reads the names of entries so.
#[derive(Clone)]
struct Place {
    host: String,
    path: String,
}

impl Place {
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix("https://").unwrap_or(name);
        let name = name.strip_prefix("http://").unwrap_or(name);
        let (host, path) = name.split_once('/').unwrap_or((name, ""));
        // The address of the registry's API is that of its host.
        let path = match path.trim_end_matches('/') {
            "v1" | "v2" => "",
            path => path,
        };
        let plain = host.replace('*', "x");
        crate::reference::is_authority(&plain).then(|| Self {
            host: docker_hub(host).to_owned(),
            path: path.to_owned(),
        })
    }

    fn covers(&self, host: &str, path: &str) -> bool {
        let below = path.strip_prefix(&self.path);
        below.is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/'))
            && same_host(&self.host, host)
    }
}

/// Part by part, so that `*` does not reach over a dot.
fn same_host(pattern: &str, host: &str) -> bool {
    let (mut wanted, mut parts) = (pattern.split('.'), host.split('.'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) if same_part(wanted, part) => {}
            _ => return false,
        }
    }
}

fn same_part(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(part),
        Some((before, after)) => {
            let after = after.trim_start_matches('*');
            part.len() >= before.len() + after.len()
                && part.starts_with(before)
                && part.ends_with(after)
        }
    }
}

/// Docker's own registry has one set of credentials under several names.
fn docker_hub(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// The places, and nothing that opens them.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.entries.iter().map(|(place, _)| &place.host);
        f.debug_set().entries(places).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(auths: &str) -> Credentials {
        Credentials::from_docker_config(format!("{{\"auths\": {{{auths}}}}}").as_bytes()).unwrap()
    }

    fn user<'a>(credentials: &'a Credentials, host: &str, path: &str) -> Option<&'a str> {
        match credentials.of(host, path)? {
            Login::Password { user, .. } => Some(user),
            Login::Refresh(token) | Login::Token(token) => Some(token),
        }
    }

    #[test]
    fn an_entry_is_read_in_each_of_its_forms() {
        let credentials = config(
            r#""a.example": {"auth": "dXNlcjpwYXNzOndvcmQ="},
               "b.example": {"username": "user", "password": "pass:word"},
               "c.example": {"auth": "PHRva2VuPjo=", "identitytoken": "refresh"},
               "d.example": {"registrytoken": "bearer"},
               "e.example": {}"#,
        );
        let password = Login::Password {
            user: "user".to_owned(),
            password: "pass:word".to_owned(),
        };
        for (host, login) in [
            ("a.example", Some(password.clone())),
            ("b.example", Some(password)),
            ("c.example", Some(Login::Refresh("refresh".to_owned()))),
            ("d.example", Some(Login::Token("bearer".to_owned()))),
            ("e.example", None),
            ("f.example", None),
        ] {
            assert!(credentials.of(host, "x") == login.as_ref(), "{host}");
        }
    }

    #[test]
    fn the_most_exact_entry_of_a_host_counts() {
        let credentials = config(
            r#""https://host.example/v2/": {"username": "host"},
               "host.example/team": {"username": "team"},
               "host.example/team/app": {"username": "app"},
               "host.example:5000": {"username": "port"},
               "*.wild.example": {"username": "wild"},
               "a.wild.example": {"username": "exact"},
               "https://index.docker.io/v1/": {"username": "hub"}"#,
        );
        for (host, path, expected) in [
            ("host.example", "other", Some("host")),
            ("host.example", "teams/app", Some("host")),
            ("host.example", "team/b", Some("team")),
            ("host.example", "team", Some("team")),
            ("host.example", "team/app", Some("app")),
            ("host.example:5000", "team", Some("port")),
            ("host.example:5001", "team", None),
            ("b.wild.example", "x", Some("wild")),
            ("a.wild.example", "x", Some("exact")),
            ("a.b.wild.example", "x", None),
            ("wild.example", "x", None),
            ("host.example.evil", "x", None),
            ("docker.io", "x", Some("hub")),
            ("registry-1.docker.io", "x", Some("hub")),
        ] {
            assert_eq!(user(&credentials, host, path), expected, "{host}/{path}");
        }
    }

    #[test]
    fn of_two_configurations_the_first_counts() {
        let first = config(r#""a.example": {"username": "first"}"#);
        let second =
            config(r#""a.example": {"username": "second"}, "b.example": {"username": "b"}"#);
        let both = first.and(second);
        assert_eq!(user(&both, "a.example", ""), Some("first"));
        assert_eq!(user(&both, "b.example", ""), Some("b"));
    }

    #[test]
    fn a_credential_store_is_named() {
        let text = br#"{"auths": {"a.example": {}}, "credsStore": "desktop", "credHelpers": {"b.example": "ecr"}}"#;
        let credentials = Credentials::from_docker_config(text).unwrap();
        assert_eq!(credentials.helper("a.example"), Some("desktop"));
        assert_eq!(credentials.helper("b.example"), Some("ecr"));
        assert_eq!(config("").helper("a.example"), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_repeated() {
        for (text, problem) in [
            ("", "not a docker config (line 1, column 0)"),
            ("{\"auths\": \"secret\"}", "not a docker config (line 1"),
            (
                "{\"auths\": {\"a.example\": {\"auth\": 7}}}",
                "not a docker config",
            ),
            (
                "{\"auths\": {\"a.example\": {\"auth\": \"secret!\"}}}",
                "of a.example cannot be read",
            ),
            (
                "{\"auths\": {\"a.example\": {\"auth\": \"c2VjcmV0\"}}}",
                "of a.example cannot be read",
            ),
            (
                "{\"auths\": {\"a b\": {\"auth\": \"\"}}}",
                "'a b', which is not a host",
            ),
        ] {
            let error = Credentials::from_docker_config(text.as_bytes()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!(
            "{:?}",
            config(r#""a.example": {"username": "u", "password": "secret"}"#)
        );
        assert_eq!(shown, "{\"a.example\"}");
    }
}
