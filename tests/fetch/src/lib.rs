//! What the tests of fetching run against: the registry of the CNCF's distribution, cosign, and servers
//! that do what no good server does.

mod authority;
mod component;
mod cosign;
mod jwt;
mod raw;
mod registry;
mod sigstore;
mod stand_in;
mod tokens;

pub use authority::Authority;
pub use component::{component, manifest};
pub use cosign::{Cosign, Form};
pub use raw::{IMAGE, INDEX};
pub use registry::{Login, Options, PASSWORD, Registry, USER, trust};
pub use sigstore::Sigstore;
pub use stand_in::{Reply, Seen, StandIn};
pub use tokens::Tokens;
