//! The way out in an emergency: an annotation on a node that lets it go from a rule until a time.
//!
//! Its value is a list, separated by commas, of `RULE=TIME`: the name of a rule, and an RFC 3339
//! time such as `2026-01-02T03:04:05Z`. Until then the rule has no claim on the node: its taint goes,
//! nothing is recorded as complete, and when the time has come the node is decided about as before.

use jiff::Timestamp;

use crate::facts::Node;
use crate::rule::Rule;

/// Key of the annotation.
pub const ANNOTATION: &str = "readiness.node.x-k8s.io/break-glass";

/// Until when the node is let go from this rule; none if it is not. The latest of several times. An entry
/// for a rule is one for the rule that replaces it too.
pub fn until(node: &Node, rule: &Rule, now: Timestamp) -> Option<Timestamp> {
    let entries = entries(node).filter_map(Result::ok);
    let ours = entries.filter(|(name, until)| is_for(name, rule) && *until > now);
    ours.map(|(_, until)| until).max()
}

/// Is an entry by this name for this rule?
pub fn is_for(name: &str, rule: &Rule) -> bool {
    name == rule.name || rule.replaces.as_deref() == Some(name)
}

/// The entries: a rule's name, and until when; or what is wrong with one, which lets nothing go then.
pub fn entries(node: &Node) -> impl Iterator<Item = Result<(&str, Timestamp), String>> {
    let text = node.annotations.get(ANNOTATION).unwrap_or_default();
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(|part| {
        let entry = part.split_once('=').and_then(|(rule, until)| {
            let until = until.trim().parse().ok()?;
            Some((rule.trim(), until))
        });
        entry.ok_or_else(|| {
            format!("{part:?} is not RULE=TIME with a time such as 2026-01-02T03:04:05Z")
        })
    })
}
