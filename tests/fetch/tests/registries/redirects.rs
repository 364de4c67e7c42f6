//! A registry that keeps its blobs elsewhere, and sends readers there.

use fetch::{Access, Client, Credentials, Limits, Problem, Source};
use fetch_tests::{Authority, Login, Options, PASSWORD, Registry, Reply, StandIn, USER, trust};

use crate::{component, described, fetch, problem};

#[tokio::test]
async fn a_password_stays_with_the_registry() {
    let bytes = component("elsewhere");
    let blob = bytes.clone();
    let store = StandIn::start(move |_| Reply::Answer(200, Vec::new(), blob.clone()));
    let store = store.await.unwrap();
    let registry = Registry::start(Options {
        login: Login::Password,
        redirect: Some(store.url()),
        ..Options::default()
    })
    .unwrap();
    let access = Access {
        credentials: registry.login(USER, PASSWORD).unwrap(),
        plain_http: true,
        ..Access::default()
    };
    let client = Client::new(access, Limits::default()).unwrap();
    let tag = registry.reference("policies/steady:1.0").unwrap();
    client.push(&tag, &described(&bytes)).await.unwrap();
    let before = store.seen().len();
    let module = fetch(&client, &Source::Registry(tag)).await.unwrap();
    assert_eq!(module.bytes, bytes);
    let seen = store.seen();
    let [seen] = &seen[before..] else {
        panic!("{seen:?}")
    };
    assert_eq!(seen.header("host"), store.host());
    assert_eq!(seen.header("authorization"), "");
}

/// The registry is asked by https, and sends on to plain http.
#[tokio::test]
async fn tls_is_not_given_up_on_the_way() {
    let authority = Authority::new().unwrap();
    let bytes = component("in the clear");
    let blob = bytes.clone();
    let store = StandIn::start(move |_| Reply::Answer(200, Vec::new(), blob.clone()));
    let store = store.await.unwrap();
    let registry = Registry::start(Options {
        tls: Some(authority.server("127.0.0.1").unwrap()),
        redirect: Some(store.url()),
        ..Options::default()
    })
    .unwrap();
    let access = Access {
        credentials: Credentials::default(),
        authorities: trust(&authority).unwrap(),
        plain_http: false,
    };
    let client = Client::new(access, Limits::default()).unwrap();
    let tag = registry.reference("policies/steady:1.0").unwrap();
    let pushed = client.push(&tag, &described(&bytes)).await.unwrap();
    assert_eq!(client.push(&tag, &described(&bytes)).await.unwrap(), pushed);
    let problem = problem(&client, &Source::Registry(tag)).await;
    let host = store.host();
    assert_eq!(problem, Problem::PlainHttp { host });
    assert!(store.seen().is_empty());
}
