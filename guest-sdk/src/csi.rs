//! The CSI drivers of the node.

use crate::source::Source;

/// The CSI drivers that are registered on the node: `spec.drivers` of the `CSINode` of its name. An operator has to
/// grant it: `allow: [node-readiness:policy/csi]`.
#[derive(Debug, Clone)]
pub struct Csi(pub(crate) Source);

impl Csi {
    /// Is this driver registered? Such as `ebs.csi.aws.com`.
    pub fn has_driver(&self, name: &str) -> bool {
        self.0.has_driver(name)
    }

    /// Is this driver registered with this key of its topology? The node's value is the label of this key.
    pub fn has_topology_key(&self, driver: &str, key: &str) -> bool {
        self.0.has_topology_key(driver, key)
    }
}
