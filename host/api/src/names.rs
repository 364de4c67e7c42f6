//! The syntax of label keys, label values and names, as the API server checks it on a node.

/// Longest prefix of a key, and longest name of an object.
const SUBDOMAIN: usize = 253;
/// Longest name part of a key, and longest value.
const NAME: usize = 63;

/// What is wrong with a label or taint key; none if nothing is.
pub(crate) fn key_problem(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.contains('/') {
        return Some("a key has at most one '/'");
    }
    if name.is_empty() || name.len() > NAME {
        return Some("the name part of a key has 1 to 63 characters");
    }
    if !is_word(name) {
        return Some(
            "the name part of a key has only letters, digits, '-', '_' and '.', and begins and ends with a letter or digit",
        );
    }
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        return Some("the prefix of a key is a DNS subdomain in lower case");
    }
    None
}

/// What is wrong with a label or taint value; none if nothing is.
pub(crate) fn value_problem(value: &str) -> Option<&'static str> {
    if value.len() > NAME {
        return Some("a value has at most 63 characters");
    }
    if !value.is_empty() && !is_word(value) {
        return Some(
            "a value has only letters, digits, '-', '_' and '.', and begins and ends with a letter or digit",
        );
    }
    None
}

/// Letters, digits and `-_.`, with a letter or digit at both ends. Not empty.
pub(crate) fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A DNS subdomain (RFC 1123) in lower case.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN && text.split('.').all(is_labels_text)
}

/// A DNS label (RFC 1123) in lower case, as `spec.policy.name` is one.
pub fn is_label(text: &str) -> bool {
    text.len() <= NAME && is_labels_text(text)
}

/// The API server does not count the characters of a subdomain's labels.
fn is_labels_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    is_word(text) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for good in ["a", "A_b.c-9", "example.com/a", "x9.io/A", &"k".repeat(63)] {
            assert_eq!(key_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a.",
            "a b",
            "Ex.com/a",
            "a..b/c",
            "ü",
            &"k".repeat(64),
            &format!("{}/a", "k".repeat(254)),
        ] {
            assert!(key_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn values() {
        for good in ["", "a", "A_b.c-9", &"v".repeat(63)] {
            assert_eq!(value_problem(good), None, "{good}");
        }
        for bad in ["not ok!", "-", "a/b", ".", &"v".repeat(64)] {
            assert!(value_problem(bad).is_some(), "{bad}");
        }
    }
}
