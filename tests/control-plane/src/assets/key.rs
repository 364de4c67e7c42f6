//! The name of a cache folder: everything that decides what the built programs are.

use sha2::{Digest, Sha256};

/// Length of a key. 64 bits are enough to tell a developer's few versions apart.
const HEX_DIGITS: usize = 16;

/// Hashes the parts in their order. Each is preceded by its length, so that text which moves
/// from one part to the next changes the key.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut key: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    key.truncate(HEX_DIGITS);
    key
}

#[cfg(test)]
mod tests {
    use super::key;

    fn of(parts: &[&str]) -> String {
        key(parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn every_part_and_its_place_count() {
        let parts = ["module a", "a h1:x", "go version go1.26.8", "-trimpath"];
        let original = of(&parts);
        assert_eq!(
            original,
            of(&parts),
            "the same parts find the same binaries again"
        );
        for index in 0..parts.len() {
            let mut changed = parts;
            changed[index] = "other";
            assert_ne!(original, of(&changed), "part {index} is not in the key");
        }
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    }

    #[test]
    fn a_key_is_a_plain_folder_name() {
        let key = of(&["x"]);
        assert_eq!(key.len(), 16);
        assert!(key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
