//! A node becomes ready on an idle cluster with many others: how long until its taint is gone, which is
//! ours, and how long until the scheduler has bound the pod that waited for it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a benchmark is for"
)]

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::scale::{flip, images, node_json, percentile};
use cluster_tests::{GUIDE_TAINT, agent_rule, wait};
use control_plane::FAKE_NODE;
use futures::{StreamExt, TryStreamExt};
use guide_tests::{Guide, Pods, condition, follow, node_of, taint_keys, why_unschedulable};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, PostParams, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;

/// The longest that anything here may take.
const LONG: Duration = Duration::from_secs(600);
/// Longer than the scheduler lets a pod wait that it tried once: within this second it does not
/// look at it again, whatever happens, and that would be what is measured.
const BACKOFF: Duration = Duration::from_millis(1200);
const POD: &str = "waiting";

/// One node after the other becomes ready, while a pod waits for it.
#[derive(Parser)]
struct Arguments {
    /// How many nodes, all held but for the one that becomes ready.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// How many of them become ready, one after the other.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// How many images each node lists.
    #[arg(long, default_value_t = 40)]
    images: usize,
    /// How many clients create the nodes.
    #[arg(long, default_value_t = 32)]
    workers: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {
        nodes,
        rounds,
        images,
        workers,
    } = Arguments::parse();
    ensure!(nodes > 0, "there must be a node");
    let mut guide = Guide::start_without_host().await?;
    let names: Vec<String> = (0..nodes)
        .map(|number| format!("node-{number:05}"))
        .collect();
    join_all(&guide, &names, images, workers).await?;
    eprintln!("{nodes} nodes are Ready; starting the host");
    guide.host = Some(guide.cluster.start_host().await?);
    guide.cluster.apply(&agent_rule("agent", "continuous"))?;
    until_held(&guide, nodes).await?;

    eprintln!("all are held; {rounds} of them become ready, one after the other");
    let mut bench = Bench::begin(&guide).await?;
    let mut legs = Vec::new();
    for node in names.iter().cycle().take(rounds) {
        legs.push(bench.round(node).await?);
    }
    println!("{:<52} {nodes}", "nodes");
    println!("{:<52} {rounds}", "rounds");
    for (what, leg) in [
        (
            "condition written to taint gone",
            leg(&legs, |leg| leg.released),
        ),
        (
            "taint gone to pod bound, the scheduler",
            leg(&legs, |leg| leg.bound),
        ),
        (
            "condition written to pod bound",
            leg(&legs, |leg| leg.released + leg.bound),
        ),
    ] {
        for (name, percent) in [("p50", 50), ("p99", 99), ("longest", 100)] {
            let milliseconds = percentile(&leg, percent).as_secs_f64() * 1000.0;
            println!("{:<52} {milliseconds:.1}", format!("{what}, {name}, ms"));
        }
    }
    let host = guide.host.take().context("it was started")?;
    host.terminate().await
}

/// What a round took.
struct Legs {
    released: Duration,
    bound: Duration,
}

fn leg(legs: &[Legs], of: impl Fn(&Legs) -> Duration) -> Vec<Duration> {
    let mut leg: Vec<_> = legs.iter().map(of).collect();
    leg.sort_unstable();
    leg
}

/// What a watch saw first, and when.
enum Seen {
    Node(String, bool),
    Pod(Option<String>),
}

struct Bench<'a> {
    guide: &'a Guide,
    nodes: Api<Node>,
    pods: Api<Pod>,
    waiting: Pods,
    seen: mpsc::UnboundedReceiver<(Instant, Seen)>,
}

impl<'a> Bench<'a> {
    async fn begin(guide: &'a Guide) -> anyhow::Result<Self> {
        let nodes = guide.cluster.nodes();
        let pods = Api::namespaced(guide.cluster.client.clone(), "default");
        let (send, seen) = mpsc::unbounded_channel();
        watch(nodes.clone(), send.clone(), |node: &Node| {
            let held = taint_keys(node).iter().any(|key| key == GUIDE_TAINT);
            Seen::Node(node.name_any(), held)
        })
        .await?;
        watch(pods.clone(), send, |pod: &Pod| Seen::Pod(node_of(pod))).await?;
        Ok(Self {
            guide,
            nodes,
            pods,
            waiting: guide.pods("default", &format!("app={POD}")),
            seen,
        })
    }

    /// One node becomes ready, gets the pod, and is then held again.
    async fn round(&mut self, node: &str) -> anyhow::Result<Legs> {
        self.pod_that_waits().await?;
        tokio::time::sleep(BACKOFF).await;
        // What the round before still had to say is not this one's.
        while self.seen.try_recv().is_ok() {}

        let written = flip(&self.nodes, node, "True").await?;
        let released = self
            .until(|seen| matches!(seen, Seen::Node(name, false) if name == node))
            .await?;
        let bound = self
            .until(|seen| matches!(seen, Seen::Pod(Some(_))))
            .await?;
        let (place, _) = self.waiting.until_bound().await?;
        ensure!(
            place == node,
            "{node} became ready, and the pod is on {place}"
        );

        self.delete_pod().await?;
        flip(&self.nodes, node, "False").await?;
        self.guide
            .cluster
            .until_tainted(node, GUIDE_TAINT, true)
            .await?;
        Ok(Legs {
            // The host may be quicker than the answer to our own write.
            released: released.saturating_duration_since(written),
            bound: bound.saturating_duration_since(released),
        })
    }

    /// A pod for which the scheduler found no node.
    async fn pod_that_waits(&self) -> anyhow::Result<()> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": POD, "labels": { "app": POD } },
            "spec": { "containers": [{ "name": "main", "image": "registry.example.com/main" }] },
        }))?;
        loop {
            self.pods.create(&PostParams::default(), &pod).await?;
            let tried = self.waiting.until("was tried", |pod| {
                let waits = why_unschedulable(pod).is_some();
                (waits || node_of(pod).is_some()).then_some(waits)
            });
            if tried.await? {
                return Ok(());
            }
            // The scheduler saw the pod before the taint of the round before.
            self.delete_pod().await?;
        }
    }

    async fn delete_pod(&self) -> anyhow::Result<()> {
        let at_once = DeleteParams::default().grace_period(0);
        self.pods.delete(POD, &at_once).await?;
        wait::until_true("the pod is gone", async || {
            Ok(self.pods.get_opt(POD).await?.is_none())
        })
        .await
    }

    async fn until(&mut self, wanted: impl Fn(&Seen) -> bool) -> anyhow::Result<Instant> {
        loop {
            let next = tokio::time::timeout(LONG, self.seen.recv()).await;
            let (at, seen) = next.context("nothing happens")?.context("a watch ended")?;
            if wanted(&seen) {
                return Ok(at);
            }
        }
    }
}

/// Sends what is seen of each version of each object.
async fn watch<K>(
    objects: Api<K>,
    send: mpsc::UnboundedSender<(Instant, Seen)>,
    tell: impl Fn(&K) -> Seen + Send + 'static,
) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let listed = objects.list(&Default::default()).await?;
    let version = listed
        .metadata
        .resource_version
        .context("a list has a version")?;
    let parameters = WatchParams::default();
    tokio::spawn(follow(objects, parameters, version, move |object| {
        // Nobody listens any more when the benchmark is over.
        let _ = send.send((Instant::now(), tell(&object)));
    }));
    Ok(())
}

/// Creates the nodes, with a kubelet each by kwok, and waits until all of them are Ready.
async fn join_all(
    guide: &Guide,
    names: &[String],
    image_count: usize,
    workers: usize,
) -> anyhow::Result<()> {
    let nodes = guide.cluster.nodes();
    let images = images(image_count);
    let create = |name: &String| {
        let mut body = node_json(name, &images);
        let (annotation, value) = FAKE_NODE;
        body["metadata"]["annotations"] = json!({ annotation: value });
        // That it is Ready is the kubelet's to say.
        body["status"] = json!({ "images": &images });
        let nodes = nodes.clone();
        async move {
            let node: Node = serde_json::from_value(body)?;
            nodes.create(&PostParams::default(), &node).await?;
            anyhow::Ok(())
        }
    };
    let created = futures::stream::iter(names.iter().map(create)).buffer_unordered(workers);
    created.try_collect::<()>().await?;
    wait::until_within(LONG, "all nodes are Ready", async || {
        let listed = nodes.list(&Default::default()).await?;
        let ready =
            |node: &&Node| condition(node, "Ready") == Some("True") && taint_keys(node).is_empty();
        let count = listed.iter().filter(ready).count();
        Ok(if count == names.len() {
            Ok(())
        } else {
            Err(format!("{count} are"))
        })
    })
    .await
}

async fn until_held(guide: &Guide, count: usize) -> anyhow::Result<()> {
    wait::until_within(LONG, "all nodes are held", async || {
        let held = guide.cluster.tainted(GUIDE_TAINT).await?;
        Ok(if held == count {
            Ok(())
        } else {
            Err(format!("{held} are"))
        })
    })
    .await
}
