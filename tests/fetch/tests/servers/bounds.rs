//! What a server can send, and how long it can take.

use std::time::Duration;

use fetch::{Limits, Problem};
use fetch_tests::{Reply, StandIn};

use crate::{Artifact, client, fetch, impatient, problem};

/// The problem of a registry that answers so for whatever is asked.
async fn asked(reply: Reply, limits: Limits) -> Problem {
    let server = StandIn::start(move |_| reply.clone()).await.unwrap();
    let source = format!("oci://{}/policies/steady:1.0", server.host());
    problem(&client(limits), &source).await
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    for reply in [
        Reply::Silence,
        Reply::Stall(100, Vec::new()),
        Reply::Stall(100, vec![b' '; 50]),
    ] {
        let problem = asked(reply, impatient()).await;
        let Problem::Timeout { waited, .. } = problem else {
            panic!("{problem}")
        };
        assert_eq!(waited, Duration::from_millis(200));
        assert!(
            problem
                .to_string()
                .contains("did not answer within 200ms: is it overloaded"),
            "{problem}"
        );
    }
}

/// Each wait is short enough, and there is no end of them.
#[tokio::test]
async fn all_attempts_together_end_as_well() {
    let limits = Limits {
        wait: Duration::from_millis(200),
        pause: Duration::ZERO,
        attempts: u32::MAX,
        total: Duration::from_secs(1),
        ..Limits::default()
    };
    let problem = asked(Reply::Silence, limits).await;
    let Problem::Timeout { waited, .. } = problem else {
        panic!("{problem}")
    };
    assert_eq!(waited, Duration::from_secs(1));
}

/// Memory stays bounded, whatever it is that does not end.
#[tokio::test]
async fn what_has_no_end_is_cut_off() {
    let limits = || Limits {
        attempts: 1,
        ..Limits::default()
    };
    let problem = asked(Reply::Endless, limits()).await;
    let expected = Problem::TooLarge {
        what: "the manifest of tag 1.0 of policies/steady".to_owned(),
        limit: 4 << 20,
    };
    assert_eq!(problem, expected);

    // A layer, against what its manifest says.
    let artifact = Artifact::new("endless");
    let bytes = artifact.bytes.len();
    let digest = artifact.digest();
    let server = StandIn::start(move |seen| match artifact.reply(&seen.path) {
        Reply::Answer(200, ..) if seen.path.contains("/blobs/") => Reply::Endless,
        reply => reply,
    });
    let server = server.await.unwrap();
    let source = format!("oci://{}/policies/steady:1.0", server.host());
    let problem = self::problem(&client(limits()), &source).await;
    let expected =
        format!("the layer {digest} has more than the {bytes} bytes that its manifest says");
    assert!(
        matches!(&problem, Problem::Unexpected { why, .. } if *why == expected),
        "{problem}"
    );

    // A file on a web server.
    let server = StandIn::start(|_| Reply::Endless).await.unwrap();
    let limits = Limits {
        module: 1 << 20,
        ..limits()
    };
    let problem = self::problem(&client(limits.clone()), &format!("{}/a.wasm", server.url())).await;
    let expected = Problem::TooLarge {
        what: "the file /a.wasm".to_owned(),
        limit: 1 << 20,
    };
    assert_eq!(problem, expected);

    // What is announced is enough.
    let huge = Reply::Stall(2 << 20, Vec::new());
    let server = StandIn::start(move |_| huge.clone()).await.unwrap();
    let problem = self::problem(&client(limits), &format!("{}/a.wasm", server.url())).await;
    assert_eq!(problem, expected);
}

/// Words of a refusal, and what a token server says.
#[tokio::test]
async fn a_refusal_has_an_end_too() {
    let server = StandIn::start(|seen| match seen.path.as_str() {
        "/a.wasm" => Reply::Answer(
            403,
            vec![("content-length", "1000000000".to_owned())],
            Vec::new(),
        ),
        "/token" => Reply::Endless,
        path if path.starts_with("/token") => Reply::Endless,
        _ => {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host"));
            Reply::Answer(401, vec![("www-authenticate", realm)], Vec::new())
        }
    });
    let server = server.await.unwrap();
    let client = client(impatient());
    let forbidden = problem(&client, &format!("{}/a.wasm", server.url())).await;
    let host = server.host();
    let said = String::new();
    assert_eq!(forbidden, Problem::Forbidden { host, said });
    let source = format!("oci://{}/policies/steady:1.0", server.host());
    let token = problem(&client, &source).await;
    let expected = Problem::TooLarge {
        what: "the token for it".to_owned(),
        limit: 64 << 10,
    };
    assert_eq!(token, expected);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken_for_a_whole() {
    let problem = asked(Reply::Cut(100, vec![b' '; 60]), impatient()).await;
    let expected = Problem::Truncated {
        what: "the manifest of tag 1.0 of policies/steady".to_owned(),
        received: 60,
        expected: 100,
    };
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn what_nobody_asked_for_is_refused() {
    let artifact = Artifact::new("compressed");
    let server = StandIn::start(move |_| {
        let gzip = vec![("content-encoding", "gzip".to_owned())];
        Reply::Answer(200, gzip, artifact.bytes.clone())
    });
    let server = server.await.unwrap();
    let url = format!("{}/a.wasm", server.url());
    let error = fetch(&client(impatient()), &url)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the file /a.wasm is compressed as gzip"),
        "{error}"
    );
}

#[tokio::test]
async fn a_place_where_nobody_is_is_named() {
    let client = client(impatient());
    // A port that was free a moment ago.
    let port = StandIn::start(|_| Reply::HangUp).await.unwrap().host();
    let nobody = problem(&client, &format!("oci://{port}/policies/steady:1.0")).await;
    assert!(
        matches!(&nobody, Problem::Unreachable { host, .. } if *host == port),
        "{nobody}"
    );
    // A name that never exists, RFC 2606.
    let unknown = problem(&client, "oci://registry.invalid:5000/policies/steady:1.0").await;
    assert!(
        matches!(&unknown, Problem::UnknownHost { host, .. } if host == "registry.invalid"),
        "{unknown}"
    );
    assert!(
        unknown
            .to_string()
            .starts_with("there is no host registry.invalid: correct its name"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_web_site_is_no_registry() {
    let page = "<!doctype html><title>Welcome</title>";
    let problem = asked(Reply::status(200, page), impatient()).await;
    let sentence = problem.to_string();
    assert!(
        sentence.starts_with("it is not a policy: its manifest cannot be read"),
        "{sentence}"
    );
    let problem = asked(Reply::status(302, page), impatient()).await;
    assert!(problem.to_string().contains("302 Found"), "{problem}");
}
