//! The lease of a node: the host side of `wit/lease.wit`.

use std::time::Duration;

use jiff::Timestamp;

use crate::question::{Answer, within};

/// Whether a node has a lease, and when that was renewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lease {
    /// It has none.
    #[default]
    Absent,
    /// It has one that does not say when it was renewed.
    Undated,
    /// It was renewed then.
    Renewed(Timestamp),
}

impl Lease {
    /// One that says this.
    pub fn renewed(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Undated, Self::Renewed)
    }

    /// `has-lease`
    pub(crate) fn exists(self) -> (Answer, Option<Timestamp>) {
        (Answer::Bool(self != Self::Absent), None)
    }

    /// `renewed-within`
    pub(crate) fn renewed_within(
        self,
        at_most: Duration,
        now: Timestamp,
    ) -> (Answer, Option<Timestamp>) {
        match self {
            Self::Renewed(at) => within(at, at_most, now),
            Self::Absent | Self::Undated => (Answer::Bool(false), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_lease_is_there_and_fresh_for_so_long_after_it_was_renewed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let minute = Duration::from_secs(60);
        let asked = |lease: Lease| (lease.exists().0, lease.renewed_within(minute, at(100)));
        let (yes, no) = (Answer::Bool(true), Answer::Bool(false));
        let last = |second| Some(at(second) + SignedDuration::from_millis(1));
        let renewed = |second| Lease::renewed(Some(at(second)));
        assert_eq!(asked(Lease::Absent), (no.clone(), (no.clone(), None)));
        assert_eq!(
            asked(Lease::renewed(None)),
            (yes.clone(), (no.clone(), None))
        );
        assert_eq!(asked(renewed(39)), (yes.clone(), (no.clone(), None)));
        assert_eq!(asked(renewed(40)), (yes.clone(), (yes.clone(), last(100))));
        assert_eq!(asked(renewed(160)), (yes.clone(), (yes.clone(), last(220))));
        // Beyond the difference of clocks: nobody knows.
        assert_eq!(asked(renewed(161)), (yes, (no, Some(at(101)))));
    }
}
