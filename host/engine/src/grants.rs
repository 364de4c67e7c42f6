//! Which interfaces of the contract a policy may import.

use std::fmt;

use crate::contract::{INTERFACES, PACKAGE};

/// Those about the node and its rule: what a policy has if nothing is said.
const USUAL: [&str; 4] = ["node", "rule", "bootstrap", "time"];

/// The interfaces that an operator lets a policy ask. Those without functions need no grant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Grants(u32);

/// There is no interface of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no interface of {PACKAGE} that this host has; it has {}", known().join(", "))]
pub struct UnknownInterface {
    /// As it was given.
    pub name: String,
}

impl Default for Grants {
    /// Those about the node and its rule.
    fn default() -> Self {
        Self(USUAL.iter().filter_map(|name| bit(name)).sum())
    }
}

impl Grants {
    /// Every interface that this host has.
    pub fn all() -> Self {
        Self(names().filter_map(bit).sum())
    }

    /// Those of these names, such as `node-readiness:policy/node`.
    ///
    /// # Errors
    ///
    /// This host has no such interface.
    pub fn of(names: &[String]) -> Result<Self, UnknownInterface> {
        let one = |name: &String| {
            let interface = name.strip_prefix(PACKAGE);
            let interface = interface.and_then(|rest| rest.strip_prefix('/'));
            let mut all = INTERFACES.iter();
            match interface {
                Some(known) if all.any(|(name, _)| *name == known) => Ok(bit(known).unwrap_or(0)),
                _ => Err(UnknownInterface { name: name.clone() }),
            }
        };
        let mut bits = names.iter().map(one);
        let all = bits.try_fold(0, |all, bit| Ok(all | bit?));
        all.map(Self)
    }

    /// Is this interface granted, named without its package?
    pub(crate) fn has(self, interface: &str) -> bool {
        bit(interface).is_some_and(|bit| self.0 & bit != 0)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let granted = names().filter(|name| self.has(name));
        f.debug_set().entries(granted).finish()
    }
}

/// Does this interface need a grant?
pub(crate) fn is_needed(interface: &str) -> bool {
    names().any(|name| name == interface)
}

/// Those with functions.
fn names() -> impl Iterator<Item = &'static str> {
    let all = INTERFACES.iter();
    all.filter(|(_, functions)| !functions.is_empty())
        .map(|(name, _)| *name)
}

fn known() -> Vec<String> {
    names().map(|name| format!("{PACKAGE}/{name}")).collect()
}

fn bit(interface: &str) -> Option<u32> {
    let index = names().position(|name| name == interface)?;
    1_u32.checked_shl(u32::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Grants, UnknownInterface> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        Grants::of(&names)
    }

    #[test]
    fn what_is_granted_is_what_was_named() {
        let usual = Grants::default();
        assert!(USUAL.iter().all(|name| usual.has(name)));
        assert!(!usual.has("pods") && !usual.has("types") && !usual.has("decide"));
        let pods = of(&["node-readiness:policy/pods"]).unwrap();
        assert!(pods.has("pods") && !pods.has("node"));
        assert_eq!(of(&[]).unwrap(), Grants(0));
        assert_eq!(of(&["node-readiness:policy/types"]).unwrap(), Grants(0));
        assert!(names().all(|name| Grants::all().has(name)));
        assert_eq!(format!("{pods:?}"), r#"{"pods"}"#);
    }

    #[test]
    fn what_does_not_exist_cannot_be_granted() {
        for name in ["pods", "node-readiness:policy/pod", "acme:policy/pods"] {
            let error = of(&["node-readiness:policy/node", name]).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains(name) && said.contains("node-readiness:policy/pods"),
                "{said}"
            );
        }
    }
}
