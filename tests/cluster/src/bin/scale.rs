//! Many nodes become ready at once: how long until the host released all of them, beside a plain
//! client that makes the same number of writes on the same machine in the same run.
#![expect(clippy::print_stderr, reason = "what a benchmark is for")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::bench::memory_mib;
use cluster_tests::scale::{
    Counter, beat_all, create_nodes, flip, flip_all, floor, percentile, until_all,
};
use cluster_tests::{Cluster, GUIDE_TAINT, Host, bench, wait};
use control_plane::cpu_seconds;
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

/// The longest that anything here may take.
const LONG: Duration = Duration::from_secs(600);

/// Creates rules that hold every node, then makes every node ready at once, and measures both.
#[derive(Parser)]
struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// How many rules, each with a taint of its own, select every node.
    #[arg(long, default_value_t = 1)]
    rules: usize,
    /// How many images each node lists.
    #[arg(long, default_value_t = 40)]
    images: usize,
    /// How many clients flip conditions, and how many the plain client has.
    #[arg(long, default_value_t = 32)]
    workers: usize,
    /// `--node-concurrent-reconciles` of the host.
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    bench::print(&measure(&arguments).await?, arguments.json)
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments {
        nodes,
        rules,
        images: image_count,
        workers,
        concurrency,
        json: _,
    } = *arguments;
    let cluster = Cluster::start().await?;
    let names: Vec<String> = (0..nodes)
        .map(|number| format!("node-{number:05}"))
        .collect();
    create_nodes(&cluster, &names, image_count, workers).await?;
    eprintln!("{nodes} nodes are there; starting the host");

    let log = cluster.plane.folder().join("host.log");
    let concurrency = concurrency.to_string();
    let started = Instant::now();
    let flag = ["--node-concurrent-reconciles", &concurrency];
    let host = Host::start(&cluster.kubeconfig(), &log, &flag).await?;
    let cold_start = started.elapsed();
    let pid = host.pid();
    let counter = Counter::new(&cluster);
    let mut phases = Vec::new();
    let mut phase = Phase::begin(&cluster, &counter, pid).await?;

    let watching = until_all(&cluster, nodes, true).await?;
    let created = Instant::now();
    for number in 0..rules {
        create_rule(&cluster, number).await?;
    }
    watching.await??;
    let tainting = created.elapsed();
    until_at_rest(&cluster, rules, nodes, nodes).await?;
    phases.push(("taint all", phase.end().await?));
    let rss = (memory_mib(pid, "VmRSS:")?, memory_mib(pid, "VmHWM:")?);

    eprintln!("all are tainted; one heartbeat of every node");
    phase = Phase::begin(&cluster, &counter, pid).await?;
    beat_all(&cluster, &names, workers).await?;
    // The host has seen them when it has seen what comes after them.
    let probe = "node-00000";
    let heartbeats = nodes as f64;
    one_by_one(&cluster, &[probe.to_owned()]).await?;
    phases.push(("heartbeats", phase.end().await?));

    eprintln!("flipping every condition");
    phase = Phase::begin(&cluster, &counter, pid).await?;
    let watching = until_all(&cluster, nodes, false).await?;
    let started = Instant::now();
    let flipped = flip_all(&cluster, &names, "True", workers).await?;
    let flips = started.elapsed();
    let released = watching.await??;
    let untainting = started.elapsed();
    let status_true = until_at_rest(&cluster, rules, 0, nodes).await.is_ok();
    phases.push(("untaint all", phase.end().await?));

    eprintln!("all are untainted; one node after the other");
    let some: Vec<_> = names.iter().take(SINGLE).cloned().collect();
    let single = one_by_one(&cluster, &some).await?;
    let peak = memory_mib(pid, "VmHWM:")?;
    host.terminate().await?;

    eprintln!("the plain client now does the same number of writes");
    // Seen by the same watch, which costs the API server as much as before.
    let watching = until_all(&cluster, nodes, true).await?;
    let started = Instant::now();
    floor(&cluster, rules, workers, true, None).await?;
    watching.await??;
    let taint_floor = started.elapsed();
    let watching = until_all(&cluster, nodes, false).await?;
    let started = Instant::now();
    floor(&cluster, rules, workers, false, Some("False")).await?;
    watching.await??;
    let untaint_floor = started.elapsed();

    let latency = latencies(&flipped, &released);
    let ratio = |one: Duration, two: Duration| round(one.as_secs_f64() / two.as_secs_f64());
    let transitions = (nodes * rules) as f64;
    let cpu = |index: usize| phases.get(index).map_or(0.0, |(_, spent)| spent.host);
    let mut result = json!({
        "nodes": nodes,
        "rules": rules,
        "host: process started to caches synced, s": seconds(cold_start),
        "all tainted after the rules were created, s": seconds(tainting),
        "plain client, the same writes, s": seconds(taint_floor),
        "taint all, ratio to the plain client": ratio(tainting, taint_floor),
        "all conditions flipped, s": seconds(flips),
        "all untainted after the first flip, s": seconds(untainting),
        "plain client, the same writes and flips, s": seconds(untaint_floor),
        "untaint all, ratio to the plain client": ratio(untainting, untaint_floor),
        "condition to taint gone, all at once, p50, ms": percentile(&latency, 50).as_millis() as u64,
        "condition to taint gone, all at once, p99, ms": percentile(&latency, 99).as_millis() as u64,
        "condition to taint gone, one by one, p50, ms": percentile(&single, 50).as_millis() as u64,
        "condition to taint gone, one by one, p99, ms": percentile(&single, 99).as_millis() as u64,
        "status says what the cluster says": status_true,
        "host CPU per transition, ms": round(cpu(2) * 1000.0 / transitions),
        "host CPU per heartbeat, ms": round(cpu(1) * 1000.0 / heartbeats),
        "host RSS after all were tainted, MiB": rss.0,
        "host peak RSS until then, MiB": rss.1,
        "host peak RSS, MiB": peak,
    });
    if let Some(result) = result.as_object_mut() {
        for (name, spent) in phases {
            result.insert(name.to_owned(), spent.show(rules));
        }
    }
    Ok(result)
}

/// How many nodes are flipped one after the other.
const SINGLE: usize = 200;

/// What a part of the run costs.
struct Phase<'a> {
    cluster: &'a Cluster,
    counter: &'a Counter,
    pid: u32,
    started: Instant,
    writes: HashMap<String, u64>,
    host: f64,
    servers: control_plane::CpuSeconds,
}

struct Spent {
    wall: Duration,
    writes: HashMap<String, u64>,
    host: f64,
    apiserver: f64,
    etcd: f64,
}

impl<'a> Phase<'a> {
    async fn begin(cluster: &'a Cluster, counter: &'a Counter, pid: u32) -> anyhow::Result<Self> {
        Ok(Self {
            cluster,
            counter,
            pid,
            writes: counter.read().await?,
            host: cpu_seconds(pid)?,
            servers: cluster.plane.cpu_seconds()?,
            started: Instant::now(),
        })
    }

    async fn end(self) -> anyhow::Result<Spent> {
        let wall = self.started.elapsed();
        let servers = self.cluster.plane.cpu_seconds()?;
        let mut writes = self.counter.read().await?;
        writes.retain(|key, _| {
            ["PATCH", "POST"].contains(&key.split(' ').next().unwrap_or_default())
        });
        for (key, count) in &mut writes {
            *count -= self.writes.get(key).copied().unwrap_or_default();
        }
        writes.retain(|_, count| *count > 0);
        Ok(Spent {
            wall,
            writes,
            host: cpu_seconds(self.pid)? - self.host,
            apiserver: servers.apiserver - self.servers.apiserver,
            etcd: servers.etcd - self.servers.etcd,
        })
    }
}

impl Spent {
    fn show(&self, rules: usize) -> Value {
        let status = self.writes.get("PATCH nodereadinessrules/status").copied();
        let rate =
            status.unwrap_or_default() as f64 / self.wall.as_secs_f64() / rules.max(1) as f64;
        json!({
            "wall, s": seconds(self.wall),
            "host CPU, s": round(self.host),
            "API server CPU, s": round(self.apiserver),
            "etcd CPU, s": round(self.etcd),
            "writes": self.writes,
            "status writes per second and rule": round(rate),
        })
    }
}

/// Makes one node after the other ready, then not ready, and waits each time until the host answered:
/// the time from the written condition until the taint is gone.
async fn one_by_one(cluster: &Cluster, names: &[String]) -> anyhow::Result<Vec<Duration>> {
    let nodes = cluster.nodes();
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let slim = Api::<api::Node>::all(cluster.client.clone());
    let version = slim
        .list(&Default::default())
        .await?
        .metadata
        .resource_version;
    let version = version.context("a list has a version")?;
    let watching = tokio::spawn(async move {
        let mut events = slim.watch(&WatchParams::default(), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(node) = event {
                let mut taints = node.facts.taints.iter();
                let tainted = taints.any(|taint| taint.key == GUIDE_TAINT);
                if send
                    .send((node.facts.name.clone(), tainted, Instant::now()))
                    .is_err()
                {
                    break;
                }
            }
        }
        anyhow::Ok(())
    });
    let mut latencies = Vec::new();
    for name in names {
        let tainted = nodes.get(name).await?.spec.and_then(|spec| spec.taints);
        let tainted =
            tainted.is_some_and(|taints| taints.iter().any(|taint| taint.key == GUIDE_TAINT));
        // Held first, so that it can be released; and left as it was.
        let turns: &[(&str, bool)] = if tainted {
            &[("True", false), ("False", true)]
        } else {
            &[("False", true), ("True", false)]
        };
        for (status, want) in turns {
            let written = flip(&nodes, name, status).await?;
            loop {
                let seen = tokio::time::timeout(Duration::from_secs(30), receive.recv()).await;
                let (node, tainted, at) = seen
                    .context("the host does not answer")?
                    .context("the watch ended")?;
                if node == *name && tainted == *want {
                    if !want {
                        latencies.push(at.saturating_duration_since(written));
                    }
                    break;
                }
            }
        }
    }
    watching.abort();
    latencies.sort_unstable();
    Ok(latencies)
}

async fn create_rule(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let key = if number == 0 {
        GUIDE_TAINT.to_owned()
    } else {
        format!("{GUIDE_TAINT}-{number}")
    };
    let taint = json!({ "key": key, "effect": "NoSchedule", "value": "pending" });
    let selector = json!({ "matchLabels": { "node-role.kubernetes.io/worker": "" } });
    let rule = bench::rule(number, &taint, &selector)?;
    cluster
        .rules()
        .create(&PostParams::default(), &rule)
        .await?;
    Ok(())
}

/// Until every rule's status says that so many nodes are held; and then they are.
async fn until_at_rest(
    cluster: &Cluster,
    rules: usize,
    held: usize,
    matched: usize,
) -> anyhow::Result<()> {
    let number = |number: usize| i32::try_from(number).ok();
    for rule in 0..rules {
        let name = format!("rule-{rule}");
        let what = format!("the status of {name} says what the cluster is like");
        wait::until_within(LONG, &what, || async {
            let status = cluster.rules().get(&name).await?.status;
            let nodes = status.and_then(|status| status.nodes).unwrap_or_default();
            let at_rest = nodes.held == number(held)
                && nodes.matched == number(matched)
                && nodes.pending == Some(0);
            Ok(if at_rest {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            })
        })
        .await?;
    }
    let all = Api::<api::Node>::all(cluster.client.clone());
    let all = all.list(&Default::default()).await?;
    let tainted = |node: &&api::Node| {
        let mut taints = node.facts.taints.iter();
        taints.any(|taint| taint.key == GUIDE_TAINT)
    };
    let found = all.items.iter().filter(tainted).count();
    ensure!(
        found == held,
        "the status says that {held} are held; {found} are"
    );
    Ok(())
}

fn latencies(
    flipped: &HashMap<String, Instant>,
    released: &HashMap<String, Instant>,
) -> Vec<Duration> {
    let latency =
        |(name, at): (&String, &Instant)| Some(released.get(name)?.saturating_duration_since(*at));
    let mut all: Vec<_> = flipped.iter().filter_map(latency).collect();
    all.sort_unstable();
    all
}

fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64())
}

/// Two decimals, or three significant ones of what is small.
fn round(value: f64) -> f64 {
    let scale = if value.abs() < 1.0 { 1000.0 } else { 100.0 };
    (value * scale).round() / scale
}
