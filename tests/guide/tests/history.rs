//! The watch that the other tests look through goes on when the API server ends it.
#![expect(
    clippy::unwrap_used,
    reason = "functions of a test say what was not there by panicking"
)]

use std::sync::{Arc, Mutex};

use cluster_tests::{Cluster, audit, wait, worker};
use control_plane::Options;
use guide_tests::follow;
use kube::ResourceExt;
use kube::api::WatchParams;
use serde_json::json;
use tokio::task::JoinHandle;

/// Older than the nodes.
const FIRST: &str = "1";

/// A cluster with two nodes, one of which is followed by watches that the API server ends after a second.
struct Followed {
    cluster: Cluster,
    /// The annotation `round` of each version of it.
    rounds: Arc<Mutex<Vec<Option<String>>>>,
    watch: JoinHandle<anyhow::Result<()>>,
}

impl Followed {
    async fn begin(cluster: Cluster) -> Self {
        let rounds = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&rounds);
        let parameters = WatchParams::default()
            .fields("metadata.name=node-1")
            .timeout(1);
        let each = move |node: k8s_openapi::api::core::v1::Node| {
            // Its field selector holds for lists as well.
            assert_eq!(node.name_any(), "node-1");
            seen.lock()
                .unwrap()
                .push(node.annotations().get("round").cloned());
        };
        let watch = tokio::spawn(follow(cluster.nodes(), parameters, FIRST.to_owned(), each));
        Self {
            cluster,
            rounds,
            watch,
        }
    }

    /// Changes both nodes after two further watches have ended, and waits until that is seen.
    async fn round(&self, round: &str) {
        let ended = requests(&self.cluster, "watch");
        wait::until("two further watches have ended", || async {
            let now = requests(&self.cluster, "watch");
            let is_over = self.watch.is_finished();
            Ok((now >= ended + 2)
                .then_some(())
                .ok_or_else(|| format!("{now}; is all over: {is_over}")))
        })
        .await
        .unwrap();
        for node in ["node-1", "node-2"] {
            let change = json!({ "round": round });
            self.cluster.annotate_node(node, change).await.unwrap();
        }
        wait::until("the change is seen", || async {
            let rounds = self.rounds.lock().unwrap();
            let is_seen = rounds.last() == Some(&Some(round.to_owned()));
            Ok(is_seen.then_some(()).ok_or_else(|| format!("{rounds:?}")))
        })
        .await
        .unwrap();
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn cluster(flags: &[&str]) -> Cluster {
    let options = Options {
        audit_policy: Some(audit::POLICY.to_owned()),
        apiserver_args: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..Options::default()
    };
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster
}

/// How many requests about the followed node were answered.
fn requests(cluster: &Cluster, verb: &str) -> usize {
    let all = audit::read(&cluster.plane.audit_log(), &["admin"]).unwrap();
    let ours = |one: &&audit::Request| one.verb == verb && one.uri.contains("node-1");
    all.iter().filter(ours).count()
}

#[tokio::test]
async fn a_watch_that_is_ended_goes_on_where_it_was() {
    let followed = Followed::begin(cluster(&[]).await).await;
    for round in ["1", "2", "3"] {
        followed.round(round).await;
    }
    // Each version once: nothing was lost, and nothing asked for twice.
    let expected = [None, Some("1"), Some("2"), Some("3")].map(|round| round.map(str::to_owned));
    assert_eq!(*followed.rounds.lock().unwrap(), expected);
    assert_eq!(requests(&followed.cluster, "list"), 0);
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_asked_for_by_a_list() {
    // Without the API server's own memory, and with an etcd that forgets at once.
    let cluster = cluster(&["--watch-cache=false", "--etcd-compaction-interval=1s"]).await;
    let raw = format!("--raw=/api/v1/nodes?watch=true&timeoutSeconds=1&resourceVersion={FIRST}");
    wait::until("the first version is forgotten", || async {
        let output = cluster.plane.kubectl(&["get", &raw])?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok(said.contains("\"code\":410").then_some(()).ok_or(said))
    })
    .await
    .unwrap();
    let followed = Followed::begin(cluster).await;
    followed.round("1").await;
    followed.round("2").await;
    assert!(requests(&followed.cluster, "list") > 0);
}
