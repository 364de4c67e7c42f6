//! Many rounds of each scenario, while others write to the same nodes all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, agent_rule, worker};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use planner::ownership;

const ROUNDS: usize = 200;
/// Nodes at the same time.
const AT_ONCE: usize = 8;
/// Everything of this prefix is the other writer's.
const THEIRS: &str = "theirs.example.com/";

/// What the other writer put on a node and did not take off again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    taints: BTreeSet<String>,
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
    condition: Option<String>,
    /// How often it wrote.
    writes: usize,
}

fn theirs<'a>(keys: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    keys.filter(|key| key.starts_with(THEIRS))
        .cloned()
        .collect()
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
}

fn found(node: &Node) -> Written {
    let status = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut conditions = status.filter(|condition| condition.type_.starts_with(THEIRS));
    Written {
        taints: theirs(taints(node).map(|taint| &taint.key)),
        labels: theirs(node.labels().keys()),
        annotations: theirs(node.annotations().keys()),
        condition: conditions.next().map(|condition| condition.status.clone()),
        writes: 0,
    }
}

/// Puts taints, labels and annotations on a node and takes them off, as controllers do: it reads,
/// changes, and writes what it read. A condition changes beside that.
async fn write(
    cluster: Arc<Cluster>,
    name: String,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Written> {
    let nodes: Api<Node> = cluster.nodes();
    let mut written = Written::default();
    for number in 0_usize.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("{THEIRS}{}", number % 3);
        let mut node = nodes.get(&name).await?;
        let goes = written.taints.contains(&key);
        let list = node
            .spec
            .get_or_insert_default()
            .taints
            .get_or_insert_default();
        let (labels, annotations) = (&mut node.metadata.labels, &mut node.metadata.annotations);
        let (labels, annotations) = (
            labels.get_or_insert_default(),
            annotations.get_or_insert_default(),
        );
        if goes {
            list.retain(|taint| taint.key != key);
            labels.remove(&key);
            annotations.remove(&key);
        } else {
            list.insert(
                0,
                Taint {
                    key: key.clone(),
                    effect: "PreferNoSchedule".to_owned(),
                    ..Taint::default()
                },
            );
            labels.insert(key.clone(), "x".to_owned());
            annotations.insert(key.clone(), "x".to_owned());
        }
        match nodes.replace(&name, &PostParams::default(), &node).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => continue,
            Err(error) => return Err(error.into()),
        }
        for keys in [
            &mut written.taints,
            &mut written.labels,
            &mut written.annotations,
        ] {
            if goes {
                keys.remove(&key);
            } else {
                keys.insert(key.clone());
            }
        }
        let status = ["True", "False"][number % 2];
        cluster
            .set_condition(&name, &format!("{THEIRS}Condition"), status)
            .await?;
        written.condition = Some(status.to_owned());
        written.writes += 1;
    }
    Ok(written)
}

/// Each version of each node: was our taint on it? Equal ones in a row count once.
async fn record(cluster: &Cluster) -> tokio::task::JoinHandle<BTreeMap<String, Vec<bool>>> {
    let nodes = cluster.nodes();
    // From here on nothing is missed, whenever the watch begins.
    let now = nodes.list(&ListParams::default()).await.unwrap().metadata;
    let now = now.resource_version.unwrap();
    tokio::spawn(async move {
        let mut seen = BTreeMap::<String, Vec<bool>>::new();
        let mut events = nodes
            .watch(&WatchParams::default(), &now)
            .await
            .unwrap()
            .boxed();
        while let Some(event) = events.next().await {
            match event.unwrap() {
                WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                    let present = taints(&node).any(|taint| taint.key == GUIDE_TAINT);
                    let states = seen.entry(node.name_any()).or_default();
                    if states.last() != Some(&present) {
                        states.push(present);
                    }
                }
                WatchEvent::Deleted(node) if node.name_any() == "last" => break,
                _ => {}
            }
        }
        seen
    })
}

/// A node from its birth until it is gone. Returns how often the other writer wrote.
async fn round(
    cluster: Arc<Cluster>,
    name: String,
    tainted: bool,
    continuous: bool,
) -> anyhow::Result<usize> {
    cluster.create_node(&worker(&name, tainted)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(Arc::clone(&cluster), name.clone(), Arc::clone(&stop)));
    cluster.until_tainted(&name, GUIDE_TAINT, true).await?;
    cluster.set_condition(&name, AGENT, "True").await?;
    cluster.until_tainted(&name, GUIDE_TAINT, false).await?;
    if continuous {
        cluster.set_condition(&name, AGENT, "False").await?;
        cluster.until_tainted(&name, GUIDE_TAINT, true).await?;
        cluster.set_condition(&name, AGENT, "True").await?;
        cluster.until_tainted(&name, GUIDE_TAINT, false).await?;
    }
    stop.store(true, Ordering::SeqCst);
    let mut written = writer.await??;
    let writes = std::mem::take(&mut written.writes);
    let node = cluster.nodes().get(&name).await?;
    anyhow::ensure!(
        found(&node) == written,
        "{name}: {:?}, not {written:?}",
        found(&node)
    );
    let annotations = node.annotations();
    let completions = annotations
        .keys()
        .filter(|key| key.contains("bootstrap-completed"))
        .count();
    anyhow::ensure!(
        completions == usize::from(!continuous),
        "{name}: {annotations:?}"
    );
    anyhow::ensure!(
        !annotations.contains_key(ownership::ANNOTATION),
        "{name}: {annotations:?}"
    );
    cluster
        .nodes()
        .delete(&name, &DeleteParams::default())
        .await?;
    Ok(writes)
}

async fn rounds(mode: &str) {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let host = cluster
        .start_host_with(&["--node-concurrent-reconciles=4"])
        .await
        .unwrap();
    cluster.apply(&agent_rule("agent", mode)).unwrap();
    let recorded = record(&cluster).await;
    let continuous = mode == "continuous";
    let all = futures::stream::iter((0..ROUNDS).map(|number| {
        // Every other node is born with the taint, as by its kubelet's flag.
        round(
            Arc::clone(&cluster),
            format!("node-{number:03}"),
            number % 2 == 1,
            continuous,
        )
    }));
    let writes: Vec<_> = all.buffer_unordered(AT_ONCE).collect().await;
    let writes: usize = writes.into_iter().map(Result::unwrap).sum();
    assert!(writes > ROUNDS, "only {writes} writes of others");
    cluster
        .until_status("agent", "every node is gone", |status| {
            status.nodes.is_some_and(|nodes| nodes.matched == Some(0))
                && status.node_evaluations.is_empty()
        })
        .await
        .unwrap();
    cluster.create_node(&worker("last", false)).await.unwrap();
    cluster.until_held("last").await;
    cluster.delete_rule("agent").await.unwrap();
    assert_eq!(cluster.readiness_taints("last").await.unwrap(), [""; 0]);
    cluster
        .nodes()
        .delete("last", &DeleteParams::default())
        .await
        .unwrap();
    let mut seen = recorded.await.unwrap();
    seen.remove("last");
    assert_eq!(seen.len(), ROUNDS);
    for (name, states) in seen {
        let number: usize = name.trim_start_matches("node-").parse().unwrap();
        let mut expected = vec![true, false];
        if continuous {
            expected.extend([true, false]);
        }
        if number.is_multiple_of(2) {
            expected.insert(0, false);
        }
        assert_eq!(states, expected, "{name}");
    }
    host.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compat_030_bootstrap_beside_another_writer_200_times() {
    rounds("bootstrap-only").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compat_030_continuous_beside_another_writer_200_times() {
    rounds("continuous").await;
}
