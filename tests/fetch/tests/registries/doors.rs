//! Being let in, by each of the ways that there are, and not.

use fetch::{Access, Client, Credentials, Digest, Limits, Problem, Shown};
use fetch_tests::{Authority, Login, Options, PASSWORD, Registry, Tokens, USER, trust};

use crate::{component, described, fetch, fetch_exactly, problem};

#[tokio::test]
async fn a_policy_goes_into_a_private_registry_and_comes_out_as_it_was() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let client = registry.client(Some(&authority)).unwrap();
    let bytes = component("1.0");
    let tag = registry.reference("policies/steady:1.0").unwrap();
    let pushed = client.push(&tag, &described(&bytes)).await.unwrap();
    // The same again is the same artifact.
    assert_eq!(client.push(&tag, &described(&bytes)).await.unwrap(), pushed);
    assert_eq!(client.resolve(&tag).await.unwrap(), pushed);

    let by_tag = registry.source("policies/steady:1.0").unwrap();
    let module = fetch(&client, &by_tag).await.unwrap();
    assert_eq!(module.bytes, bytes);
    assert_eq!(module.digest, Digest::of(&bytes));
    assert_eq!(module.reference.as_ref(), Some(&pushed));
    assert_eq!(module.signer, None);

    // The tag moves; who names the digest gets what it was.
    let other = component("1.1");
    let moved = client.push(&tag, &described(&other)).await.unwrap();
    assert_ne!(moved, pushed);
    assert_eq!(fetch(&client, &by_tag).await.unwrap().bytes, other);
    let fetch::Version::Digest(digest) = *pushed.version() else {
        panic!("{pushed}")
    };
    let by_digest = fetch::Source::Registry(pushed.clone());
    assert_eq!(fetch(&client, &by_digest).await.unwrap(), module);
    let pinned = fetch_exactly(&client, &by_tag, Some(digest)).await;
    assert_eq!(pinned.unwrap(), module);
    let absent = Digest::of(b"never pushed");
    let error = fetch_exactly(&client, &by_tag, Some(absent)).await;
    let error = error.unwrap_err();
    let fetch::Version::Digest(now) = *moved.version() else {
        panic!("{moved}")
    };
    assert_eq!(error.problem.reason(), "NotFound");
    let sentence =
        format!("has no {absent} in policies/steady (404), whatever tag 1.0 names (now {now})");
    assert!(error.to_string().ends_with(&sentence), "{error}");
    let both = fetch_exactly(&client, &by_digest, Some(Digest::of(b"other"))).await;
    assert!(matches!(
        both.unwrap_err().problem,
        Problem::WrongDigest { .. }
    ));
}

#[tokio::test]
async fn without_the_right_password_nobody_gets_in() {
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let source = registry.source("policies/steady:1.0").unwrap();
    let host = registry.host();
    let helped = format!("{{\"credHelpers\": {{\"{host}\": \"desktop\"}}}}");
    for (credentials, shown, advice) in [
        (
            Credentials::default(),
            Shown::Nothing,
            "there are no credentials for it",
        ),
        (
            registry.login(USER, "wrong").unwrap(),
            Shown::Login,
            "the credentials for it are wrong or have expired",
        ),
        (
            Credentials::from_docker_config(helped.as_bytes()).unwrap(),
            Shown::Helper("desktop".to_owned()),
            "docker-credential-desktop",
        ),
    ] {
        let access = Access {
            credentials,
            authorities: trust(&authority).unwrap(),
            plain_http: false,
        };
        let client = Client::new(access, Limits::default()).unwrap();
        let error = fetch(&client, &source).await.unwrap_err();
        let Problem::Unauthorized { login, .. } = &error.problem else {
            panic!("{error}")
        };
        assert_eq!(*login, shown);
        let sentence = error.to_string();
        let beginning = format!("{host}/policies/steady:1.0: {host} does not let us in (401: ");
        assert!(sentence.starts_with(&beginning), "{sentence}");
        assert!(sentence.contains(advice), "{sentence}");
    }
}

#[tokio::test]
async fn a_token_server_is_asked_for_what_the_registry_wants() {
    let tokens = Tokens::start().await.unwrap();
    let registry = Registry::start(Options {
        login: Login::Tokens(&tokens),
        ..Options::default()
    })
    .unwrap();
    let client = |credentials| {
        let access = Access {
            credentials,
            plain_http: true,
            ..Access::default()
        };
        Client::new(access, Limits::default()).unwrap()
    };
    let known = client(registry.login(USER, PASSWORD).unwrap());
    let bytes = component("public");
    for name in ["public/steady:1.0", "policies/steady:1.0"] {
        let reference = registry.reference(name).unwrap();
        known.push(&reference, &described(&bytes)).await.unwrap();
    }
    let scopes: Vec<_> = tokens.seen().iter().map(|seen| seen.path.clone()).collect();
    let pushes = scopes.iter().any(|path| {
        path.contains("scope=repository%3Apolicies%2Fsteady%3A") && path.contains("push")
    });
    assert!(pushes, "{scopes:?}");

    let public = registry.source("public/steady:1.0").unwrap();
    let private = registry.source("policies/steady:1.0").unwrap();
    let nobody = client(Credentials::default());
    assert_eq!(fetch(&nobody, &public).await.unwrap().bytes, bytes);
    let shut = problem(&nobody, &private).await;
    let nothing = Shown::Nothing;
    assert!(
        matches!(&shut, Problem::Unauthorized { login, .. } if *login == nothing),
        "{shut}"
    );

    assert_eq!(fetch(&known, &private).await.unwrap().bytes, bytes);
    let config = Tokens::docker_config(registry.host());
    let refreshed = client(Credentials::from_docker_config(config.as_bytes()).unwrap());
    assert_eq!(fetch(&refreshed, &private).await.unwrap().bytes, bytes);
    let asked = tokens.seen().pop().unwrap();
    assert_eq!(asked.method, "POST");
    assert!(!asked.path.contains("refresh"), "{}", asked.path);

    let wrong = client(registry.login(USER, "wrong").unwrap());
    let shut = problem(&wrong, &private).await;
    let Problem::Unauthorized { login, said, .. } = &shut else {
        panic!("{shut}")
    };
    assert_eq!((login, said.as_str()), (&Shown::Login, "who are you?"));
}

#[tokio::test]
async fn a_password_does_not_go_to_a_token_server_without_tls() {
    let tokens = Tokens::start().await.unwrap();
    let authority = Authority::new().unwrap();
    let registry = Registry::start(Options {
        tls: Some(authority.server("127.0.0.1").unwrap()),
        login: Login::Tokens(&tokens),
        ..Options::default()
    })
    .unwrap();
    let client = registry.client(Some(&authority)).unwrap();
    let source = registry.source("policies/steady:1.0").unwrap();
    let problem = problem(&client, &source).await;
    assert!(matches!(problem, Problem::PlainHttp { .. }), "{problem}");
    assert!(tokens.seen().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let registry = Registry::start(Options::default()).unwrap();
    let client = registry.client(None).unwrap();
    let bytes = component("there");
    let there = registry.reference("policies/steady:1.0").unwrap();
    client.push(&there, &described(&bytes)).await.unwrap();
    let digest = Digest::of(b"nothing");
    for (name, what) in [
        ("policies/steady:2.0", "tag 2.0 of policies/steady"),
        ("policies/other:1.0", "tag 1.0 of policies/other"),
        (
            &format!("policies/steady@{digest}"),
            &format!("{digest} of policies/steady"),
        ),
    ] {
        let error = fetch(&client, &registry.source(name).unwrap())
            .await
            .unwrap_err();
        let host = registry.host();
        let expected = format!("{host}/{name}: {host} has no {what} (404: ");
        let sentence = error.to_string();
        assert!(sentence.starts_with(&expected), "{sentence}");
        assert!(
            sentence.ends_with("): correct the name, or push it"),
            "{sentence}"
        );
        assert_eq!(error.problem.reason(), "NotFound");
    }
}
