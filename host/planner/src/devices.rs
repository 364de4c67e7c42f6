//! The devices of a node that drivers publish in ResourceSlices: the host side of `wit/devices.wit`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::question::Answer;

/// The slices of one node. A clone is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slices(Arc<[Slice]>);

/// A ResourceSlice, as little of it as a policy can ask about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// `metadata.name`
    pub name: Box<str>,
    /// `spec.driver`
    pub driver: Box<str>,
    /// `spec.pool.name`
    pub pool: Box<str>,
    /// `spec.pool.generation`
    pub generation: i64,
    /// `spec.pool.resourceSliceCount`: so many slices the pool has in this generation.
    pub count: i64,
    /// How many `spec.devices` there are.
    pub devices: u32,
}

impl FromIterator<Slice> for Slices {
    fn from_iter<I: IntoIterator<Item = Slice>>(slices: I) -> Self {
        Self(slices.into_iter().collect())
    }
}

impl Slices {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slice of this name.
    pub fn find(&self, name: &str) -> Option<&Slice> {
        self.0.iter().find(|slice| *slice.name == *name)
    }

    /// With this one in the place of that of its name.
    #[must_use]
    pub fn with(&self, slice: Slice) -> Self {
        let others = self.0.iter().filter(|known| known.name != slice.name);
        others.cloned().chain([slice.clone()]).collect()
    }

    /// Without the slice of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let others = self.0.iter().filter(|known| *known.name != *name);
        others.cloned().collect()
    }

    /// Of each pool of a driver the slices of its newest generation, and whether they are all there.
    fn pools(&self, driver: &str) -> impl Iterator<Item = (Vec<&Slice>, bool)> {
        let mut pools: BTreeMap<&str, Vec<&Slice>> = BTreeMap::new();
        for slice in self.0.iter().filter(|slice| *slice.driver == *driver) {
            let pool = pools.entry(&slice.pool).or_default();
            let newest = pool.first().map_or(i64::MIN, |known| known.generation);
            if slice.generation > newest {
                pool.clear();
            }
            if slice.generation >= newest {
                pool.push(slice);
            }
        }
        pools.into_values().map(|pool| {
            let there = i64::try_from(pool.len()).unwrap_or(i64::MAX);
            let is_complete = pool.iter().all(|slice| slice.count == there);
            (pool, is_complete)
        })
    }

    /// `all-pools-complete`
    pub(crate) fn all_complete(&self, driver: &str) -> (Answer, Option<Timestamp>) {
        let mut pools = self.pools(driver).peekable();
        let all = pools.peek().is_some() && pools.all(|(_, is_complete)| is_complete);
        (Answer::Bool(all), None)
    }

    /// `has-devices`
    pub(crate) fn has(&self, driver: &str, at_least: u32) -> (Answer, Option<Timestamp>) {
        let complete = self.pools(driver).filter(|(_, is_complete)| *is_complete);
        let devices = complete.flat_map(|(pool, _)| pool);
        let devices: u64 = devices.map(|slice| u64::from(slice.devices)).sum();
        (Answer::Bool(devices >= u64::from(at_least)), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, pool: &str, generation: i64, count: i64, devices: u32) -> Slice {
        Slice {
            name: name.into(),
            driver: "gpu".into(),
            pool: pool.into(),
            generation,
            count,
            devices,
        }
    }

    /// Are all pools complete, and what is the most devices that they have?
    fn of(slices: &[Slice], driver: &str) -> (bool, u32) {
        let slices: Slices = slices.iter().cloned().collect();
        let has = |count: &u32| slices.has(driver, *count).0 == Answer::Bool(true);
        let most = (0..=100).take_while(has).last().unwrap();
        (slices.all_complete(driver).0 == Answer::Bool(true), most)
    }

    #[test]
    fn a_pool_counts_when_all_slices_of_its_newest_generation_are_there() {
        assert_eq!(of(&[], "gpu"), (false, 0));
        let one = slice("a", "p", 1, 2, 4);
        assert_eq!(of(std::slice::from_ref(&one), "gpu"), (false, 0));
        let both = [one, slice("b", "p", 1, 2, 3)];
        assert_eq!(of(&both, "gpu"), (true, 7));
        assert_eq!(of(&both, "nic"), (false, 0));
        // Another pool that is not complete has no devices yet, and takes none from this one.
        let [a, b] = both;
        let with_other = [a.clone(), slice("c", "q", 9, 3, 5), b.clone()];
        assert_eq!(of(&with_other, "gpu"), (false, 7));
        // It is published anew, whatever the order: what is left of the old generation is nobody's.
        let begun = [a.clone(), slice("c", "p", 2, 2, 8), b.clone()];
        assert_eq!(of(&begun, "gpu"), (false, 0));
        let left = [a.clone(), slice("c", "p", 2, 1, 8)];
        assert_eq!(of(&left, "gpu"), (true, 8));
        let done = [slice("d", "p", 2, 2, 1), a, slice("c", "p", 2, 2, 8), b];
        assert_eq!(of(&done, "gpu"), (true, 9));
        // More than there should be, or slices that do not agree.
        let many = [slice("a", "p", 1, 1, 4), slice("b", "p", 1, 1, 3)];
        assert_eq!(of(&many, "gpu"), (false, 0));
        let odd = [slice("a", "p", 1, 2, 4), slice("b", "p", 1, 1, 3)];
        assert_eq!(of(&odd, "gpu"), (false, 0));
    }

    #[test]
    fn a_slice_takes_the_place_of_that_of_its_name() {
        let slices: Slices = [slice("a", "p", 1, 1, 4)].into_iter().collect();
        let changed = slices.with(slice("a", "p", 2, 1, 6));
        assert_eq!(changed.find("a").map(|slice| slice.devices), Some(6));
        let two = changed.with(slice("b", "q", 1, 1, 1));
        assert_eq!(
            two.without("a"),
            [slice("b", "q", 1, 1, 1)].into_iter().collect()
        );
        assert!(two.without("a").without("b").is_empty() && !two.is_empty());
    }
}
