//! Keys of other kinds than those that cosign makes by itself.

use fetch::Problem;
use fetch_tests::Form;

use crate::{World, by};

#[tokio::test]
async fn a_key_on_p_384_serves_as_well() {
    let world = World::new();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let key = world.cosign.import("p384", &pair.serialize_pem()).unwrap();
    for form in [Form::Bundle, Form::Older] {
        let pushed = world.push(&format!("{form:?}")).await;
        world.cosign.sign("p384", form, &pushed).unwrap();
        let module = world.fetch(&key).await.unwrap();
        assert_eq!(module.signer, by(&key));
    }
}

/// What this cosign writes for artifacts with such a key, its own `cosign verify` does not accept.
#[tokio::test]
async fn for_an_ed25519_key_the_sentence_says_what_to_do() {
    let world = World::new();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = world
        .cosign
        .import("ed25519", &pair.serialize_pem())
        .unwrap();
    let pushed = world.push("ed25519").await;
    world.cosign.sign("ed25519", Form::Bundle, &pushed).unwrap();
    let problem = world.problem(&key).await;
    assert!(
        matches!(problem, Problem::UnreadableSignature { .. }),
        "{problem}"
    );
    assert!(
        problem
            .to_string()
            .contains("(Ed25519ph) that is not checked; use an ECDSA key"),
        "{problem}"
    );
    let verify = [
        "verify",
        "--key=ed25519.pub",
        "--insecure-ignore-tlog",
        "--allow-insecure-registry",
    ];
    let reference = pushed.to_string();
    let verify = [verify.as_slice(), &[&reference]].concat();
    assert!(world.cosign.run(&verify).is_err());
}
