//! The devices of the node.

use crate::source::Source;

/// The devices of the node that drivers of Dynamic Resource Allocation offer: the `ResourceSlice` objects whose
/// `spec.nodeName` is the node. An operator has to grant it: `allow: [node-readiness:policy/devices]`.
///
/// What a device plugin offers is no slice: ask [`Node::allocatable_at_least`](crate::Node::allocatable_at_least).
#[derive(Debug, Clone)]
pub struct Devices(pub(crate) Source);

impl Devices {
    /// Has this driver a pool on the node, and are all slices of the newest generation of each of its pools there?
    /// Such as `gpu.nvidia.com`.
    pub fn all_pools_complete(&self, driver: &str) -> bool {
        self.0.all_pools_complete(driver)
    }

    /// Have this driver's complete pools at least this many devices together?
    pub fn has(&self, driver: &str, at_least: u32) -> bool {
        self.0.has_devices(driver, at_least)
    }
}
