//! Every command of docs/installation.md, in its order.

use std::os::unix::fs::symlink;

use cluster_tests::document::shell_blocks;
use cluster_tests::helm::Helm;
use cluster_tests::{Cluster, agent_rule};
use kube::ResourceExt;

use crate::values;

#[tokio::test]
async fn compat_046_what_the_page_about_installation_says_can_be_typed() {
    let workspace = cli_tests::program::workspace();
    let mut lines = shell_blocks("docs/installation.md").unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    // The page tells of the dry run after that which it is about.
    lines.swap(2, 3);

    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(workspace.join("deploy"), folder.path().join("deploy")).unwrap();
    std::fs::copy(values("release"), folder.path().join("values.yaml")).unwrap();
    // As a host that ran before leaves it.
    let mine = agent_rule("mine", "continuous").replace(
        "{name: mine}",
        "{name: mine, finalizers: [readiness.node.x-k8s.io/cleanup-taints]}",
    );
    cluster.apply(&mine).unwrap();
    let mut said = Vec::new();
    for line in &lines {
        said.push(helm.shell(&cluster, line, folder.path()).await.unwrap());
    }
    assert!(
        said[2].contains("rule/mine: finalizer would be removed\n"),
        "{}",
        said[2]
    );
    assert!(
        said[3].contains("rule/mine: finalizer removed\n"),
        "{}",
        said[3]
    );
    let mine = cluster.rules().get("mine").await.unwrap();
    assert!(mine.finalizers().is_empty());
}
