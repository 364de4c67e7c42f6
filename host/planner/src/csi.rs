//! The CSI drivers of a node: the host side of `wit/csi.wit`.

use std::sync::Arc;

use jiff::Timestamp;

use crate::question::Answer;

/// The drivers that are registered on a node. A clone is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Drivers(Arc<[Driver]>);

/// A driver that is registered on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Driver {
    /// `name`, such as `ebs.csi.aws.com`.
    pub name: Box<str>,
    /// `topologyKeys`
    pub topology_keys: Box<[Box<str>]>,
}

impl FromIterator<Driver> for Drivers {
    fn from_iter<I: IntoIterator<Item = Driver>>(drivers: I) -> Self {
        Self(drivers.into_iter().collect())
    }
}

impl Drivers {
    fn find(&self, name: &str) -> Option<&Driver> {
        self.0.iter().find(|driver| *driver.name == *name)
    }

    /// `has-driver`
    pub(crate) fn has(&self, name: &str) -> (Answer, Option<Timestamp>) {
        (Answer::Bool(self.find(name).is_some()), None)
    }

    /// `has-topology-key`
    pub(crate) fn has_topology_key(&self, name: &str, key: &str) -> (Answer, Option<Timestamp>) {
        let driver = self.find(name);
        let has = driver.is_some_and(|driver| driver.topology_keys.iter().any(|it| **it == *key));
        (Answer::Bool(has), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_has_its_own_keys_and_no_others() {
        let driver = |name: &str, keys: &[&str]| Driver {
            name: name.into(),
            topology_keys: keys.iter().map(|key| (*key).into()).collect(),
        };
        let drivers: Drivers = [driver("a", &["zone", "rack"]), driver("b", &[])]
            .into_iter()
            .collect();
        let has = |name| drivers.has(name) == (Answer::Bool(true), None);
        assert!(has("a") && has("b") && !has("c") && !has(""));
        let key = |name, key| drivers.has_topology_key(name, key) == (Answer::Bool(true), None);
        assert!(key("a", "zone") && key("a", "rack"));
        assert!(!key("a", "host") && !key("b", "zone") && !key("c", "zone"));
    }
}
