//! Many nodes become ready at once: how long until the host released all of them, beside a plain
//! client that makes the same number of writes on the same machine in the same run.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a benchmark is for"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::scale::{
    Counter, flip_all, floor, images, node_json, percentile, until_untainted,
};
use cluster_tests::{Cluster, GUIDE_TAINT, Host, wait};
use control_plane::cpu_seconds;
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

/// Flips the condition of every node at once and waits until all are untainted.
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
    let result = measure(&arguments).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    for (key, value) in result.as_object().into_iter().flatten() {
        println!("{key:<44} {value}");
    }
    Ok(())
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
    let names: Arc<Vec<String>> = Arc::new(
        (0..nodes)
            .map(|number| format!("node-{number:05}"))
            .collect(),
    );
    create_nodes(&cluster, &names, image_count, workers).await?;
    for number in 0..rules {
        create_rule(&cluster, number).await?;
    }
    eprintln!("{nodes} nodes and {rules} rules are there; starting the host");

    let log = cluster.plane.folder().join("host.log");
    let concurrency = concurrency.to_string();
    let started = Instant::now();
    let host = Host::start(
        &cluster.kubeconfig(),
        &log,
        &["--node-concurrent-reconciles", &concurrency],
    )
    .await?;
    let pid = host.pid();
    until_at_rest(&cluster, rules, nodes, nodes).await?;
    let tainting = started.elapsed();
    eprintln!("all are tainted; flipping every condition");

    let counter = Counter::new(&cluster);
    let before = counter.read().await?;
    let (host_cpu, servers_cpu) = (cpu_seconds(pid)?, cluster.plane.cpu_seconds()?);
    let watching = until_untainted(&cluster, nodes).await?;
    let started = Instant::now();
    let flipped = flip_all(&cluster, &names, workers).await?;
    let flips = started.elapsed();
    let released = watching.await??;
    let untainting = started.elapsed();
    let at_rest = until_at_rest(&cluster, rules, 0, nodes).await;
    let status_true = at_rest.is_ok();
    let after = counter.read().await?;
    let whole = started.elapsed();
    let (host_cpu, servers) = (cpu_seconds(pid)? - host_cpu, cluster.plane.cpu_seconds()?);
    let peak = peak_rss_mib(pid)?;
    host.terminate().await?;

    eprintln!("all are untainted; the plain client now does the same number of writes");
    let plain = floor(&cluster, &names, rules, workers).await?;

    let latency = latencies(&flipped, &released);
    let writes = |key: &str| {
        after.get(key).copied().unwrap_or_default() - before.get(key).copied().unwrap_or_default()
    };
    let status_writes = writes("PATCH nodereadinessrules/status");
    Ok(json!({
        "nodes": nodes,
        "rules": rules,
        "all tainted, s": seconds(tainting),
        "all conditions flipped, s": seconds(flips),
        "all untainted, s": seconds(untainting),
        "plain client, the same writes, s": seconds(plain),
        "ratio to the plain client": format!("{:.2}", untainting.as_secs_f64() / plain.as_secs_f64()),
        "condition to taint gone, p50, ms": percentile(&latency, 50).as_millis() as u64,
        "condition to taint gone, p99, ms": percentile(&latency, 99).as_millis() as u64,
        "node patches": writes("PATCH nodes"),
        "node patches refused": writes("PATCH nodes refused"),
        "status writes": status_writes,
        "status writes per second and rule": format!("{:.2}", status_writes as f64 / whole.as_secs_f64() / rules.max(1) as f64),
        "events": writes("POST events"),
        "status says what the cluster says": status_true,
        "host CPU, s": format!("{host_cpu:.2}"),
        "host peak RSS, MiB": peak,
        "API server CPU, s": format!("{:.2}", servers.apiserver - servers_cpu.apiserver),
        "etcd CPU, s": format!("{:.2}", servers.etcd - servers_cpu.etcd),
    }))
}

async fn create_nodes(
    cluster: &Cluster,
    names: &[String],
    image_count: usize,
    workers: usize,
) -> anyhow::Result<()> {
    let nodes = cluster.nodes();
    let images = images(image_count);
    let create = |name: &String| {
        let (nodes, body) = (nodes.clone(), node_json(name, &images));
        async move {
            let node: k8s_openapi::api::core::v1::Node = serde_json::from_value(body)?;
            nodes.create(&PostParams::default(), &node).await?;
            let name = node.metadata.name.context("it has a name")?;
            let status = kube::api::Patch::Merge(json!({ "status": node.status }));
            nodes
                .patch_status(&name, &Default::default(), &status)
                .await?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(names.iter().map(create))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

async fn create_rule(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let key = if number == 0 {
        GUIDE_TAINT.to_owned()
    } else {
        format!("{GUIDE_TAINT}-{number}")
    };
    let rule: api::NodeReadinessRule = serde_json::from_value(json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": { "name": format!("rule-{number}") },
        "spec": {
            "conditions": [{ "type": "example.com/AgentReady", "requiredStatus": "True" }],
            "taint": { "key": key, "effect": "NoSchedule", "value": "pending" },
            "enforcementMode": "continuous",
            "nodeSelector": { "matchLabels": { "node-role.kubernetes.io/worker": "" } },
        },
    }))?;
    Api::all(cluster.client.clone())
        .create(&PostParams::default(), &rule)
        .await?;
    Ok(())
}

/// Until every rule's status says what the cluster is like.
async fn until_at_rest(
    cluster: &Cluster,
    rules: usize,
    held: usize,
    matched: usize,
) -> anyhow::Result<()> {
    let number = |number: usize| i32::try_from(number).ok();
    for rule in 0..rules {
        cluster
            .until_status(
                &format!("rule-{rule}"),
                "it says what the cluster is like",
                |status| {
                    status.nodes.is_some_and(|nodes| {
                        nodes.held == number(held)
                            && nodes.matched == number(matched)
                            && nodes.pending == Some(0)
                    })
                },
            )
            .await?;
    }
    let tainted = |node: &k8s_openapi::api::core::v1::Node| {
        let mut taints = node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten());
        taints.any(|taint| taint.key == GUIDE_TAINT)
    };
    wait::until_true("the nodes are as the status says", || async {
        let nodes = cluster.nodes().list(&Default::default()).await?;
        Ok(nodes.iter().filter(|node| tainted(node)).count() == held)
    })
    .await
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

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn peak_rss_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(kib > 0, "a process has memory");
    Ok(kib / 1024)
}
