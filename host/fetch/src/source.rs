//! Where a module is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;

use crate::reference::{InvalidReference, Reference};

/// A place that bytes can be brought from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An artifact in an OCI registry. Written as `oci://REFERENCE`.
    Registry(Reference),
    /// A file on a web server. Written as its URL.
    Web(Uri),
    /// A file here. Written as its path.
    File(PathBuf),
}

/// A text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// What follows `oci://` is no reference.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// It begins as a URL, and is none that can be used. The text is not repeated: it may hold a password.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        if let Some(reference) = text.strip_prefix("oci://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return web(text).map(Self::Web).map_err(InvalidSource::Url);
        }
        Ok(Self::File(text.into()))
    }
}

fn web(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text
        .parse()
        .map_err(|_| "it has a character that must be percent-encoded, or no host")?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("it has a user in it: give credentials as a docker config instead");
    }
    if !crate::reference::is_authority(authority) {
        return Err("its host or port is not one");
    }
    Ok(uri)
}

/// For messages: without the query, which may hold a signature that gives access.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => fmt::Display::fmt(reference, f),
            Self::Web(uri) => {
                let scheme = uri.scheme_str().unwrap_or_default();
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                write!(f, "{scheme}://{authority}{}", uri.path())
            }
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_says_what_it_is() {
        let registry = "oci://host.example/a:1".parse().unwrap();
        assert!(matches!(registry, Source::Registry(_)), "{registry:?}");
        let web = "https://host.example:8443/a.wasm?token=secret"
            .parse()
            .unwrap();
        assert!(matches!(web, Source::Web(_)), "{web:?}");
        assert_eq!(web.to_string(), "https://host.example:8443/a.wasm");
        for path in [
            "policy.wasm",
            "/policies/a:1",
            "host.example/a:1",
            "ftp://host",
        ] {
            assert_eq!(path.parse(), Ok(Source::File(path.into())));
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_and_not_repeated() {
        for (url, problem) in [
            ("https://user:secret@host.example/a", "a user in it"),
            ("https://", "no host"),
            ("https://host.example/secret key", "percent-encoded"),
            ("https://host.example:secret/a", "host"),
        ] {
            let error = url.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
