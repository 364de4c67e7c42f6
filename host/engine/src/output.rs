//! What a policy handed back, checked against the limits that the contract states.

use std::fmt::Write;

use planner::rule::Rule;
use planner::verdict::{Decision, Failure, Finding, Subject, TaintAction};
use semver::Version;

use crate::contract::{decide, types};
use crate::failure::FailureKind;
use crate::{Description, Domain, Problem};

const REASON: usize = 64;
const SENTENCE: usize = 1024;
const SUBJECT: usize = 256;
const FINDINGS: usize = 64;
const PROBLEMS: usize = 64;
const NAME: usize = 63;

pub(crate) fn decision(
    answer: Result<decide::Decision, String>,
    rule: &Rule,
) -> Result<Decision, Failure> {
    let invalid = |message: String| Err(FailureKind::InvalidDecision.because(message));
    let decision = match answer {
        Ok(decision) => decision,
        Err(message) if message.len() > SENTENCE => {
            return invalid(format!(
                "its error has {} bytes, and {SENTENCE} are allowed",
                message.len()
            ));
        }
        Err(message) if message.trim().is_empty() => {
            return Err(FailureKind::PolicyError.because("the policy gave no reason"));
        }
        Err(message) => return Err(FailureKind::PolicyError.because(printable(message))),
    };
    let types::Decision {
        taint,
        complete_bootstrap,
        per_boot,
        reason,
        message,
        findings,
    } = decision;
    let taint = TaintAction::from(taint);
    if complete_bootstrap && taint != TaintAction::Absent {
        return invalid(format!(
            "it completes the bootstrap although the taint shall be {taint:?}, not Absent"
        ));
    }
    if !is_camel_case(&reason) {
        let reason = clipped(&reason);
        return invalid(format!(
            "its reason {reason:?} is not a CamelCase word of 1 to {REASON} letters and digits"
        ));
    }
    if message.len() > SENTENCE {
        return invalid(format!(
            "its message has {} bytes, and {SENTENCE} are allowed",
            message.len()
        ));
    }
    if findings.len() > FINDINGS {
        return invalid(format!(
            "it has {} findings, and {FINDINGS} are allowed",
            findings.len()
        ));
    }
    let mut checked = Vec::with_capacity(findings.len());
    for types::Finding { subject, met } in findings {
        let subject = match subject {
            types::Subject::Requirement(index) => {
                let index = index as usize;
                let count = rule.requirements.len();
                if index >= count {
                    return invalid(format!(
                        "a finding is about requirement {index}, and the rule has {count}"
                    ));
                }
                Subject::Requirement(index)
            }
            types::Subject::Other(what) if what.len() > SUBJECT => {
                return invalid(format!(
                    "the subject of a finding has {} bytes, and {SUBJECT} are allowed",
                    what.len()
                ));
            }
            types::Subject::Other(what) => Subject::Other(printable(what)),
        };
        checked.push(Finding { subject, met });
    }
    Ok(Decision {
        taint,
        complete_bootstrap,
        per_boot,
        reason,
        message: printable(message),
        findings: checked,
    })
}

pub(crate) fn problems(problems: Vec<types::Problem>) -> Result<Vec<Problem>, Failure> {
    let invalid = |message: String| Err(FailureKind::InvalidProblem.because(message));
    if problems.len() > PROBLEMS {
        return invalid(format!(
            "it found {} problems, and {PROBLEMS} are allowed",
            problems.len()
        ));
    }
    let mut checked = Vec::with_capacity(problems.len());
    for types::Problem { path, message } in problems {
        let is_pointer = path.is_empty() || path.starts_with('/');
        if !is_pointer || path.len() > SENTENCE {
            let path = clipped(&path);
            return invalid(format!(
                "the path {path:?} of a problem is not a JSON pointer"
            ));
        }
        if message.is_empty() || message.len() > SENTENCE {
            return invalid(format!(
                "the message of a problem has {} bytes instead of 1 to {SENTENCE}",
                message.len()
            ));
        }
        checked.push(Problem {
            path: printable(path),
            message: printable(message),
        });
    }
    Ok(checked)
}

/// The error is a sentence that begins with "its".
pub(crate) fn description(description: types::Description) -> Result<Description, String> {
    let types::Description {
        name,
        version,
        parameters,
        domains,
    } = description;
    if !is_dns_label(&name) {
        let name = clipped(&name);
        return Err(format!(
            "its name {name:?} is not a DNS label (1 to {NAME} lower-case letters, digits and \
             hyphens)"
        ));
    }
    if let Err(error) = Version::parse(&version) {
        let version = clipped(&version);
        return Err(format!("its version {version:?} is not semver: {error}"));
    }
    if !parameters.is_empty() {
        match serde_json::from_str(&parameters) {
            Ok(serde_json::Value::Object(_) | serde_json::Value::Bool(_)) => {}
            Ok(_) => return Err("its parameter schema is not a JSON object".into()),
            Err(error) => return Err(format!("its parameter schema is not JSON: {error}")),
        }
    }
    let domains = domains.into_iter().map(|domain| Domain {
        key: printable(domain.key),
        values: domain.values.into_iter().map(printable).collect(),
    });
    Ok(Description {
        name,
        version,
        parameters: seen_json(&parameters),
        domains: domains.collect(),
    })
}

fn is_camel_case(word: &str) -> bool {
    word.len() <= REASON
        && word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Can it not be seen itself, and change how the text around it is seen? Control characters, line and
/// paragraph separators, what turns the direction of writing around, and what has no width.
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{61c}'
                | '\u{feff}'
        )
}

/// These texts are shown in terminals, logs and status fields: none may move a cursor, begin a
/// new line there, or look like another one.
pub(crate) fn printable(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains(is_unseen) {
        text.replace(is_unseen, " ")
    } else {
        text
    }
}

/// The same JSON with an escape for each character of its strings that [cannot be seen](is_unseen): what it
/// means stays, and it can be shown where [decisions](planner::verdict::Decision) are.
pub fn seen_json(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Outside of strings: in them they are escapes already.
            '\n' | '\r' | '\t' => seen.push(character),
            _ if is_unseen(character) => {
                // A String takes everything, and each of these has four digits at most.
                let _ = write!(seen, "\\u{:04x}", u32::from(character));
            }
            _ => seen.push(character),
        }
    }
    seen
}

/// As much of a text as an error message needs.
fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_a_space_and_all_else_stays() {
        for unseen in [
            '\n', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{61c}', '\u{200b}', '\u{200d}',
            '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2060}', '\u{2066}',
            '\u{2069}', '\u{feff}',
        ] {
            let text = format!("a{unseen}b");
            assert_eq!(printable(text), "a b", "{}", unseen.escape_unicode());
        }
        for seen in ["", "it’s “fine” – 5 µs…", "číslo", "数", "a b", "👍"] {
            assert_eq!(printable(seen), seen);
        }
    }

    #[test]
    fn a_schema_shows_what_it_is_and_stays_what_it_is() {
        let unseen: String = (0..=0xffff)
            .filter_map(char::from_u32)
            .filter(|character| is_unseen(*character))
            .collect();
        let schema = serde_json::json!({ "description": format!("a{unseen}b, ü and \"\\"), "type": "object" });
        let given = serde_json::to_string_pretty(&schema).unwrap();
        assert!(given.contains('\u{202e}') && given.contains('\u{9b}'));
        let described = description(types::Description {
            name: "one".to_owned(),
            version: "1.0.0".to_owned(),
            parameters: format!("\t{given}\r\n"),
            domains: Vec::new(),
        });
        let shown = described.unwrap().parameters;
        let line_ends = ['\n', '\r', '\t'];
        let hidden = |character: char| is_unseen(character) && !line_ends.contains(&character);
        assert!(
            !shown.contains(hidden) && shown.contains("\\u202e"),
            "{shown}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            schema
        );
    }
}
