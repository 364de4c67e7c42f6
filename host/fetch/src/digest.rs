//! What names bytes.

use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, written as `sha256:` and 64 hexadecimal digits. Registries know others; none is
/// accepted here, and cosign signs this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a digest: it is written as sha256: and 64 of the digits 0-9 and a-f")]
pub struct InvalidDigest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Hash::new();
        hash.update(bytes);
        hash.finish()
    }

    /// Without `sha256:`.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Hashes what comes in pieces.
pub(crate) struct Hash(ring::digest::Context);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Digest(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        parse(text).ok_or_else(|| InvalidDigest(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix("sha256:")?.as_bytes();
    let mut digest = [0; 32];
    if hex.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(Digest(digest))
}

/// Capitals do not count: one digest has one text, which can be compared as such.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_and_read_in_one_way() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        for bad in [
            "",
            "sha256:",
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &EMPTY.to_uppercase(),
            &EMPTY.replace("sha256", "sha512"),
            &EMPTY.replace('e', "g"),
            &EMPTY.replace("e3", "é"),
        ] {
            let error = bad.parse::<Digest>().unwrap_err();
            assert_eq!(error, InvalidDigest(bad.to_owned()));
        }
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let mut hash = Hash::new();
        hash.update(b"node ");
        hash.update(b"readiness");
        assert_eq!(hash.finish(), Digest::of(b"node readiness"));
    }
}
