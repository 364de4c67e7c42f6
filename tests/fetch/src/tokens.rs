//! A stand-in for a registry's token server. The registry checks its tokens for real.

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::jwt::{SigningKey, now};
use crate::stand_in::{Reply, Seen, StandIn};
use crate::{PASSWORD, USER};

/// Gives out tokens: all that is asked for to who knows the password or the refresh token, and to read
/// what is below `public/` to everybody.
pub struct Tokens {
    server: StandIn,
    keys: String,
}

/// What may be shown instead of the password.
const REFRESH: &str = "refresh me";

impl Tokens {
    /// Starts it.
    ///
    /// # Errors
    /// No port, or no key.
    pub async fn start() -> Result<Self> {
        let key = SigningKey::new()?;
        let keys = key.public().to_string();
        let server = StandIn::start(move |seen| reply(&key, seen)).await?;
        Ok(Self { server, keys })
    }

    /// Its URL.
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// The keys that its tokens are signed with.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// What it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// The configuration of a user who has a refresh token for this host.
    pub fn docker_config(host: &str) -> String {
        json!({"auths": {host: {"identitytoken": REFRESH}}}).to_string()
    }
}

fn reply(key: &SigningKey, seen: &Seen) -> Reply {
    let body = seen.body();
    let query = match seen.method.as_str() {
        "POST" => body.as_str(),
        _ => seen.path.split_once('?').map_or("", |(_, query)| query),
    };
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| decode(value))
    };
    let basic = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))
    );
    let known = match seen.header("authorization") {
        "" => value("refresh_token").as_deref() == Some(REFRESH),
        shown if shown == basic => true,
        _ => return Reply::status(401, r#"{"errors":[{"message":"who are you?"}]}"#),
    };
    let scope = value("scope").unwrap_or_default();
    let parts: Vec<_> = scope.split(':').collect();
    let [kind, name, actions] = parts.as_slice() else {
        return Reply::status(400, "");
    };
    let actions: Vec<_> = actions
        .split(',')
        .filter(|action| known || name.starts_with("public/") && *action == "pull")
        .collect();
    let access = json!([{"type": kind, "name": name, "actions": actions}]);
    match token(key, &access) {
        Some(token) => Reply::status(200, &json!({"access_token": token}).to_string()),
        None => Reply::status(500, ""),
    }
}

fn token(key: &SigningKey, access: &Value) -> Option<String> {
    let now = now()?;
    key.sign(&json!({
        "iss": "tokens", "sub": USER, "aud": "registry", "jti": "1", "access": access,
        "iat": now, "nbf": now - 60, "exp": now + 300,
    }))
}

/// Without `%XX`.
fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(part.len().min(2));
        let byte = u8::from_str_radix(hex, 16).unwrap_or(b'?');
        decoded.push(char::from(byte));
        decoded.push_str(rest);
    }
    decoded
}
