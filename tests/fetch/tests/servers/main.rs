//! Servers that are slow, broken or hostile. Stand-ins, since no real one can be told to be.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod redirects;
mod retries;

use std::time::Duration;

use fetch::{
    Access, Client, Credentials, Digest, FetchError, Limits, Module, Problem, Signers, Source,
    Wanted,
};
use fetch_tests::{Reply, component, manifest};

/// One attempt, and little patience with who is silent.
fn impatient() -> Limits {
    Limits {
        wait: Duration::from_millis(200),
        attempts: 1,
        ..Limits::default()
    }
}

/// As many attempts as by default, and no pause in between.
fn persistent() -> Limits {
    Limits {
        pause: Duration::ZERO,
        ..Limits::default()
    }
}

fn client(limits: Limits) -> Client {
    client_with(Credentials::default(), limits)
}

fn client_with(credentials: Credentials, limits: Limits) -> Client {
    let access = Access {
        credentials,
        plain_http: true,
        ..Access::default()
    };
    Client::new(access, limits).unwrap()
}

async fn fetch(client: &Client, source: &str) -> Result<Module, FetchError> {
    let source: Source = source.parse().unwrap();
    let wanted = Wanted {
        source: &source,
        digest: None,
        signers: Signers::default(),
    };
    client.fetch(wanted).await
}

async fn problem(client: &Client, source: &str) -> Problem {
    fetch(client, source).await.unwrap_err().problem
}

/// A registry's answers for one artifact with one component, `policies/steady:1.0`.
#[derive(Clone)]
struct Artifact {
    bytes: Vec<u8>,
    manifest: Vec<u8>,
}

impl Artifact {
    fn new(text: &str) -> Self {
        let bytes = component(text);
        let config = ("application/vnd.wasm.config.v0+json", b"{}".as_slice());
        let manifest = manifest(config, &[("application/wasm", &bytes)]);
        Self { bytes, manifest }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    fn manifest(&self) -> Reply {
        Reply::Answer(200, Vec::new(), self.manifest.clone())
    }

    fn blob(&self) -> Reply {
        Reply::Answer(200, Vec::new(), self.bytes.clone())
    }

    fn reply(&self, path: &str) -> Reply {
        if path.contains("/manifests/1.0") {
            self.manifest()
        } else if path.ends_with(&format!("/blobs/{}", self.digest())) {
            self.blob()
        } else {
            Reply::status(404, "")
        }
    }
}
