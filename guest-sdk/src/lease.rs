//! The node's lease.

use core::time::Duration;

use crate::facts::millis;
use crate::source::Source;

/// The node's lease: the `Lease` of its name in namespace `kube-node-lease`, which its kubelet renews every
/// ten seconds. An operator has to grant it: `allow: [node-readiness:policy/lease]`.
#[derive(Debug, Clone)]
pub struct Lease(pub(crate) Source);

impl Lease {
    /// Is there one?
    pub fn exists(&self) -> bool {
        self.0.has_lease()
    }

    /// Was it renewed at most this long ago? `true` also means: evaluate again when that is longer. No lease,
    /// or none that says when: `false`. More than a minute in the future: `false` until it is no more than that.
    pub fn renewed_within(&self, at_most: Duration) -> bool {
        self.0.renewed_within(millis(at_most))
    }
}
