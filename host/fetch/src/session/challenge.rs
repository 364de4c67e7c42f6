//! What a server wants to see: the `WWW-Authenticate` header, RFC 9110, section 11.6.1.

/// One of the ways to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// All of a header, which may have several, as far as it can be read.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split(rest, |letter| {
            matches!(letter, ' ' | '\t' | ',' | '=' | '"')
        });
        if word.is_empty() {
            return challenges;
        }
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        match (value, challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let Some((value, after)) = quoted(value) else {
                    return challenges;
                };
                challenge.parameters.push((word.to_owned(), value));
                rest = after;
            }
            // A parameter of nothing.
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push(Challenge {
                    scheme: word.to_owned(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

/// A value with or without quotes, and what comes after it; none if its end is missing.
fn quoted(text: &str) -> Option<(String, &str)> {
    let Some(text) = text.strip_prefix('"') else {
        let (value, after) = split(text, |letter| matches!(letter, ' ' | '\t' | ','));
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn split(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_header_may_have_several_challenges() {
        for (header, expected) in [
            (
                "Basic realm=\"x\"",
                vec![challenge("Basic", &[("realm", "x")])],
            ),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"a b\", scope=\"repository:a:pull,push\"",
                vec![challenge(
                    "Bearer",
                    &[
                        ("realm", "https://auth.example/token"),
                        ("service", "a b"),
                        ("scope", "repository:a:pull,push"),
                    ],
                )],
            ),
            (
                "Basic realm = simple , Negotiate, bearer Realm=\"a\\\"b\"",
                vec![
                    challenge("Basic", &[("realm", "simple")]),
                    challenge("Negotiate", &[]),
                    challenge("bearer", &[("Realm", "a\"b")]),
                ],
            ),
            ("Bearer realm=\"unfinished", vec![challenge("Bearer", &[])]),
            (
                "Bearer realm=\"unfinished\\",
                vec![challenge("Bearer", &[])],
            ),
            ("realm=\"x\"", vec![]),
            (
                "Bearer realm=\"é\"",
                vec![challenge("Bearer", &[("realm", "é")])],
            ),
            ("", vec![]),
            ("=,=", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
        let [bearer] = &parse("bearer Realm=x")[..] else {
            panic!()
        };
        assert!(bearer.is("Bearer"));
        assert_eq!(bearer.parameter("realm"), Some("x"));
    }
}
