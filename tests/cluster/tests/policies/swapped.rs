//! From the source of a policy to a node that is held by it, and from one version to the next while nodes
//! change.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cli_tests::languages::{ALL, Built};
use cluster_tests::{Cluster, GUIDE_TAINT, wait, worker};
use fetch::Reference;
use fetch_tests::{Authority, Cosign, Form, PASSWORD, Registry, USER};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use planner::rule::Status;
use serde_json::json;

use crate::registry::{push_to, put_pull_secret};
use crate::world::{apply, rule, start, until};

/// Nodes that change all the time, and two whose agents say what they said before.
const CHANGING: [&str; 4] = ["one", "two", "three", "four"];
const READY: &str = "ready";
const NOT_READY: &str = "not-ready";
/// One that is created when all is done: then the watch has shown all that was before.
const LAST: &str = "last";

/// Of each node, whether it carried the guide's taint, at each change of that.
type Seen = Arc<Mutex<BTreeMap<String, Vec<bool>>>>;

/// Watches the nodes until the runtime ends.
fn watch(client: Client) -> Seen {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        let events = watch_objects(Api::<Node>::all(client), watcher::Config::default());
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            let (Event::Apply(node) | Event::InitApply(node)) = event.unwrap() else {
                continue;
            };
            let spec = node.spec.iter();
            let mut taints = spec.flat_map(|spec| spec.taints.iter().flatten());
            let carries = taints.any(|taint| taint.key == GUIDE_TAINT);
            let mut noted = noted.lock().unwrap();
            let states = noted.entry(node.name_any()).or_default();
            if states.last() != Some(&carries) {
                states.push(carries);
            }
        }
    });
    seen
}

async fn until_seen(seen: &Seen, nodes: &[&str]) {
    wait::until_true("the watch shows the nodes", || async {
        let seen = seen.lock().unwrap();
        Ok(nodes.iter().all(|node| seen.contains_key(*node)))
    })
    .await
    .unwrap();
}

/// Nodes change until it is said that it is enough. How often each did: each time the taint had to follow.
async fn load(cluster: &Cluster, rounds: &AtomicUsize, enough: &AtomicBool) -> usize {
    loop {
        let round = rounds.load(Ordering::SeqCst);
        let (status, held) = [("True", false), ("False", true)][round % 2];
        for node in CHANGING {
            cluster.agent_reports(node, status).await;
        }
        // Heartbeats.
        cluster.agent_reports(READY, "True").await;
        cluster.agent_reports(NOT_READY, "False").await;
        for node in CHANGING {
            let followed = cluster.until_tainted(node, GUIDE_TAINT, held).await;
            followed.unwrap();
        }
        let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
        if enough.load(Ordering::SeqCst) {
            return round;
        }
    }
}

/// The module of this language, or a word on why it is not tested.
fn built(folder: &str) -> Option<Vec<u8>> {
    let mut languages = ALL.iter();
    let language = languages.find(|language| language.folder == folder);
    match language.unwrap().build().unwrap() {
        Built::Policy(path) => Some(std::fs::read(path).unwrap()),
        Built::Missing(what) => {
            let note = format!("NOT RUN: the policy in {folder} was not tested: no {what}\n");
            std::io::stderr().write_all(note.as_bytes()).unwrap();
            None
        }
    }
}

async fn goes_from_source_to_a_node_and_on_to_its_next_version(folder: &str) {
    let Some(first) = built(folder) else { return };
    // The same with another digest.
    let mut second = first.clone();
    second.extend([0, 2, 1, b'x']);
    let authority = Authority::new().unwrap();
    let registry = Registry::private(&authority).unwrap();
    let cosign = Cosign::new(&registry, Some(&authority)).unwrap();
    cosign.key("ours").unwrap();
    let key = std::fs::read_to_string(cosign.folder().join("ours.pub")).unwrap();
    let mut versions = Vec::new();
    for (tag, bytes) in [("1.0", &first), ("1.1", &second)] {
        let tag = format!("policies/{folder}:{tag}");
        let pushed = push_to(&registry, Some(&authority), &tag, bytes).await;
        cosign.sign("ours", Form::Bundle, &pushed).unwrap();
        versions.push(pushed);
    }
    let cluster = start().await;
    let cache = format!(
        "--policy-cache={}",
        cluster.plane.folder().join("kept").display()
    );
    let host = cluster.start_host_with(&[&cache]).await.unwrap();
    put_pull_secret(&cluster, &registry.docker_config(USER, PASSWORD)).await;
    let spec = |version: &Reference| {
        json!({
            "module": {"oci": {
                "reference": version.to_string(), "ca": authority.pem(),
                "pullSecret": {"namespace": "default", "name": "registry"}}},
            "signature": {"keys": [key]},
        })
    };
    let decides = async |version: &Reference| {
        apply(&cluster, spec(version)).await;
        let status = until(&cluster, "Ready", Status::True, "Decides").await;
        let digest = status.digest.unwrap();
        assert!(
            version.to_string().ends_with(&digest),
            "{version}: {digest}"
        );
    };
    let all = || CHANGING.into_iter().chain([READY, NOT_READY]);
    for node in all() {
        cluster.create_node(&worker(node, false)).await.unwrap();
    }
    let seen = watch(cluster.client.clone());
    until_seen(&seen, &all().collect::<Vec<_>>()).await;
    cluster.apply(&rule("agent", GUIDE_TAINT)).unwrap();
    decides(&versions[0]).await;
    for node in all() {
        cluster.until_held(node).await;
    }
    cluster.agent_reports(READY, "True").await;
    cluster.until_released(READY).await;

    let (rounds, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let swaps = async {
        // An update, back, and once more.
        for version in [1, 0, 1, 0] {
            decides(&versions[version]).await;
            let before = rounds.load(Ordering::SeqCst);
            wait::until_true("nodes changed meanwhile", || async {
                Ok(rounds.load(Ordering::SeqCst) > before)
            })
            .await
            .unwrap();
        }
        enough.store(true, Ordering::SeqCst);
    };
    let (rounds, ()) = tokio::join!(load(&cluster, &rounds, &enough), swaps);
    cluster.until_worked_off().await.unwrap();
    cluster.create_node(&worker(LAST, false)).await.unwrap();
    until_seen(&seen, &[LAST]).await;
    let seen = seen.lock().unwrap().clone();
    for (node, changes) in CHANGING
        .map(|node| (node, 1 + rounds))
        .into_iter()
        .chain([(READY, 2), (NOT_READY, 1)])
    {
        let states = &seen[node];
        assert_eq!(
            states.len(),
            1 + changes,
            "{node} after {rounds} rounds: {states:?}"
        );
    }
    let log = host.log().unwrap();
    assert_eq!(
        log.matches("another module decides now").count(),
        5,
        "{log}"
    );
    let failed = cluster.rules().get("agent").await.unwrap().status.unwrap();
    assert!(failed.failed_nodes.is_empty(), "{:?}", failed.failed_nodes);
    host.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_in_rust_goes_from_source_to_a_held_node_and_is_swapped_under_load() {
    goes_from_source_to_a_node_and_on_to_its_next_version("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_in_c_goes_from_source_to_a_held_node_and_is_swapped_under_load() {
    goes_from_source_to_a_node_and_on_to_its_next_version("c").await;
}
