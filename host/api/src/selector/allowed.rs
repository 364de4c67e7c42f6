//! What a selector allows of one label.

/// Being absent, or having one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed {
    absent: bool,
    values: Values,
}

/// Values that a label may have, sorted and each one once.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Allowed {
    pub(super) fn is_in(values: Vec<String>) -> Self {
        let values = Values::Only(sorted(values));
        Self {
            absent: false,
            values,
        }
    }

    pub(super) fn is_not_in(values: Vec<String>) -> Self {
        let values = Values::AllBut(sorted(values));
        Self {
            absent: true,
            values,
        }
    }

    pub(super) fn exists() -> Self {
        let values = Values::AllBut(Vec::new());
        Self {
            absent: false,
            values,
        }
    }

    pub(super) fn does_not_exist() -> Self {
        let values = Values::Only(Vec::new());
        Self {
            absent: true,
            values,
        }
    }

    pub(super) fn nothing() -> Self {
        Self::is_in(Vec::new())
    }

    /// Allows from now on only what `other` allows too.
    pub(super) fn restrict(&mut self, other: &Self) {
        self.absent &= other.absent;
        match (&mut self.values, &other.values) {
            (Values::Only(own), other) => own.retain(|value| other.contain(value)),
            (Values::AllBut(own), Values::AllBut(other)) => {
                own.extend_from_slice(other);
                *own = sorted(std::mem::take(own));
            }
            (own, Values::Only(other)) => {
                let both = other.iter().filter(|value| own.contain(value));
                *own = Values::Only(both.cloned().collect());
            }
        }
    }

    /// Does it allow a label that has this value, or is absent?
    pub(super) fn allows(&self, value: Option<&str>) -> bool {
        value.map_or(self.absent, |value| self.values.contain(value))
    }

    /// Is there anything that it allows?
    pub(super) fn is_possible(&self) -> bool {
        self.absent || !matches!(&self.values, Values::Only(values) if values.is_empty())
    }

    /// Does it allow all that the other one allows?
    pub(super) fn includes(&self, other: &Self) -> bool {
        let mut both = other.clone();
        both.restrict(self);
        both == *other
    }

    /// Is there anything that both allow?
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.absent && other.absent || self.values.meet(&other.values)
    }
}

impl Values {
    fn contain(&self, value: &str) -> bool {
        let found = |values: &[String]| {
            let place = values.binary_search_by(|known| known.as_str().cmp(value));
            place.is_ok()
        };
        match self {
            Self::Only(values) => found(values),
            Self::AllBut(values) => !found(values),
        }
    }

    fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            // Values do not run out.
            (Self::AllBut(_), Self::AllBut(_)) => true,
            (Self::Only(few), Self::Only(many)) if few.len() > many.len() => other.meet(self),
            (Self::Only(few), other) | (other, Self::Only(few)) => {
                few.iter().any(|value| other.contain(value))
            }
        }
    }
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values.dedup();
    values
}
