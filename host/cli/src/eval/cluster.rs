//! The nodes of a cluster. They are only read.

use std::path::Path;

use anyhow::{Context, anyhow};
use kube::Api;
use kube::api::ListParams;

use crate::input::nodes::GivenNode;

/// Nodes in one answer of the API server.
const PAGE: u32 = 500;

/// All nodes of the cluster that the kubeconfig names.
pub fn nodes(kubeconfig: Option<&Path>) -> anyhow::Result<Vec<GivenNode>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    runtime.block_on(async {
        let client = controller::connect::connect(kubeconfig).await?;
        let nodes = Api::<api::Node>::all(client);
        let mut given = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = nodes
                .list(&page)
                .await
                .map_err(|error| anyhow!("the nodes of the cluster cannot be listed: {error}"))?;
            given.extend(list.items.into_iter().map(|node| GivenNode {
                node,
                place: "the cluster".to_owned(),
                has_status: true,
            }));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(given),
            }
        }
    })
}
