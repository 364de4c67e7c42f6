//! Knowing that a host has nothing left to do, without waiting for a time to pass.

use kube::api::DeleteParams;

use crate::{Cluster, NodeSpec, agent_rule};

const NAME: &str = "zz-barrier";
const CONDITION: &str = "example.com/Barrier";

impl Cluster {
    /// Returns when a host with one worker has done all that the nodes and rules asked for when this
    /// was called: a new rule makes every node due, and a change of a node made after that comes
    /// after all of them. Leaves nothing behind.
    ///
    /// # Errors
    /// What the API server says, or that the host does nothing.
    pub async fn until_worked_off(&self) -> anyhow::Result<()> {
        let node = NodeSpec {
            name: NAME.to_owned(),
            labels: vec![("barrier".to_owned(), "true".to_owned())],
            taints: vec![],
        };
        let key = "readiness.k8s.io/barrier";
        let rule = agent_rule(NAME, "continuous")
            .replace("node-role.kubernetes.io/worker: ''", "barrier: 'true'")
            .replace(crate::GUIDE_TAINT, key)
            .replace("example.com/AgentReady", CONDITION);
        self.create_node(&node).await?;
        self.apply(&rule)?;
        self.until_tainted(NAME, key, true).await?;
        self.set_condition(NAME, CONDITION, "True").await?;
        self.until_tainted(NAME, key, false).await?;
        self.delete_rule(NAME).await?;
        self.nodes().delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }
}
