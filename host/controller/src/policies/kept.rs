//! Modules that decided, kept on disk, so that a start needs no registry. Everything here blocks.

use engine::Cache;
use fetch::PublicKey;
use tracing::warn;

use super::bring::Brought;

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
    let signer = signer.as_deref().unwrap_or_default();
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
pub(super) fn find(cache: &Cache, digest: &str, keys: &[PublicKey]) -> Option<Brought> {
    let signers: Vec<_> = match keys {
        [] => vec![None],
        keys => {
            let signers = keys.iter().map(|key| key.fingerprint().to_string());
            signers.map(Some).collect()
        }
    };
    signers.into_iter().find_map(|signer| {
        let bytes = read(cache, digest, signer.as_deref().unwrap_or_default())?;
        Some(Brought {
            bytes,
            digest: digest.to_owned(),
            signer,
            is_precompiled: false,
        })
    })
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
        let found = |keys: &[PublicKey]| find(&cache, DIGEST, keys).map(|brought| brought.bytes);
        let brought = |signer: Option<&PublicKey>| Brought {
            bytes: b"module".to_vec(),
            digest: DIGEST.to_owned(),
            signer: signer.map(|key| key.fingerprint().to_string()),
            is_precompiled: false,
        };
        let module = Some(b"module".to_vec());
        keep(&cache, &brought(None));
        assert_eq!((found(&[]), found(&keys)), (module.clone(), None));
        assert!(find(&cache, "sha256:4567", &[]).is_none());
        keep(&cache, &brought(Some(&keys[0])));
        assert_eq!(found(&keys), module);
        let signer = find(&cache, DIGEST, &keys).unwrap().signer;
        assert_eq!(signer, Some(keys[0].fingerprint().to_string()));

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
