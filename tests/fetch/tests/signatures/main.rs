//! Signatures of the real cosign, in the real registry.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod files;
mod keyless;
mod keys;
mod lists;
mod replaced;

use fetch::{
    Client, Component, FetchError, Module, Problem, PublicKey, Reference, Signer, Signers, Source,
    Version, Wanted,
};
use fetch_tests::{Authority, Cosign, Form, Options, Registry, component};

/// A registry without TLS and password, a client of it, and cosign.
struct World {
    registry: Registry,
    client: Client,
    cosign: Cosign,
}

impl World {
    fn new() -> Self {
        let registry = Registry::start(Options::default()).unwrap();
        Self {
            client: registry.client(None).unwrap(),
            cosign: Cosign::new(&registry, None).unwrap(),
            registry,
        }
    }

    fn private(authority: &Authority) -> Self {
        let registry = Registry::private(authority).unwrap();
        Self {
            client: registry.client(Some(authority)).unwrap(),
            cosign: Cosign::new(&registry, Some(authority)).unwrap(),
            registry,
        }
    }

    /// Pushes a component with this text in it under `policies/steady:1.0`.
    async fn push(&self, text: &str) -> Reference {
        let component = Component {
            bytes: &component(text),
            created: "1970-01-01T00:00:00Z",
            ..Component::default()
        };
        let tag = self.registry.reference("policies/steady:1.0").unwrap();
        self.client.push(&tag, &component).await.unwrap()
    }

    /// Fetches `policies/steady:1.0`, which must be signed.
    async fn fetch(&self, keys: &[PublicKey]) -> Result<Module, FetchError> {
        let tag = self.registry.source("policies/steady:1.0").unwrap();
        fetch(&self.client, &tag, keys).await
    }

    async fn problem(&self, keys: &[PublicKey]) -> Problem {
        self.fetch(keys).await.unwrap_err().problem
    }
}

async fn fetch(client: &Client, source: &Source, keys: &[PublicKey]) -> Result<Module, FetchError> {
    fetch_by(client, source, Signers::keys(keys)).await
}

async fn fetch_by(
    client: &Client,
    source: &Source,
    signers: Signers<'_>,
) -> Result<Module, FetchError> {
    let wanted = Wanted {
        source,
        digest: None,
        signers,
    };
    client.fetch(wanted).await
}

/// Who signed, if the first of these keys did.
fn by(keys: &[PublicKey]) -> Option<Signer> {
    Some(Signer::Key(keys[0].fingerprint()))
}

fn digest(reference: &Reference) -> fetch::Digest {
    match reference.version() {
        Version::Digest(digest) => *digest,
        Version::Tag(tag) => panic!("{tag}"),
    }
}

/// Where what refers to an artifact is listed, if the registry keeps no list.
fn list_tag(reference: &Reference) -> String {
    format!("sha256-{}", digest(reference).hex())
}

#[tokio::test]
async fn both_forms_prove_who_signed() {
    let authority = Authority::new().unwrap();
    let world = World::private(&authority);
    let key = world.cosign.key("cosign").unwrap();
    for form in [Form::Bundle, Form::Older] {
        let pushed = world.push(&format!("{form:?}")).await;
        let unsigned = Problem::Unsigned {
            digest: digest(&pushed),
        };
        assert_eq!(world.problem(&key).await, unsigned);
        world.cosign.sign("cosign", form, &pushed).unwrap();
        let module = world.fetch(&key).await.unwrap();
        assert_eq!(module.signer, by(&key));
        assert_eq!(module.reference, Some(pushed));
        assert_eq!(module.bytes, component(&format!("{form:?}")));
    }
}

#[tokio::test]
async fn one_of_several_keys_suffices_and_another_does_not() {
    let world = World::new();
    let [first, second, third] =
        ["first", "second", "third"].map(|name| world.cosign.key(name).unwrap());
    for form in [Form::Bundle, Form::Older] {
        let pushed = world.push(&format!("{form:?}")).await;
        world.cosign.sign("second", form, &pushed).unwrap();
        let both = [first.clone(), second.clone()].concat();
        let module = world.fetch(&both).await.unwrap();
        assert_eq!(module.signer, by(&second));

        let others = [first.clone(), third.clone()].concat();
        let error = world.fetch(&others).await.unwrap_err();
        assert_eq!(error.problem.reason(), "SignedByOtherKey");
        let hint = match form {
            Form::Bundle => format!(" (it names {})", second[0].fingerprint()),
            Form::Older => String::new(),
        };
        let expected = format!(
            "{}/policies/steady:1.0: {} is signed, but by none of the given keys{hint}: give the key of who signed it, \
             or have it signed by one of them",
            world.registry.host(),
            digest(&pushed)
        );
        assert_eq!(error.to_string(), expected);

        // A second signature beside the first.
        world.cosign.sign("third", form, &pushed).unwrap();
        assert_eq!(world.fetch(&others).await.unwrap().signer, by(&third));
    }
}
