//! Getting let in: Basic, and the tokens of a registry's token server.

mod challenge;

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use crate::credentials::{Credentials, Login};
use crate::error::{Problem, Shown};
use crate::limits::TOKEN;
use crate::web::{Answer, Ask, Size, Web, plain, same_origin, unexpected};

use challenge::Challenge;

/// Requests to one place, for as long as one module is fetched or pushed.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) web: &'a Web,
    credentials: &'a Credentials,
    /// The only one that is shown what opens its door.
    pub(crate) origin: Uri,
    /// As it was named, with the port where one was given.
    host: String,
    /// Repository, or path.
    pub(crate) path: String,
    /// Shown with each request, once the server has said what it wants to see.
    authorization: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        web: &'a Web,
        credentials: &'a Credentials,
        origin: Uri,
        host: &str,
        path: &str,
    ) -> Self {
        Self {
            web,
            credentials,
            origin,
            host: host.to_owned(),
            path: path.to_owned(),
            authorization: Mutex::new(None),
        }
    }

    /// Asks with what the server wants to see, and finds out what that is where it is not yet known.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Answer, Problem> {
        let is_origin = |uri: &Uri| same_origin(uri, &self.origin);
        let shown = self.shown().filter(|_| is_origin(&ask.uri));
        let answer = self.web.send(&with(ask, shown)).await?;
        // A server that we were sent on to has no business with credentials of this one.
        if answer.status() != StatusCode::UNAUTHORIZED || !is_origin(&answer.uri) {
            return Ok(answer);
        }
        let Some(header) = self.log_in(&answer).await? else {
            return Err(self.locked(answer).await);
        };
        let answer = self.web.send(&with(ask, Some(header.clone()))).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(self.locked(answer).await);
        }
        let mut shown = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shown = Some(header);
        drop(shown);
        Ok(answer)
    }

    fn shown(&self) -> Option<HeaderValue> {
        let shown = self.authorization.lock();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What opens this door; none where nothing does that we have.
    async fn log_in(&self, answer: &Answer) -> Result<Option<HeaderValue>, Problem> {
        let login = self.credentials.of(&self.host, &self.path);
        if let Some(Login::Token(token)) = login {
            return secret(format!("Bearer {token}")).map(Some);
        }
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let headers = headers.filter_map(|header| header.to_str().ok());
        let challenges: Vec<_> = headers.flat_map(challenge::parse).collect();
        // A token is good for one repository and some minutes: it is preferred to the password.
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.is("bearer")) {
            return self.token(bearer, login, &answer.uri).await.map(Some);
        }
        let basic = challenges.iter().any(|challenge| challenge.is("basic"));
        match login {
            Some(Login::Password { user, password }) if basic => {
                secret(basic_auth(user, password)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Asks the token server that the registry names.
    async fn token(
        &self,
        challenge: &Challenge,
        login: Option<&Login>,
        asked: &Uri,
    ) -> Result<HeaderValue, Problem> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let realm: Uri = realm
            .parse()
            .ok()
            .filter(|realm: &Uri| realm.scheme().is_some() && realm.authority().is_some())
            .ok_or_else(|| unexpected(asked, "it names no token server that could be asked"))?;
        let pull = format!("repository:{}:pull", self.path);
        let scope = challenge.parameter("scope").unwrap_or(&pull);
        let mut query = format!("scope={}", encode(scope));
        if let Some(service) = challenge.parameter("service") {
            query = format!("service={}&{query}", encode(service));
        }
        let ask = match login {
            Some(Login::Refresh(token)) => {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                let mut ask = Ask::new(Method::POST, realm).header(CONTENT_TYPE, form);
                ask.body = format!(
                    "grant_type=refresh_token&client_id=node-readiness-host&refresh_token={}&{query}",
                    encode(token)
                )
                .into();
                ask
            }
            login => {
                let separator = if realm.query().is_some() { '&' } else { '?' };
                let uri = format!("{realm}{separator}{query}");
                let uri = uri
                    .parse()
                    .map_err(|_| unexpected(asked, "its token server has no URL"))?;
                match login {
                    Some(Login::Password { user, password }) => {
                        Ask::get(uri).header(AUTHORIZATION, secret(basic_auth(user, password))?)
                    }
                    _ => Ask::get(uri),
                }
            }
        };
        let what = "the token for it";
        let ask_once = || async {
            let answer = self.web.send(&ask).await?;
            match answer.status() {
                StatusCode::OK => self.web.read(answer, what, Size::AtMost(TOKEN)).await,
                StatusCode::UNAUTHORIZED => Err(self.locked(answer).await),
                _ => Err(self.web.refusal(answer, what).await),
            }
        };
        let bytes = self.web.patiently(ask_once).await?;
        // Its own message may repeat the token.
        let unusable = || unexpected(&ask.uri, "its answer has no token in it");
        let Token {
            token,
            access_token,
        } = serde_json::from_slice(&bytes).map_err(|_| unusable())?;
        let token = token.or(access_token).ok_or_else(unusable)?;
        secret(format!("Bearer {token}"))
    }

    /// The door stays shut.
    async fn locked(&self, answer: Answer) -> Problem {
        let host = answer.host();
        let shown = if self.credentials.of(&self.host, &self.path).is_some() {
            Shown::Login
        } else if let Some(helper) = self.credentials.helper(&self.host) {
            Shown::Helper(plain(helper))
        } else {
            Shown::Nothing
        };
        let said = self.web.words(answer).await;
        Problem::Unauthorized {
            host,
            login: shown,
            said,
        }
    }
}

fn with(ask: &Ask, authorization: Option<HeaderValue>) -> Ask {
    match authorization {
        Some(value) => ask.clone().header(AUTHORIZATION, value),
        None => ask.clone(),
    }
}

fn basic_auth(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// A header that nothing prints.
fn secret(text: String) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(&text).map_err(|_| Problem::Unexpected {
        host: "the token server".to_owned(),
        why: "its token has a line break or another control character in it".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// As a value in a query or a form.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_value_cannot_become_two() {
        assert_eq!(
            encode("repository:a/b:pull,push"),
            "repository%3Aa%2Fb%3Apull%2Cpush"
        );
        assert_eq!(encode("a&b=c d+é"), "a%26b%3Dc%20d%2B%C3%A9");
    }
}
