//! The other stories of `examples/`: each page is typed from its first command to its last, and what it shows is
//! compared with what is printed.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test, and what helps it"
)]

mod agents;
mod autoscaler;
mod cni;
mod csi_ready;
mod daemon_sets_ready;
mod deadlock;
mod devices_ready;
mod driver;
mod heartbeat;
mod impersonation;
mod one_line;
mod pod;
mod pods_ready;
mod problems;
mod static_pods;
mod together;

use std::fs;

use cluster_tests::document::{Document, Shell};
use cluster_tests::{Cluster, NodeSpec, worker};

/// The page of a story, and where it is typed.
fn page(story: &str, cluster: &Cluster) -> (Document, Shell) {
    let page = Document::read(&format!("examples/{story}/README.md"));
    (page.unwrap(), Shell::new(cluster).unwrap())
}

/// A worker without a taint, as a kubelet on Linux labels it, and with one more label.
fn linux_worker(name: &str, label: Option<(&str, &str)>) -> NodeSpec {
    let mut node = worker(name, false);
    let labels = [("kubernetes.io/os", "linux")].into_iter().chain(label);
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    node.labels.extend(labels);
    node
}

/// Creates a node where nobody looks after nodes, as if its kubelet were Ready.
async fn join_alone(cluster: &Cluster, node: &NodeSpec) {
    cluster.create_node(node).await.unwrap();
    let taint = ["taint", "node", &node.name, "node.kubernetes.io/not-ready-"];
    cluster.plane.kubectl_ok(&taint).unwrap();
}

#[test]
fn every_story_is_in_the_list() {
    let examples = cli_tests::program::workspace().join("examples");
    let list = fs::read_to_string(examples.join("README.md")).unwrap();
    let mut stories = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(entry.path().join("README.md").is_file(), "{name}");
            assert!(list.contains(&format!("]({name}/README.md)")), "{name}");
            stories += 1;
        }
    }
    assert!(stories > 8, "{stories}");
}
