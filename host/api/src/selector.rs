//! Which nodes a rule applies to, and whether two rules can apply to one node.
//!
//! A selector is a conjunction of demands, each on one label. Put together by label they answer both
//! questions: a node is selected if each of its labels is allowed; and two selectors have a node in
//! common if every label by itself can be what both allow. There is always a value that a `NotIn` does
//! not name, so that is exact.
//!
//! `kube` has a selector that matches; the tests compare with it.

mod allowed;

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use planner::facts::Texts;

use crate::names;
use allowed::Allowed;

/// A label selector that can be evaluated: what it allows of each label that it names, sorted by key.
/// The empty one selects every node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<(String, Allowed)>);

impl Selector {
    /// Parses a selector as the API server does where it uses one. The schema of a rule lets any
    /// operator, key and value pass.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place below `spec.nodeSelector`.
    pub fn parse(selector: &LabelSelector) -> Result<Self, InvalidSelector> {
        check_all(selector)?;
        Ok(Self::of(demands(selector).collect()))
    }

    /// Demands together, those on one label put into one.
    fn of(mut demands: Vec<(String, Allowed)>) -> Self {
        demands.sort_by(|(one, _), (other, _)| one.cmp(other));
        demands.dedup_by(|(key, more), (kept, allowed)| {
            let same = key == kept;
            if same {
                allowed.restrict(more);
            }
            same
        });
        Self(demands)
    }

    /// Selects no node.
    pub fn nothing() -> Self {
        let key = "readiness.node.x-k8s.io/none".to_owned();
        Self(vec![(key, Allowed::nothing())])
    }

    /// Selects the nodes that both select.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Can there be a node that it selects?
    pub fn is_possible(&self) -> bool {
        self.0.iter().all(|(_, allowed)| allowed.is_possible())
    }

    /// Does it select a node with these labels?
    pub fn matches(&self, labels: &Texts) -> bool {
        let mut demands = self.0.iter();
        demands.all(|(key, allowed)| allowed.allows(labels.get(key)))
    }

    /// Does it select every node?
    pub fn selects_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Does it select every node that the other one selects?
    pub fn covers(&self, other: &Self) -> bool {
        self.0.iter().all(|(key, allowed)| {
            let theirs = other.0.binary_search_by(|(known, _)| known.cmp(key));
            let theirs = theirs.ok().and_then(|index| other.0.get(index));
            theirs.is_some_and(|(_, theirs)| allowed.includes(theirs))
        })
    }

    /// Can there be a node that both select? One that contradicts itself selects none.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.as_slice(), other.0.as_slice());
        loop {
            let possible = match (ours, theirs) {
                ([(key, own), our_rest @ ..], [(their_key, their), their_rest @ ..]) => {
                    match key.cmp(their_key) {
                        Ordering::Less => {
                            ours = our_rest;
                            own.is_possible()
                        }
                        Ordering::Greater => {
                            theirs = their_rest;
                            their.is_possible()
                        }
                        Ordering::Equal => {
                            (ours, theirs) = (our_rest, their_rest);
                            own.meets(their)
                        }
                    }
                }
                (rest, []) | ([], rest) => {
                    return rest.iter().all(|(_, allowed)| allowed.is_possible());
                }
            };
            if !possible {
                return false;
            }
        }
    }
}

fn demands(selector: &LabelSelector) -> impl Iterator<Item = (String, Allowed)> {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), Allowed::is_in(vec![value.clone()])));
    let expressions = selector.match_expressions.iter().flatten();
    labels.chain(expressions.map(|expression| {
        let values = expression.values.clone().unwrap_or_default();
        let allowed = match expression.operator.as_str() {
            "In" => Allowed::is_in(values),
            "NotIn" => Allowed::is_not_in(values),
            "Exists" => Allowed::exists(),
            // There are no others in a selector that can be read.
            _ => Allowed::does_not_exist(),
        };
        (expression.key.clone(), allowed)
    }))
}

fn check_all(selector: &LabelSelector) -> Result<(), InvalidSelector> {
    for (key, value) in selector.match_labels.iter().flatten() {
        let field = || format!("matchLabels[{key:?}]");
        check(field, names::key_problem(key))?;
        check(field, names::value_problem(value))?;
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let field = |name: &str| format!("matchExpressions[{index}].{name}");
        let values = expression.values.as_deref().unwrap_or_default();
        check(|| field("key"), names::key_problem(&expression.key))?;
        let problem = match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => Some((
                field("values"),
                "In and NotIn need at least one value".to_owned(),
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => Some((
                field("values"),
                "Exists and DoesNotExist take no values".to_owned(),
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => None,
            other => Some((
                field("operator"),
                format!(
                    "{other:?} is not a valid label selector operator: there are In, NotIn, Exists and DoesNotExist"
                ),
            )),
        };
        if let Some((field, message)) = problem {
            return Err(InvalidSelector { field, message });
        }
        for value in values {
            check(|| field("values"), names::value_problem(value))?;
        }
    }
    Ok(())
}

fn check(
    field: impl FnOnce() -> String,
    problem: Option<&'static str>,
) -> Result<(), InvalidSelector> {
    match problem {
        None => Ok(()),
        Some(problem) => Err(InvalidSelector {
            field: field(),
            message: problem.to_owned(),
        }),
    }
}

/// A selector that selects nothing, since it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.nodeSelector.{field}: {message}")]
pub struct InvalidSelector {
    /// Where, below `spec.nodeSelector`.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

#[cfg(test)]
mod tests;
