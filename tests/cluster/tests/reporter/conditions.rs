//! What an answer becomes.

use cluster_tests::endpoint::{Answer, Endpoint};
use cluster_tests::{Reporter, Settings, wait};
use k8s_openapi::api::core::v1::NodeCondition;

use crate::{FALCO, NODE, cluster};

fn says(condition: &NodeCondition) -> (&str, &str) {
    let NodeCondition {
        reason, message, ..
    } = condition;
    (
        reason.as_deref().unwrap_or_default(),
        message.as_deref().unwrap_or_default(),
    )
}

#[tokio::test]
async fn compat_048_an_answer_becomes_a_condition() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let url = endpoint.url("/healthz");
    let reporter = Reporter::start(&cluster, &Settings::new(NODE, &url, FALCO)).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!("Endpoint returned non-2xx status code 503 at {url}: starting");
    assert_eq!(says(&condition), ("EndpointNotReady", expected.as_str()));
    let asked = &endpoint.asked()[0];
    assert_eq!(asked.path, "/healthz");
    assert_eq!(asked.headers["host"], endpoint.address().to_string());

    for status in [204, 500, 200, 404, 299] {
        endpoint.answer(Answer::new(status, ""));
        let ready = (200..300).contains(&status);
        let expected = if ready { "True" } else { "False" };
        let condition = cluster.until_condition(NODE, FALCO, expected).await;
        let condition = condition.unwrap();
        let expected = if ready {
            ("EndpointOK", format!("Endpoint reports ready at {url}"))
        } else {
            let what = format!("Endpoint returned non-2xx status code {status} at {url}: ");
            ("EndpointNotReady", what)
        };
        assert_eq!(says(&condition), (expected.0, expected.1.as_str()));
    }

    drop(endpoint);
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let (reason, message) = says(&condition);
    assert_eq!(reason, "EndpointConnectionError");
    let before = format!("Failed to reach endpoint {url}: cannot connect to ");
    assert!(
        message.starts_with(&before) && message.ends_with("Connection refused"),
        "{message}"
    );
    reporter.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_048_of_a_body_only_the_beginning_is_written() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.answer(Answer::new(503, "€".repeat(100_000)));
    let url = endpoint.url("/");
    let _reporter = Reporter::start(&cluster, &Settings::new(NODE, &url, FALCO)).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!(
        "Endpoint returned non-2xx status code 503 at {url}: {}",
        "€".repeat(1024 / 3)
    );
    assert_eq!(says(&condition).1, expected);
}

/// Spaces at the end are not written, and what was not read is not seen: so the last byte that is read tells
/// whether there are any.
#[tokio::test]
async fn compat_048_of_a_body_64_kib_are_read() {
    let cluster = cluster().await;
    let endpoint = Endpoint::start().await.unwrap();
    let url = endpoint.url("/");
    let body = |spaces: usize| Answer::new(503, format!("a{}b", " ".repeat(spaces)));
    let message =
        |body: &str| format!("Endpoint returned non-2xx status code 503 at {url}: {body}");
    let read = 64 * 1024;
    for (spaces, written) in [
        (read - 1, "a".to_owned()),
        (read - 2, format!("a{}", " ".repeat(1023))),
    ] {
        endpoint.answer(body(spaces));
        let reporter = Reporter::start(&cluster, &Settings::new(NODE, &url, FALCO)).unwrap();
        let wanted = message(&written);
        wait::until("the beginning is written", || async {
            let condition = cluster.condition(NODE, FALCO).await?;
            let said = condition.and_then(|condition| condition.message);
            Ok((said.as_ref() == Some(&wanted))
                .then_some(())
                .ok_or_else(|| format!("{said:?}")))
        })
        .await
        .unwrap();
        reporter.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn compat_048_a_redirect_is_followed_on_the_same_host_only() {
    let cluster = cluster().await;
    let (endpoint, other) = tokio::join!(Endpoint::start(), Endpoint::start());
    let (endpoint, other) = (endpoint.unwrap(), other.unwrap());
    other.set_ready(true);
    let url = endpoint.url("/start");
    let elsewhere = format!("http://localhost:{}/", other.address().port());
    endpoint.answer_at("/start", Answer::redirect(&elsewhere));
    let _reporter = Reporter::start(&cluster, &Settings::new(NODE, &url, FALCO)).unwrap();
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!("Endpoint returned non-2xx status code 302 at {url}: ");
    assert_eq!(says(&condition), ("EndpointNotReady", expected.as_str()));
    assert!(other.asked().is_empty());

    endpoint.answer_at("/start", Answer::redirect("/there?now"));
    endpoint.answer_at("/there", Answer::new(200, ""));
    let condition = cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    let expected = format!("Endpoint reports ready at {url}");
    assert_eq!(says(&condition), ("EndpointOK", expected.as_str()));
    assert!(
        endpoint
            .asked()
            .iter()
            .any(|asked| asked.path == "/there?now")
    );

    endpoint.answer_at("/start", Answer::redirect("/start"));
    let condition = cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let expected = format!("Failed to reach endpoint {url}: more than 10 redirects");
    assert_eq!(
        says(&condition),
        ("EndpointConnectionError", expected.as_str())
    );

    // With port 80 in its place somebody else would answer.
    let nowhere = "http://127.0.0.1:99999/";
    endpoint.answer_at("/start", Answer::redirect(nowhere));
    let expected = format!("Failed to reach endpoint {url}: 99999 is no port");
    wait::until("the port is refused", || async {
        let condition = cluster.until_condition(NODE, FALCO, "False").await?;
        let seen = condition.message.clone().unwrap_or_default();
        Ok(if seen == expected { Ok(()) } else { Err(seen) })
    })
    .await
    .unwrap();
}
