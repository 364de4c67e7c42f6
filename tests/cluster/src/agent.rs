//! What happens to the agent of the guide, and to the nodes that wait for it: the steps of most tests.
//! Each ends the test where it fails.
#![expect(clippy::panic, reason = "how a test ends")]

use k8s_openapi::api::core::v1::Node;

use crate::{Cluster, GUIDE_TAINT};

/// The condition that the guide's rule waits for.
pub const AGENT: &str = "example.com/AgentReady";

impl Cluster {
    /// Somebody sets the agent's condition on a node.
    ///
    /// # Panics
    /// The API server did not store it.
    pub async fn agent_reports(&self, node: &str, status: &str) {
        let reported = self.set_condition(node, AGENT, status).await;
        reported.unwrap_or_else(|error| panic!("{AGENT} of {node}: {error:#}"));
    }

    /// Waits until a node carries the guide's taint.
    ///
    /// # Panics
    /// It did not within a minute.
    pub async fn until_held(&self, node: &str) -> Node {
        self.until(node, true).await
    }

    /// Waits until a node does not carry the guide's taint.
    ///
    /// # Panics
    /// It still did after a minute.
    pub async fn until_released(&self, node: &str) -> Node {
        self.until(node, false).await
    }

    async fn until(&self, node: &str, held: bool) -> Node {
        let node = self.until_tainted(node, GUIDE_TAINT, held).await;
        node.unwrap_or_else(|error| panic!("{error:#}"))
    }
}
