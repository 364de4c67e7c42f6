//! Texts by key: the labels of a node, or its annotations.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// Texts by key, sorted. Two allocations, however many there are: of everything that is kept of a node
/// these were half, as maps.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Texts {
    /// Key, value, key, value, …
    text: Box<str>,
    /// Where each of them ends, in bytes.
    ends: Box<[usize]>,
}

impl Texts {
    /// The text with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut all = self.iter();
        all.find(|(known, _)| *known == key).map(|(_, text)| text)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them: key and text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        let mut next = move |end: usize| {
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            text
        };
        let pairs = self.ends.as_chunks::<2>().0.iter();
        pairs.map(move |[key, text]| (next(*key), next(*text)))
    }

    /// Puts this text under a key, or takes away what is there.
    pub fn set(&mut self, key: &str, text: Option<&str>) {
        let others = self.iter().filter(|(known, _)| *known != key);
        *self = others.chain(text.map(|text| (key, text))).collect();
    }
}

/// The last of several with one key counts.
impl<K: AsRef<str> + Ord, V: AsRef<str>> FromIterator<(K, V)> for Texts {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let sorted: BTreeMap<K, V> = pairs.into_iter().collect();
        let parts = || {
            let pairs = sorted.iter();
            pairs.flat_map(|(key, text)| [key.as_ref(), text.as_ref()])
        };
        let mut text = String::with_capacity(parts().map(str::len).sum());
        let mut ends = Vec::with_capacity(2 * sorted.len());
        for part in parts() {
            text.push_str(part);
            ends.push(text.len());
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }
}

impl<K: AsRef<str> + Ord, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Texts {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(from).map(Self::from_iter)
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_map_is(pairs: Vec<(String, String)>, other in "[ab]?") {
            let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
            let texts: Texts = pairs.iter().map(|(key, text)| (key, text)).collect();
            let same = |map: &BTreeMap<String, String>, texts: &Texts| {
                map.iter().map(|(key, text)| (key.as_str(), text.as_str())).eq(texts.iter())
            };
            prop_assert!(same(&map, &texts));
            for key in map.keys().chain([&other]) {
                prop_assert_eq!(texts.get(key), map.get(key).map(String::as_str));
                let (mut changed, mut set) = (map.clone(), texts.clone());
                changed.remove(key);
                set.set(key, None);
                prop_assert!(same(&changed, &set));
                changed.insert(key.clone(), other.clone());
                set.set(key, Some(&other));
                prop_assert!(same(&changed, &set));
            }
            let json = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(serde_json::from_str::<Texts>(&json).unwrap(), texts);
        }
    }
}
