//! The result of `host eval` as people read it: columns like kubectl's.

use comfy_table::{Table, presets};
use planner::plan::Action;

use super::report::{Entry, Report};

/// The table; empty if there is nothing in it.
pub fn table(report: &Report) -> String {
    if report.results.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["NODE", "RULE", "TAINT", "ACTION", "WHY"]);
    for entry in &report.results {
        table.add_row([
            entry.node.clone(),
            entry.rule.clone(),
            taint(entry),
            action(entry),
            why(entry),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt() + "\n"
}

fn taint(entry: &Entry) -> String {
    let (before, after) = (entry.taint.before, entry.taint.after);
    if before == after {
        format!("{before:?}")
    } else {
        format!("{before:?} → {after:?}")
    }
}

fn action(entry: &Entry) -> String {
    let done = word(entry.action);
    let completes = entry.complete_bootstrap && entry.action != Action::CompleteBootstrap;
    match entry.dry_run_action {
        Some(would) => format!("{done} (dry run: {})", word(would)),
        None if completes => format!("{done}, {}", word(Action::CompleteBootstrap)),
        None => done.to_owned(),
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::AddTaint => "AddTaint",
        Action::RemoveTaint => "RemoveTaint",
        Action::CompleteBootstrap => "CompleteBootstrap",
        Action::None => "None",
    }
}

fn why(entry: &Entry) -> String {
    // One line each, whatever a policy writes.
    let message: String = entry
        .message
        .chars()
        .map(|c| if engine::is_unseen(c) { ' ' } else { c })
        .collect();
    let mut why = entry.reason.clone();
    if !message.is_empty() {
        why = format!("{why}: {message}");
    }
    if let Some(time) = entry.ask_again_at {
        why = format!("{why} (again at {time})");
    }
    why
}
