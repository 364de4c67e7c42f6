//! Registries keep their blobs elsewhere, and send readers there.

use fetch::{Credentials, Problem};
use fetch_tests::{Reply, StandIn};

use crate::{Artifact, client, client_with, fetch, impatient, persistent, problem};

fn redirect(to: &str) -> Reply {
    Reply::Answer(307, vec![("location", to.to_owned())], Vec::new())
}

/// What a registry with a password wants.
fn basic() -> Reply {
    let challenge = vec![("www-authenticate", "Basic realm=\"policies\"".to_owned())];
    Reply::Answer(401, challenge, Vec::new())
}

/// A store that wants a password does not get that of the registry, not even where it asks.
#[tokio::test]
async fn who_is_sent_to_is_not_logged_in_to() {
    let artifact = Artifact::new("elsewhere");
    let store = StandIn::start(|_| basic()).await.unwrap();
    let elsewhere = store.url();
    let registry = StandIn::start(move |seen| match artifact.reply(&seen.path) {
        Reply::Answer(200, ..) if seen.path.contains("/blobs/") => redirect(&elsewhere),
        reply => reply,
    });
    let registry = registry.await.unwrap();
    let host = registry.host();
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"u","password":"p"}}}}}}"#);
    let credentials = Credentials::from_docker_config(config.as_bytes()).unwrap();
    let client = client_with(credentials, persistent());
    let problem = problem(&client, &format!("oci://{host}/policies/steady:1.0")).await;
    assert!(
        matches!(&problem, Problem::Unexpected { host, .. } if *host == store.host()),
        "{problem}"
    );
    assert_eq!(store.seen().len(), 1);
    assert_eq!(store.seen()[0].header("authorization"), "");
}

#[tokio::test]
async fn a_redirect_leads_to_an_end_or_nowhere() {
    let artifact = Artifact::new("here and there");
    let answers = artifact.clone();
    let server = StandIn::start(move |seen| match seen.path.as_str() {
        "/round" => redirect("/round"),
        "/nowhere" => redirect("ftp://127.0.0.1/a.wasm"),
        "/relative/a.wasm" => redirect("../b.wasm"),
        "/relative/../b.wasm" => answers.blob(),
        _ => redirect("relative/a.wasm"),
    });
    let server = server.await.unwrap();
    let client = client(impatient());
    for (path, expected) in [
        ("round", "it redirects without end"),
        ("nowhere", "it redirects to something that is no URL"),
    ] {
        let problem = problem(&client, &format!("{}/{path}", server.url())).await;
        assert!(
            matches!(&problem, Problem::Unexpected { why, .. } if why == expected),
            "{problem}"
        );
    }
    assert_eq!(server.count("/round"), 6);
    let module = fetch(&client, &format!("{}/a.wasm", server.url()))
        .await
        .unwrap();
    assert_eq!(module.bytes, artifact.bytes);
}
