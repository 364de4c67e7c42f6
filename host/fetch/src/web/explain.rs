//! What the errors of the client and the words of a server mean.

use std::error::Error;
use std::io;

use http::Uri;
use rustls::{CertificateError, InvalidMessage};
use serde::Deserialize;

use super::host;
use crate::error::Problem;

/// The most characters of a server's words in a message.
const WORDS: usize = 200;

/// A request came to nothing.
pub(super) fn connection(error: &(dyn Error + 'static), uri: &Uri) -> Problem {
    let host = host(uri);
    let mut why = error.to_string();
    let mut no_name = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            let why = certificate(error);
            return Problem::Tls { host, why };
        }
        why = cause.to_string();
        no_name |= why == "dns error";
        // What an error of I/O holds is not its source, but stands for it.
        let held = cause.downcast_ref().and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    if no_name {
        let host = uri.host().unwrap_or_default().to_owned();
        return Problem::UnknownHost { host, why };
    }
    Problem::Unreachable { host, why }
}

/// The rest of a sentence that begins with the host.
fn certificate(error: &rustls::Error) -> String {
    match error {
        // A signature is bad where an authority has the name of ours, and another key.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "shows a certificate of an unknown certificate authority: give that authority's certificate, \
              or correct the address"
            .to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "shows a certificate that has expired: renew it there".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "shows a certificate of another host: correct the address, or the certificate's names"
            .to_owned(),
        rustls::Error::InvalidCertificate(error) => {
            format!("shows a certificate that cannot be trusted ({error}): correct it there")
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "does not speak TLS: is it served over plain http, or on another port?".to_owned()
        }
        error => format!("and this program find no way to speak TLS ({error})"),
    }
}

/// What a registry says of its refusal, on one line. Nothing of what is not its language: a page for
/// people helps nobody in a status.
pub(super) fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Envelope { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let words = errors.first().map(|first| match first {
        Entry { code, message } if message.is_empty() => code.clone(),
        Entry { message, .. } => message.clone(),
    });
    plain(&words.unwrap_or_default())
}

/// Without line breaks and other control characters, and not too long.
pub(crate) fn plain(words: &str) -> String {
    let words = words.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_quoted_on_one_line_and_a_page_is_not() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31maccess "}]}"#,
                "no [31maccess",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (r#"{"errors":[]}"#, ""),
            ("<html>Sign in</html>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), expected);
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "é".repeat(1000));
        assert_eq!(said(long.as_bytes()).chars().count(), WORDS);
    }
}
