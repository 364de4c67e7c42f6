//! What is asked again, and what is not.

use std::time::Duration;

use fetch::{Limits, Problem};
use fetch_tests::{Reply, StandIn};

use crate::{Artifact, client, fetch, persistent, problem};

/// A registry that fails so the first times that something is asked, and then answers.
async fn failing(times: usize, failure: Reply) -> (StandIn, String, Artifact) {
    let artifact = Artifact::new("in the end");
    let answers = artifact.clone();
    let server = StandIn::start(move |seen| match seen.before < times {
        true => failure.clone(),
        false => answers.reply(&seen.path),
    });
    let server = server.await.unwrap();
    let source = format!("oci://{}/policies/steady:1.0", server.host());
    (server, source, artifact)
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    for failure in [
        Reply::status(503, ""),
        Reply::status(500, ""),
        Reply::Answer(429, vec![("retry-after", "0".to_owned())], Vec::new()),
        Reply::Cut(20, vec![b' '; 10]),
        Reply::HangUp,
    ] {
        let (server, source, artifact) = failing(2, failure).await;
        let module = fetch(&client(persistent()), &source).await.unwrap();
        assert_eq!(module.bytes, artifact.bytes);
        assert_eq!(
            (server.count("/manifests/"), server.count("/blobs/")),
            (3, 3)
        );
    }
    // A connection that says nothing.
    let limits = Limits {
        wait: Duration::from_millis(500),
        ..persistent()
    };
    let (_server, source, artifact) = failing(1, Reply::Silence).await;
    let module = fetch(&client(limits), &source).await.unwrap();
    assert_eq!(module.bytes, artifact.bytes);
}

#[tokio::test]
async fn there_is_an_end_to_it() {
    let busy = r#"{"errors":[{"code":"UNAVAILABLE","message":"come back\nlater"}]}"#;
    let (server, source, _) = failing(usize::MAX, Reply::status(503, busy)).await;
    let problem = problem(&client(persistent()), &source).await;
    assert_eq!(server.count("/manifests/"), 3);
    let host = server.host();
    let sentence = format!(
        "{host} cannot answer now (503: come back later): try again later, or look into its log"
    );
    assert_eq!(problem.to_string(), sentence);
    assert!(problem.is_transient());
}

/// Longer than anybody waits for: the next attempt is somebody else's.
#[tokio::test]
async fn who_wants_to_be_left_alone_for_long_is() {
    let headers = vec![("retry-after", "3600".to_owned())];
    let (server, source, _) = failing(usize::MAX, Reply::Answer(429, headers, Vec::new())).await;
    let problem = problem(&client(persistent()), &source).await;
    assert_eq!(server.count("/manifests/"), 1);
    let hour = Some(Duration::from_secs(3600));
    assert!(
        matches!(problem, Problem::Busy { status: 429, after, .. } if after == hour),
        "{problem}"
    );
}

#[tokio::test]
async fn what_somebody_must_correct_is_asked_once() {
    for (failure, reason) in [
        (Reply::status(401, ""), "Unauthorized"),
        (
            Reply::status(403, r#"{"errors":[{"code":"DENIED"}]}"#),
            "Forbidden",
        ),
        (Reply::status(404, ""), "NotFound"),
        (Reply::status(418, ""), "UnexpectedAnswer"),
        (Reply::status(200, "{}"), "NotAPolicy"),
    ] {
        let (server, source, _) = failing(usize::MAX, failure).await;
        let problem = problem(&client(persistent()), &source).await;
        assert_eq!(
            (problem.reason(), problem.is_transient()),
            (reason, false),
            "{problem}"
        );
        assert_eq!(server.count("/manifests/"), 1, "{problem}");
    }
}
