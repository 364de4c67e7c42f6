//! What can go wrong on the way from a place to a module that can be trusted.

use std::time::Duration;

use crate::digest::Digest;

/// A module could not be brought, or may not be used: where, what, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FetchError {
    /// What was asked for, as it was named.
    pub place: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The name does not resolve.
    #[error(
        "there is no host {host}: correct its name, or ask why DNS does not know it here ({why})"
    )]
    UnknownHost {
        /// Without the port.
        host: String,
        /// As the system says it.
        why: String,
    },
    /// No connection, or one that broke.
    #[error("{host} cannot be reached: {why}: is it running, and is the address right?")]
    Unreachable {
        /// With the port where one was given.
        host: String,
        /// As the system says it.
        why: String,
    },
    /// The server cannot prove who it is, or speaks no TLS.
    #[error("{host} {why}")]
    Tls {
        /// With the port where one was given.
        host: String,
        /// The rest of the sentence.
        why: String,
    },
    /// It would have to be asked without TLS.
    #[error(
        "{host} is to be asked over plain http, which is not allowed: use https, or allow it if nobody else \
         can write to the network in between"
    )]
    PlainHttp {
        /// With the port where one was given.
        host: String,
    },
    /// 401.
    #[error("{host} does not let us in (401{}): {}", quoted(.said), .login)]
    Unauthorized {
        /// With the port where one was given.
        host: String,
        /// What we had to show.
        login: Shown,
        /// The server's words.
        said: String,
    },
    /// 403.
    #[error("{host} refuses (403{}): give credentials that may do this, or correct the name", quoted(.said))]
    Forbidden {
        /// With the port where one was given.
        host: String,
        /// The server's words.
        said: String,
    },
    /// 404.
    #[error("{host} has no {what} (404{}): correct the name, or push it", quoted(.said))]
    NotFound {
        /// With the port where one was given.
        host: String,
        /// What was asked for.
        what: String,
        /// The server's words.
        said: String,
    },
    /// No such file.
    #[error("there is no such file on this machine: correct the path, or put the module there")]
    NoFile,
    /// A tag may be there, and the digest that was wanted with it is not.
    #[error("{host} has no {what} (404), whatever tag {tag}")]
    NoDigest {
        /// With the port where one was given.
        host: String,
        /// The digest that was wanted, and where.
        what: String,
        /// The tag of the reference, and what it names now where the registry says it.
        tag: String,
    },
    /// 429, or an error of the server, and not better after some attempts.
    #[error("{host} cannot answer now ({status}{}): try again later, or look into its log", quoted(.said))]
    Busy {
        /// With the port where one was given.
        host: String,
        /// Status of the answer.
        status: u16,
        /// How long it asks to be left alone.
        after: Option<Duration>,
        /// The server's words.
        said: String,
    },
    /// An answer that nobody expects.
    #[error("{host} does not answer as it should ({why}): is the address right?")]
    Unexpected {
        /// With the port where one was given.
        host: String,
        /// A status, a header, or a document.
        why: String,
    },
    /// It took too long.
    #[error(
        "{host} did not answer within {waited:?}: is it overloaded, or is the network in between slow?"
    )]
    Timeout {
        /// With the port where one was given.
        host: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Fewer bytes than announced.
    #[error(
        "only {received} of the {expected} bytes of {what} came: the copy there is damaged, push it again"
    )]
    Truncated {
        /// What was read.
        what: String,
        /// Bytes.
        received: u64,
        /// Bytes.
        expected: u64,
    },
    /// More bytes than are allowed, announced or not.
    #[error(
        "{what} is larger than the {} that it may have: make it smaller", size(*.limit)
    )]
    TooLarge {
        /// What was read.
        what: String,
        /// Bytes.
        limit: u64,
    },
    /// Other bytes than those that were asked for.
    #[error(
        "{what} is not the one that is wanted: it has the digest {received} instead of {expected}: {advice}"
    )]
    WrongDigest {
        /// What was read.
        what: String,
        /// Of what was asked for.
        expected: Digest,
        /// Of what came.
        received: Digest,
        /// What to do.
        advice: &'static str,
    },
    /// An artifact that has no module in it.
    #[error("it is not a policy: {why}: `host push` writes one as it should be")]
    OtherArtifact {
        /// What it is instead.
        why: String,
    },
    /// The bytes are no component.
    #[error("it is not a WebAssembly component: {why}")]
    NotComponent {
        /// What they are instead, and what to do.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("{why}")]
    File {
        /// A sentence.
        why: String,
    },
    /// Nobody signed it.
    #[error(
        "{digest} must be signed, and is not; if it was once, it has been replaced since: \
         sign it again if it is what you want"
    )]
    Unsigned {
        /// What is not signed.
        digest: Digest,
    },
    /// Somebody signed it, and none of the given keys is theirs.
    #[error(
        "{digest} is signed, but by none of the given keys{}: give the key of who signed it, or have it signed \
         by one of them", named(.hints)
    )]
    OtherKey {
        /// What is signed.
        digest: Digest,
        /// What the signatures say of their keys.
        hints: Vec<String>,
    },
    /// Somebody signed it who can prove who they are, and is not among those who may.
    #[error(
        "{digest} is signed by {identity} (issuer {issuer}), who is none of those that may sign: name this identity if \
         it may, or have it signed by one that may"
    )]
    OtherIdentity {
        /// What is signed.
        digest: Digest,
        /// As the certificate has it.
        identity: String,
        /// Who says so.
        issuer: String,
    },
    /// The same, where only the issuer is another.
    #[error(
        "{digest} is signed by {identity}, as issuer {issuer} says, and issuer {wanted} would have to say so: name that \
         issuer if it may, or have it signed with a token of the one that may"
    )]
    OtherIssuer {
        /// What is signed.
        digest: Digest,
        /// As the certificate has it.
        identity: String,
        /// Who says so.
        issuer: String,
        /// Who would have to.
        wanted: String,
    },
    /// The signature has a certificate, and it is not believed who made it, or when.
    #[error("the signature of {digest} is not believed: {why}")]
    NotTrusted {
        /// What is signed.
        digest: Digest,
        /// Why, and what to do.
        why: String,
    },
    /// A given key signed, but something else.
    #[error("{digest} was replaced after signing: its signature is one of {signed}")]
    Replaced {
        /// What is there now.
        digest: Digest,
        /// What was signed.
        signed: String,
    },
    /// There are signatures, and they are no signatures.
    #[error("the signature of {digest} cannot be read: {why}: sign it again")]
    UnreadableSignature {
        /// What is signed.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
}

/// What was shown to a server that then did not let us in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shown {
    /// There are credentials, and they are not good.
    #[error("the credentials for it are wrong or have expired")]
    Login,
    /// There are none.
    #[error("there are no credentials for it")]
    Nothing,
    /// They are where they are not looked for.
    #[error(
        "its credentials are kept by docker-credential-{0}, which is not asked: give them as a docker config \
         with an `auth` entry"
    )]
    Helper(String),
}

impl Problem {
    /// Is it about who signed what, and not about how it came?
    pub fn is_of_proof(&self) -> bool {
        matches!(
            self,
            Self::WrongDigest { .. }
                | Self::Unsigned { .. }
                | Self::OtherKey { .. }
                | Self::OtherIdentity { .. }
                | Self::OtherIssuer { .. }
                | Self::NotTrusted { .. }
                | Self::Replaced { .. }
                | Self::UnreadableSignature { .. }
        )
    }

    /// One CamelCase word for a condition's reason or a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "UnknownHost",
            Self::Unreachable { .. } => "Unreachable",
            Self::Tls { .. } => "TLSFailed",
            Self::PlainHttp { .. } => "PlainHTTPNotAllowed",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } | Self::NoFile | Self::NoDigest { .. } => "NotFound",
            Self::Busy { .. } => "Busy",
            Self::Unexpected { .. } => "UnexpectedAnswer",
            Self::Timeout { .. } => "Timeout",
            Self::Truncated { .. } => "Truncated",
            Self::TooLarge { .. } => "TooLarge",
            Self::WrongDigest { .. } => "WrongDigest",
            Self::OtherArtifact { .. } => "NotAPolicy",
            Self::NotComponent { .. } => "NotAComponent",
            Self::File { .. } => "UnreadableFile",
            Self::Unsigned { .. } => "Unsigned",
            Self::OtherKey { .. } => "SignedByOtherKey",
            Self::OtherIdentity { .. } => "SignedByOtherIdentity",
            Self::OtherIssuer { .. } => "SignedByOtherIssuer",
            Self::NotTrusted { .. } => "SignatureNotTrusted",
            Self::Replaced { .. } => "ReplacedAfterSigning",
            Self::UnreadableSignature { .. } => "UnreadableSignature",
        }
    }

    /// Is it worth another attempt soon? What else is wrong needs somebody who corrects it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost { .. }
                | Self::Unreachable { .. }
                | Self::Busy { .. }
                | Self::Timeout { .. }
                | Self::Truncated { .. }
        )
    }
}

/// The server's words, where there are any.
fn quoted(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(": {words}"),
    }
}

/// In the largest unit that it is a whole number of.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// The keys that signatures name.
fn named(hints: &[String]) -> String {
    match hints {
        [] => String::new(),
        hints => format!(" (it names {})", hints.join(" and ")),
    }
}
