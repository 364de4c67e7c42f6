//! YAML straight into types: line, column and an excerpt in every error.

use serde::de::DeserializeOwned;
use serde_saphyr::{Location, Options, UserMessageFormatter};

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

fn sentence(source: &Source, error: &serde_saphyr::Error) -> String {
    // `file:line:column: message`, then the excerpt alone.
    let place = place(&source.name, error.location());
    let what = error
        .without_snippet()
        .render_with_formatter(&UserMessageFormatter);
    // The plain text ends in its own words for the place.
    let what = what.split(" at line ").next().unwrap_or(&what);
    let excerpt = error.render();
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

/// `file:line:column`, or the file alone where the place is not known.
pub fn place(name: &str, location: Option<Location>) -> String {
    match location {
        Some(location) if location.line() > 0 => {
            format!("{name}:{}:{}", location.line(), location.column())
        }
        _ => name.to_owned(),
    }
}
