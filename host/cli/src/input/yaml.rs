//! YAML straight into types: line, column and an excerpt in every error.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location, MessageFormatter, Options, UserMessageFormatter};

use super::Source;

/// All documents of a YAML stream. Empty ones are skipped.
pub fn documents<T: DeserializeOwned>(source: &Source) -> Result<Vec<T>, String> {
    let text = std::str::from_utf8(&source.bytes).map_err(|error| {
        format!(
            "{} is not text in UTF-8: byte {} cannot be read; some shells save as UTF-16",
            source.name,
            error.valid_up_to() + 1
        )
    })?;
    serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| sentence(source, &error))
}

/// 5,000 nodes with their images are some 60 MB. What bounds a stream here is the user, who gives
/// it; the limits on depth and on what aliases may expand to stay.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
        emit_comments: false,
    }
}

fn sentence(source: &Source, error: &Error) -> String {
    // `file:line:column: message`, then the excerpt alone.
    let place = place(&source.name, error.location());
    let what = error.without_snippet().render_with_formatter(&Words);
    // The plain text ends in its own words for the place.
    let what = what.split(" at line ").next().unwrap_or(&what);
    let excerpt = error.render_with_formatter(&Words);
    let excerpt: Vec<&str> = excerpt
        .lines()
        .skip_while(|line| !line.trim_start().starts_with('|'))
        .collect();
    let excerpt = excerpt.join("\n");
    if excerpt.is_empty() {
        format!("{place}: {what}")
    } else {
        format!("{place}: {what}\n{excerpt}")
    }
}

/// The words of somebody who writes YAML, in place of those of the library's own interface.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the field `{key}` is given twice").into()
            }
            Error::DuplicateMappingKey { .. } => "a field is given twice".into(),
            Error::Unexpected { expected, .. } => match *expected {
                "mapping start" => "fields are expected here, such as `name: value`".into(),
                "sequence start" => "a list is expected here".into(),
                "string scalar" => "a string is expected here".into(),
                other => format!("{other} is expected here").into(),
            },
            Error::UnknownAnchor { .. } => "this alias (*) has no anchor (&) before it".into(),
            Error::RecursiveReferencesRequireWeakTypes { .. } => {
                "this alias (*) stands within its own anchor (&)".into()
            }
            Error::MergeValueNotMapOrSeqOfMaps { .. } => {
                "`<<` merges fields, or a list of them, and this is neither".into()
            }
            Error::NonFiniteFloat { value, .. } => format!("{value} is not a finite number").into(),
            Error::Budget { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                "this is nested too deeply, or its aliases (*) stand for too much".into()
            }
            other => UserMessageFormatter.format_message(other),
        }
    }
}

/// `file:line:column`, or the file alone where the place is not known.
pub fn place(name: &str, location: Option<Location>) -> String {
    match location {
        Some(location) if location.line() > 0 => {
            format!("{name}:{}:{}", location.line(), location.column())
        }
        _ => name.to_owned(),
    }
}
