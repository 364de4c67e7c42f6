//! The API objects as the cluster stores them, and the way to and from the planner's types:
//! `NodeReadinessRule` and `ReadinessPolicy` with their schemas, a slim `Node`, and the patch that carries a plan.
//!
//! No client, no clock, no files: a caller brings the JSON and takes the patch away. Objects are
//! decoded with patience, since one that cannot be decoded would stop a watch for all of them:
//! what is wrong with a rule is said by [`NodeReadinessRule::to_rule`], and with an object
//! of a file by [`check`].
#![forbid(unsafe_code)]

pub mod admission;
pub mod birth;
pub mod check;
pub mod crds;
pub mod csi_node;
pub mod daemon_set;
pub mod lease;
mod lenient;
pub mod names;
pub mod node;
pub mod patch;
pub mod pod;
pub mod policy;
mod quantity;
pub mod resource_slice;
pub mod rule;
pub mod selector;
mod slim;
pub mod toleration;
pub mod webhook;

pub use csi_node::CsiNode;
pub use daemon_set::DaemonSet;
pub use lease::NodeLease;
pub use node::Node;
pub use patch::node_patch;
pub use pod::Pod;
pub use policy::ReadinessPolicy;
pub use resource_slice::ResourceSlice;
pub use rule::convert::InvalidRule;
pub use rule::{FINALIZER, NodeReadinessRule};
pub use selector::{InvalidSelector, Selector};
