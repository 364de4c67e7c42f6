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
    Demands::of(one).map_or(true, |one| one.overlap(other))
}

/// What a selector demands, sorted by label key: to be compared with many others.
#[derive(Debug, Clone)]
pub struct Demands<'a>(Vec<(&'a str, Demand<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Demand<'a> {
    /// The one value of `matchLabels`.
    Equals(&'a String),
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
        Ok(Self::sorted(selector))
    }

    fn sorted(selector: &'a LabelSelector) -> Self {
        let mut demands: Vec<_> = demands(selector).collect();
        demands.sort_by_key(|(key, _)| *key);
        Self(demands)
    }

    /// Can there be a node that both select? A selector that contradicts itself selects none, one that
    /// cannot be read overlaps.
    pub fn overlap(&self, other: &LabelSelector) -> bool {
        // Most pairs differ in one label. To see that needs neither an order nor memory; what takes
        // time with many rules is to look at every word of them.
        let contradicts = demands(other).any(|(key, demand)| {
            let both = self.on(key).iter().map(|(_, own)| *own).chain([demand]);
            !satisfiable(both)
        });
        let is_readable = check_all(other).is_ok();
        !is_readable || !contradicts && self.overlap_sorted(&Demands::sorted(other))
    }

    fn overlap_sorted(&self, other: &Demands<'_>) -> bool {
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

    /// What is demanded of one label.
    fn on(&self, key: &str) -> Part<'_, 'a> {
        let first = self.0.partition_point(|(own, _)| *own < key);
        split(&self.0[first..], key).0
    }
}

fn demands(selector: &LabelSelector) -> impl Iterator<Item = (&str, Demand<'_>)> {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key.as_str(), Demand::Equals(value)));
    let expressions = selector.match_expressions.iter().flatten();
    labels.chain(expressions.map(|expression| {
        let values = expression.values.as_deref().unwrap_or_default();
        let demand = match expression.operator.as_str() {
            "In" => Demand::In(values),
            "NotIn" => Demand::NotIn(values),
            "Exists" => Demand::Exists,
            // There are no others in a selector that can be read.
            _ => Demand::DoesNotExist,
        };
        (expression.key.as_str(), demand)
    }))
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

/// Is there a value that meets all of these?
fn has_value<'a>(demands: impl Iterator<Item = Demand<'a>> + Clone) -> bool {
    let (mut fewest, mut most): (Option<&[String]>, _) = (None, 0);
    for demand in demands.clone() {
        match demand {
            Demand::DoesNotExist => return false,
            Demand::Exists => {}
            Demand::NotIn(values) => most = most.max(values.len()),
            Demand::Equals(_) | Demand::In(_) => {
                let values = demand.values();
                most = most.max(values.len());
                if fewest.is_none_or(|fewest| values.len() < fewest.len()) {
                    fewest = Some(values);
                }
            }
        }
    }
    let Some(candidates) = fewest else {
        return true;
    };
    if candidates.len().saturating_mul(most) <= COMPARISONS {
        let allowed = |value: &String| {
            (demands.clone()).all(|demand| demand.allows(|values| values.contains(value)))
        };
        return candidates.iter().any(allowed);
    }
    let mut candidates = sorted(candidates);
    for demand in demands {
        let values = sorted(demand.values());
        candidates.retain(|value| demand.allows(|_| values.binary_search(value).is_ok()));
    }
    !candidates.is_empty()
}

/// Up to so many are quicker than sorting. A list may have as many values as fit into an object.
const COMPARISONS: usize = 256;

fn sorted(values: &[String]) -> Vec<&String> {
    let mut values: Vec<_> = values.iter().collect();
    values.sort_unstable();
    values
}

impl<'a> Demand<'a> {
    fn values(self) -> &'a [String] {
        match self {
            Self::Equals(value) => std::slice::from_ref(value),
            Self::In(values) | Self::NotIn(values) => values,
            Self::Exists | Self::DoesNotExist => &[],
        }
    }

    /// Does it allow a value that is, or is not, among its own?
    fn allows(self, contains: impl FnOnce(&[String]) -> bool) -> bool {
        match self {
            Self::Equals(_) | Self::In(_) => contains(self.values()),
            Self::NotIn(_) => !contains(self.values()),
            Self::Exists => true,
            Self::DoesNotExist => false,
        }
    }
}

#[cfg(test)]
mod tests;
