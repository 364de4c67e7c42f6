//! The syntax of names and labels, as the API server checks it: what has another one can be on no object, and a policy that
//! waited for it would hold nodes for ever.

/// A DNS label, as the name of a namespace is one: 1 to 63 small letters, digits and `-`, the latter not at an end.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text, |byte| byte.is_ascii_lowercase())
}

/// A DNS subdomain, as most names of objects are one: parts between dots, at most 253 characters.
pub fn is_dns_subdomain(text: &str) -> bool {
    // The API server does not count the characters of a part.
    text.len() <= 253
        && text
            .split('.')
            .all(|part| is_part(part, |byte| byte.is_ascii_lowercase()))
}

/// The name of a driver of CSI or DRA: a DNS subdomain of at most 63 characters, in capital letters too.
pub fn is_driver_name(text: &str) -> bool {
    text.len() <= 63
        && text
            .split('.')
            .all(|part| is_part(part, |byte| byte.is_ascii_alphabetic()))
}

/// The key of a label: a word, and maybe a DNS subdomain with `/` before it.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_word(name),
        None => is_word(text),
    }
}

/// The value of a label: empty, or a word.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_word(text)
}

/// 1 to 63 letters, digits and `-_.`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    text.len() <= 63
        && ends(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_part(text: &str, is_letter: fn(u8) -> bool) -> bool {
    ends(text)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
}

fn ends(text: &str) -> bool {
    let is_sound = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_sound(text.as_bytes().first()) && is_sound(text.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_what_an_object_can_have() {
        type Is = fn(&str) -> bool;
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        let subdomain = ["a".repeat(126), "b".repeat(126)].join(".");
        let too_long = format!("{subdomain}c");
        let (key, too_long_key) = (format!("{subdomain}/{long}"), format!("{too_long}/a"));
        let of: [(Is, &[&str], &[&str]); 5] = [
            (
                is_dns_label,
                &["a", "kube-system", "0", &long],
                &["", "-a", "a-", "a.b", "Kube", "a_b", "a ", "ä", &longer],
            ),
            (
                is_dns_subdomain,
                &["a", "a.b-c.0", &longer, &subdomain],
                &["", ".a", "a.", "a..b", "a.-b", "A", "a/b", &too_long],
            ),
            (
                is_driver_name,
                &["ebs.csi.aws.com", "GPU.example.com", &long],
                &["", "a b", "a_b", "a.", "é", &longer],
            ),
            (
                is_label_key,
                &["a", "A_b.c-9", "example.com/Name", &key],
                &[
                    "",
                    "/a",
                    "a/",
                    "a/b/c",
                    "A/b",
                    "bad key!",
                    "-a",
                    &longer,
                    &too_long_key,
                ],
            ),
            (
                is_label_value,
                &["", "v", "V_1.2-3", &long],
                &["v v", "-v", "v.", "a/b", "é", &longer],
            ),
        ];
        for (index, (is, good, bad)) in of.into_iter().enumerate() {
            for text in good {
                assert!(is(text), "{index}: {text:?}");
            }
            for text in bad {
                assert!(!is(text), "{index}: {text:?}");
            }
        }
    }
}
