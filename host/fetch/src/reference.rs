//! What names something in a registry.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, InvalidDigest};

/// An artifact in a registry: `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`; with both the
/// digest counts. Nothing is assumed where a part is missing: neither a registry nor `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// Which of the artifacts of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The one that a tag names now.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
}

/// A text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a reference to something in a registry: {problem}")]
pub struct InvalidReference {
    text: String,
    problem: String,
}

/// The longest that a repository, with its registry, or a tag may be, as the distribution
/// specification has it.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

impl Reference {
    /// Host, with the port where one is given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Which of its artifacts.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The same repository by digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        self.with(Version::Digest(digest))
    }

    pub(crate) fn with(&self, version: Version) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            version,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registry,
            repository,
            version,
        } = self;
        match version {
            Version::Tag(tag) => write!(f, "{registry}/{repository}:{tag}"),
            Version::Digest(digest) => write!(f, "{registry}/{repository}@{digest}"),
        }
    }
}

impl Version {
    /// As it stands in a URL.
    pub(crate) fn segment(&self) -> String {
        match self {
            Self::Tag(tag) => tag.clone(),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        parse(text).map_err(|problem| InvalidReference {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash is that of a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let named = name
        .split_once('/')
        .filter(|(registry, _)| registry.contains(['.', ':']) || *registry == "localhost");
    let Some((registry, repository)) = named else {
        return Err(
            "it names no registry: write its host before it, such as registry.example.com/policies/steady:1.0"
                .to_owned(),
        );
    };
    if !is_authority(registry) {
        return Err(format!("'{registry}' is not a host with or without a port"));
    }
    if name.len() > LONGEST_NAME || !repository.split('/').all(is_component) {
        return Err(format!(
            "'{repository}' is not a repository: it has parts of a-z and 0-9, with single '.', '_' or '-' in between, \
             separated by '/'"
        ));
    }
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(format!(
            "'{tag}' is not a tag: it has up to 128 letters, digits, '_', '.' and '-', and does not begin with '.' or '-'"
        ));
    }
    let version = match (digest, tag) {
        (Some(digest), _) => Version::Digest(
            digest
                .parse()
                .map_err(|error: InvalidDigest| error.to_string())?,
        ),
        (None, Some(tag)) => Version::Tag(tag.to_owned()),
        (None, None) => {
            return Err("it says neither tag nor digest: add :TAG, or better @sha256:…".to_owned());
        }
    };
    Ok(Reference {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        version,
    })
}

/// `host`, `host:port`, `[::1]:port`
pub(crate) fn is_authority(text: &str) -> bool {
    let is_host = |host: &str| {
        let of_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        !host.is_empty() && host.bytes().all(of_host)
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match text.strip_prefix('[').map(|text| text.split_once(']')) {
        Some(Some((address, port))) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }
        Some(None) => false,
        None => match text.split_once(':') {
            Some((host, port)) => is_host(host) && is_port(port),
            None => is_host(text),
        },
    }
}

fn is_component(text: &str) -> bool {
    let of_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator = |between: &str| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
    };
    text.starts_with(of_word) && text.ends_with(of_word) && text.split(of_word).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(of_word)
        && text
            .bytes()
            .all(|byte| of_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_has_registry_repository_and_version() {
        for (text, registry, repository, version) in [
            (
                "registry.example.com/steady:1.0",
                "registry.example.com",
                "steady",
                "1.0",
            ),
            (
                "localhost/a/b-c__d.e/f:v_1",
                "localhost",
                "a/b-c__d.e/f",
                "v_1",
            ),
            ("127.0.0.1:5000/a--b:_", "127.0.0.1:5000", "a--b", "_"),
            ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
            ("[::1]/a:1", "[::1]", "a", "1"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (reference.registry(), reference.repository()),
                (registry, repository)
            );
            assert_eq!(reference.version(), &Version::Tag(version.to_owned()));
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn a_digest_counts_more_than_a_tag() {
        for text in [
            format!("host:1/a:tag@{DIGEST}"),
            format!("host:1/a@{DIGEST}"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                reference.version(),
                &Version::Digest(DIGEST.parse().unwrap())
            );
            assert_eq!(reference.to_string(), format!("host:1/a@{DIGEST}"));
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (text, problem) in [
            ("steady:1.0", "names no registry"),
            ("policies/steady:1.0", "names no registry"),
            ("", "names no registry"),
            ("host.example/steady", "neither tag nor digest"),
            ("host.example/Steady:1", "'Steady' is not a repository"),
            ("host.example/a//b:1", "'a//b' is not a repository"),
            ("host.example/../b:1", "'../b' is not a repository"),
            ("host.example/a..b:1", "'a..b' is not a repository"),
            ("host.example/a___b:1", "'a___b' is not a repository"),
            ("host.example/a._b:1", "'a._b' is not a repository"),
            ("host.example/-a:1", "'-a' is not a repository"),
            ("host.example/a?b:1", "'a?b' is not a repository"),
            ("host.example/a:", "'' is not a tag"),
            ("host.example/a:.1", "'.1' is not a tag"),
            ("host.example/a:1 2", "'1 2' is not a tag"),
            ("host.example/a@sha256:12", "'sha256:12' is not a digest"),
            ("host.example:0/a:1", "'host.example:0' is not a host"),
            (
                "host.example:70000/a:1",
                "'host.example:70000' is not a host",
            ),
            ("https://host.example/a:1", "'https:' is not a host"),
            ("user@host.example/a:1", "names no registry"),
            ("[::1/a:1", "'[::1' is not a host"),
            ("hö.st/a:1", "'hö.st' is not a host"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
