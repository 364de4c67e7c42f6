//! How much and how long.

use std::time::Duration;

/// Bounds of every request. A server may be broken or hostile: nothing that it sends is kept beyond
/// them, whatever it announces.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes of a module. Default: 64 MiB; a policy in Rust has some 20 kB, one in Python 18 MB.
    pub module: u64,
    /// The longest that everything about one module may take, other attempts included. Default: 2
    /// minutes.
    pub total: Duration,
    /// The longest that a connection, an answer or the next bytes of one may take. Default: 10 seconds.
    pub wait: Duration,
    /// How often something is asked for that fails for a reason that may pass. Default: 3.
    pub attempts: u32,
    /// How long before the second attempt; twice as long before each further one. Default: half a
    /// second.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            module: 64 << 20,
            total: Duration::from_secs(120),
            wait: Duration::from_secs(10),
            attempts: 3,
            pause: Duration::from_millis(500),
        }
    }
}

/// The most bytes of a manifest, an index, or a list of referrers: what registries accept at most.
pub(crate) const DOCUMENT: u64 = 4 << 20;
/// The most bytes of a signature.
pub(crate) const SIGNATURE: u64 = 1 << 20;
/// The most bytes of what says why there is no answer.
pub(crate) const REFUSAL: u64 = 4 << 10;
/// The most bytes of a token server's answer.
pub(crate) const TOKEN: u64 = 64 << 10;
/// How many signatures of one artifact are looked at.
pub(crate) const SIGNATURES: usize = 32;
/// How many redirects are followed.
pub(crate) const REDIRECTS: usize = 5;
/// The longest that a server may ask us to leave it alone and still be asked again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
