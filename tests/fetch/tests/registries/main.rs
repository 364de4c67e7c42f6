//! Fetching from, and pushing to, the real registry.
#![expect(clippy::unwrap_used, reason = "tests")]

mod artifacts;
mod damage;
mod doors;
mod redirects;
mod trust;

use fetch::{Client, Component, Digest, FetchError, Module, Problem, Signers, Source, Wanted};
use fetch_tests::component;

/// A component as `host push` describes one.
fn described(bytes: &[u8]) -> Component<'_> {
    Component {
        bytes,
        name: "steady",
        version: "1.0.0",
        imports: vec!["node-readiness:policy/node@0.1.0"],
        exports: vec!["node-readiness:policy/decide@0.1.0"],
        created: "1970-01-01T00:00:00Z",
    }
}

async fn fetch(client: &Client, source: &Source) -> Result<Module, FetchError> {
    fetch_exactly(client, source, None).await
}

async fn fetch_exactly(
    client: &Client,
    source: &Source,
    digest: Option<Digest>,
) -> Result<Module, FetchError> {
    let wanted = Wanted {
        source,
        digest,
        signers: Signers::default(),
    };
    client.fetch(wanted).await
}

async fn problem(client: &Client, source: &Source) -> Problem {
    fetch(client, source).await.unwrap_err().problem
}
