//! The page of promises, and what the name of a test says that it proves.

use std::path::Path;

use anyhow::ensure;

/// In the words of a promise that this version does not keep.
pub(super) const NOT_YET: &str = "*(not yet)*";

/// What the name of a test carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// `compat_023_…`: a numbered line.
    Line(u32),
    /// `nrc_235_…`: a public report.
    Report(String),
    /// `compat_j_budget_…`: a decision.
    Decision(String),
}

/// A row of a table: `| 23 | words |`, `| #235, #339 | words |`, or `` | `budget` | words | ``.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// The first cell.
    pub(super) id: String,
    /// One of them in the name of a test is enough.
    pub(super) keys: Vec<Key>,
    pub(super) words: String,
    /// Where it stands, from 1.
    pub(super) line: usize,
    pub(super) not_yet: bool,
}

/// All rows of all tables whose first cell is not a heading.
pub(super) fn read(text: &str, path: &Path) -> anyhow::Result<Vec<Promise>> {
    let mut promises: Vec<Promise> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((id, words)) = (line.strip_prefix("| "))
            .and_then(|row| row.strip_suffix(" |"))
            .and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        let keys: Vec<Key> = id.split(", ").filter_map(key).collect();
        if keys.is_empty() {
            continue; // the head of a table
        }
        let place = format!("{}:{}", path.display(), index + 1);
        for key in &keys {
            let twice = promises.iter().any(|other| other.keys.contains(key));
            ensure!(!twice, "{place}: {id} stands there twice");
        }
        promises.push(Promise {
            id: id.to_owned(),
            keys,
            words: words.to_owned(),
            line: index + 1,
            not_yet: words.contains(NOT_YET),
        });
    }
    ensure!(
        !promises.is_empty(),
        "{}: there is no table",
        path.display()
    );
    Ok(promises)
}

fn key(cell: &str) -> Option<Key> {
    if let Ok(line) = cell.parse() {
        return Some(Key::Line(line));
    }
    if let Some(number) = cell.strip_prefix('#').or(cell.strip_prefix("KEP-")) {
        return Some(Key::Report(number.to_owned()));
    }
    let word = cell.strip_prefix('`')?.strip_suffix('`')?;
    Some(match word.strip_prefix("nrc_") {
        Some(report) => Key::Report(report.to_owned()),
        None => Key::Decision(word.to_owned()),
    })
}

/// Is it the name of a test that proves something?
pub(super) fn is_proof(name: &str) -> bool {
    name.starts_with("compat_") || name.starts_with("nrc_")
}

/// What a test proves, by its name: `compat_001_to_011_…`, `compat_031_032_…`, `nrc_235_339_…`,
/// `compat_j_budget_…`, and several of these one after the other.
pub(super) fn keys(name: &str, promises: &[Promise]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = name;
    loop {
        if let Some(decision) = rest.strip_prefix("compat_j_") {
            let (key, after) = decision_of(decision, promises).ok_or("no such decision")?;
            keys.push(key);
            rest = after;
        } else if let Some(lines) = rest.strip_prefix("compat_") {
            rest = take_lines(lines, &mut keys);
        } else if let Some(reports) = rest.strip_prefix("nrc_") {
            rest = take_reports(reports, promises, &mut keys);
        } else {
            break;
        }
    }
    let promised = |key: &Key| promises.iter().any(|promise| promise.keys.contains(key));
    match keys.iter().find(|key| !promised(key)) {
        Some(Key::Line(line)) => Err(format!("there is no line {line}")),
        Some(Key::Report(report)) => Err(format!("there is no report {report}")),
        Some(Key::Decision(decision)) => Err(format!("there is no decision {decision}")),
        None if keys.is_empty() => Err("its name has no number".to_owned()),
        None => Ok(keys),
    }
}

/// The first word of the text, if it is followed by more.
fn number(text: &str) -> Option<(u32, &str)> {
    let (word, rest) = text.split_once('_')?;
    Some((word.parse().ok()?, rest))
}

fn take_lines<'a>(mut text: &'a str, keys: &mut Vec<Key>) -> &'a str {
    while let Some((line, rest)) = number(text) {
        let range = rest.strip_prefix("to_").and_then(number);
        let (last, rest) = range.unwrap_or((line, rest));
        keys.extend((line..=last).map(Key::Line));
        text = rest;
    }
    text
}

fn take_reports<'a>(mut text: &'a str, promises: &[Promise], keys: &mut Vec<Key>) -> &'a str {
    while let Some((report, rest)) = text.split_once('_') {
        let key = Key::Report(report.to_owned());
        let is_number = report.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && !promises.iter().any(|promise| promise.keys.contains(&key)) {
            break;
        }
        // `nrc_054_` is #54.
        keys.push(Key::Report(report.trim_start_matches('0').to_owned()));
        text = rest;
    }
    text
}

/// The decision with the longest name that the text begins with, after an article; and what follows.
fn decision_of<'a>(text: &'a str, promises: &[Promise]) -> Option<(Key, &'a str)> {
    let text = text.strip_prefix("a_").unwrap_or(text);
    let known = promises.iter().flat_map(|promise| &promise.keys);
    let begins = known.filter_map(|key| match key {
        Key::Decision(name) => Some((key, text.strip_prefix(name.as_str())?.strip_prefix('_')?)),
        _ => None,
    });
    let (key, rest) = begins.min_by_key(|(_, rest)| rest.len())?;
    Some((key.clone(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<Promise> {
        let rows = (1..=46).map(|line| format!("| {line} | words |\n"));
        let page = rows.collect::<String>()
            + "| # | head |\n|---|---|\n| #54 | a |\n| #235, #339 | b |\n| KEP-5233 | c |\n\
               | `nrc_boot` | d |\n| `dry_run` | e |\n| `dry_run_twice` | f *(not yet)* |\n";
        read(&page, Path::new("page")).unwrap()
    }

    fn report(number: &str) -> Key {
        Key::Report(number.to_owned())
    }

    fn decision(name: &str) -> Key {
        Key::Decision(name.to_owned())
    }

    #[test]
    fn a_name_says_what_its_test_proves() {
        for (name, expected) in [
            ("compat_023_a_rule", vec![Key::Line(23)]),
            (
                "compat_031_032_10_nodes",
                vec![Key::Line(31), Key::Line(32), Key::Line(10)],
            ),
            (
                "compat_001_to_003_x",
                vec![Key::Line(1), Key::Line(2), Key::Line(3)],
            ),
            ("nrc_235_339_x", vec![report("235"), report("339")]),
            ("nrc_054_compat_022_x", vec![report("54"), Key::Line(22)]),
            (
                "nrc_5233_compat_j_dry_run_x",
                vec![report("5233"), decision("dry_run")],
            ),
            ("nrc_boot_x", vec![report("boot")]),
            (
                "compat_j_a_dry_run_twice_x",
                vec![decision("dry_run_twice")],
            ),
        ] {
            assert_eq!(keys(name, &page()), Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_was_not_promised_cannot_be_proven() {
        for (name, expected) in [
            ("compat_047_x", "there is no line 47"),
            ("nrc_1_x", "there is no report 1"),
            ("compat_j_dry_runs", "no such decision"),
            ("compat_x", "its name has no number"),
        ] {
            assert_eq!(keys(name, &page()), Err(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_row_that_stands_there_twice_is_told() {
        let error = read("| 1 | a |\n| 1 | b |\n", Path::new("page")).unwrap_err();
        assert_eq!(error.to_string(), "page:2: 1 stands there twice");
    }
}
