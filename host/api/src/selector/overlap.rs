//! Can two selectors select one node?
//!
//! Decided exactly. A selector is a conjunction of demands, each on one label; so two selectors have a
//! node in common if every label by itself can meet what both demand of it. There is always a value
//! that a `NotIn` does not name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{InvalidSelector, check_all};

/// Can there be a node that both select? A selector that cannot be read overlaps with everything:
/// nobody can say what it was meant to select.
pub fn overlap(one: &LabelSelector, other: &LabelSelector) -> bool {
    match (Demands::of(one), Demands::of(other)) {
        (Ok(one), Ok(other)) => one.overlap(&other),
        _ => true,
    }
}

/// What a selector demands, sorted by label key: to be compared with many others.
#[derive(Debug, Clone)]
pub struct Demands<'a>(Vec<(&'a str, Demand<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Demand<'a> {
    /// The one value of `matchLabels`.
    Equals(&'a str),
    In(&'a [String]),
    NotIn(&'a [String]),
    Exists,
    DoesNotExist,
}

impl<'a> Demands<'a> {
    /// Takes a selector apart.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(selector: &'a LabelSelector) -> Result<Self, InvalidSelector> {
        check_all(selector)?;
        let labels = selector.match_labels.iter().flatten();
        let labels = labels.map(|(key, value)| (key.as_str(), Demand::Equals(value)));
        let expressions = selector.match_expressions.iter().flatten();
        let expressions = expressions.map(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            let demand = match expression.operator.as_str() {
                "In" => Demand::In(values),
                "NotIn" => Demand::NotIn(values),
                "Exists" => Demand::Exists,
                // There are no others: it was checked.
                _ => Demand::DoesNotExist,
            };
            (expression.key.as_str(), demand)
        });
        let mut demands: Vec<_> = labels.chain(expressions).collect();
        demands.sort_by_key(|(key, _)| *key);
        Ok(Self(demands))
    }

    /// Can there be a node that both select? A selector that contradicts itself selects none.
    pub fn overlap(&self, other: &Demands<'_>) -> bool {
        let (mut ours, mut theirs) = (self.0.as_slice(), other.0.as_slice());
        while let Some(key) = [ours.first(), theirs.first()]
            .into_iter()
            .flatten()
            .map(|(key, _)| *key)
            .min()
        {
            let (our_part, our_rest) = split(ours, key);
            let (their_part, their_rest) = split(theirs, key);
            let both = our_part.iter().chain(their_part).map(|(_, demand)| *demand);
            if !satisfiable(both) {
                return false;
            }
            (ours, theirs) = (our_rest, their_rest);
        }
        true
    }
}

type Part<'p, 'a> = &'p [(&'a str, Demand<'a>)];

/// The demands on one key, which are first if there are any, and the rest.
fn split<'p, 'a>(demands: Part<'p, 'a>, key: &str) -> (Part<'p, 'a>, Part<'p, 'a>) {
    let count = demands.iter().take_while(|(own, _)| *own == key).count();
    demands.split_at(count)
}

/// Can one label meet all of these?
fn satisfiable<'a>(demands: impl Iterator<Item = Demand<'a>> + Clone) -> bool {
    let is_absent_allowed = demands
        .clone()
        .all(|demand| matches!(demand, Demand::NotIn(_) | Demand::DoesNotExist));
    is_absent_allowed || has_value(demands)
}

/// Is there a value that meets all of these? Sorted lists, since a list may have as many values as fit
/// into an object.
fn has_value<'a>(demands: impl Iterator<Item = Demand<'a>> + Clone) -> bool {
    let mut allowed: Option<Vec<&str>> = None;
    for demand in demands.clone() {
        let values = match demand {
            Demand::Equals(value) => vec![value],
            Demand::In(values) => sorted(values),
            Demand::DoesNotExist => return false,
            Demand::NotIn(_) | Demand::Exists => continue,
        };
        match &mut allowed {
            None => allowed = Some(values),
            Some(allowed) => allowed.retain(|value| values.binary_search(value).is_ok()),
        }
    }
    let Some(mut allowed) = allowed else {
        return true;
    };
    for demand in demands {
        if let Demand::NotIn(values) = demand {
            let excluded = sorted(values);
            allowed.retain(|value| excluded.binary_search(value).is_err());
        }
    }
    !allowed.is_empty()
}

fn sorted(values: &[String]) -> Vec<&str> {
    let mut values: Vec<_> = values.iter().map(String::as_str).collect();
    values.sort_unstable();
    values
}

#[cfg(test)]
mod tests;
