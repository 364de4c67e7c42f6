//! Modules that decided, kept on disk, so that a start needs no registry. Everything here blocks.

use engine::Cache;
use fetch::{Identity, PublicKey, Signer};
use tracing::warn;

use super::bring::Brought;
use super::order::signers;

/// Keeps a module that was brought, and whose signature was checked where it had to be. Where that fails it is
/// brought again after a start, as it is without a cache.
pub(super) fn keep(cache: &Cache, brought: &Brought) {
    let Brought {
        bytes,
        digest,
        signer,
        is_precompiled,
    } = brought;
    if *is_precompiled {
        return;
    }
    let signer = &text(signer.as_ref());
    if read(cache, digest, signer).as_ref() == Some(bytes) {
        return;
    }
    if let Err(error) = cache.keep(&name(digest, signer), bytes) {
        warn!(
            digest,
            error = error.to_string(),
            "a module cannot be kept in --policy-cache: after a start it has to be brought again before it decides"
        );
    }
}

/// The module of this digest, if it was kept. Where somebody must have signed it, it must have been one of
/// those who may now.
pub(super) fn find(
    cache: &Cache,
    digest: &str,
    keys: &[PublicKey],
    identities: &[Identity],
) -> Option<Brought> {
    signers(keys, identities).into_iter().find_map(|signer| {
        let bytes = read(cache, digest, &text(signer.as_ref()))?;
        Some(Brought {
            bytes,
            digest: digest.to_owned(),
            signer,
            is_precompiled: false,
        })
    })
}

fn text(signer: Option<&Signer>) -> String {
    signer.map(Signer::to_string).unwrap_or_default()
}

fn read(cache: &Cache, digest: &str, signer: &str) -> Option<Vec<u8>> {
    cache.bytes(&name(digest, signer)).unwrap_or_else(|error| {
        warn!(
            digest,
            error = error.to_string(),
            "a kept module is not used; it is brought again"
        );
        None
    })
}

fn name<'a>(digest: &'a str, signer: &'a str) -> [&'a [u8]; 3] {
    [b"module", digest.as_bytes(), signer.as_bytes()]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DIGEST: &str = "sha256:0123";
    /// Made for this test; nobody has the private one.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELGuu856u1hJB5uV1YnYbtoDh7Pdv
jQyq77kFOX/a/g/OtvSg3yr48RB1/n0BkvBltzvF8yBBDBE0zJ/JR+hIsA==
-----END PUBLIC KEY-----
";

    #[test]
    fn a_module_is_found_for_those_who_may_have_signed_it_and_a_changed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let keys = PublicKey::from_pem(KEY.as_bytes()).unwrap();
        let found =
            |keys: &[PublicKey]| find(&cache, DIGEST, keys, &[]).map(|brought| brought.bytes);
        let brought = |signer: Option<&PublicKey>| Brought {
            bytes: b"module".to_vec(),
            digest: DIGEST.to_owned(),
            signer: signer.map(|key| Signer::Key(key.fingerprint())),
            is_precompiled: false,
        };
        let module = Some(b"module".to_vec());
        keep(&cache, &brought(None));
        assert_eq!((found(&[]), found(&keys)), (module.clone(), None));
        assert!(find(&cache, "sha256:4567", &[], &[]).is_none());
        keep(&cache, &brought(Some(&keys[0])));
        assert_eq!(found(&keys), module);
        let signer = find(&cache, DIGEST, &keys, &[]).unwrap().signer;
        assert_eq!(signer, Some(Signer::Key(keys[0].fingerprint())));
        let [one, other] =
            ["one", "other"].map(|name| Identity::new("https://issuer.example.com", name).unwrap());
        keep(
            &cache,
            &Brought {
                digest: "sha256:ab".to_owned(),
                signer: Some(Signer::Identity(one.clone())),
                ..brought(None)
            },
        );
        let found_by = |identities: &[Identity]| find(&cache, "sha256:ab", &[], identities);
        assert!(found_by(&[]).is_none() && found_by(std::slice::from_ref(&other)).is_none());
        let found_of_one = found_by(&[other, one.clone()]).unwrap();
        assert_eq!(found_of_one.signer, Some(Signer::Identity(one)));

        let files = || fs::read_dir(folder.path().join("compiled-policies")).unwrap();
        for file in files() {
            let path = file.unwrap().path();
            if fs::read(&path).unwrap() == b"module" {
                fs::write(&path, "m0dule").unwrap();
            }
        }
        assert_eq!((found(&[]), found(&keys)), (None, None));
        keep(&cache, &brought(None));
        assert_eq!(found(&[]), module);
        let before = files().count();
        keep(
            &cache,
            &Brought {
                is_precompiled: true,
                digest: "sha256:89".to_owned(),
                ..brought(None)
            },
        );
        assert_eq!(files().count(), before);
    }
}
