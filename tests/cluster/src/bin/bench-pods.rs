//! Very many pods, and a rule whose policy asks about those of an agent: what the host keeps of them, how long it
//! takes until it knows them all, and how often it evaluates the rule when pods change.
#![expect(clippy::print_stderr, reason = "what a benchmark is for")]

use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Parser;
use cluster_tests::bench::memory_mib;
use cluster_tests::scale::create_nodes;
use cluster_tests::scrape::Scrape;
use cluster_tests::{Cluster, bench, wait};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use planner::rule::Status;
use serde_json::{Value, json};

/// The longest that anything here may take.
const LONG: Duration = Duration::from_secs(600);
/// Of `examples/pods-ready`.
const TAINT: &str = "readiness.k8s.io/agent";
const AGENT: &str = "security";
/// Where all other pods are.
const OTHERS: &str = "others";
/// How many templates the other pods are made from.
const TEMPLATES: usize = 200;

/// Writes pods into the API server, starts a host with the rule of examples/pods-ready, and changes pods.
#[derive(Parser)]
struct Arguments {
    /// How many pods, beside one of the agent on each node that changes.
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// How many nodes they are on.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// How many changes of each kind are made, each on a node of its own.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// How many pods are written at the same time.
    #[arg(long, default_value_t = 64)]
    workers: usize,
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
        pods,
        nodes,
        changes,
        workers,
        json: _,
    } = *arguments;
    let changes = changes.min(nodes);
    let cluster = Cluster::start().await?;
    cluster.install_policies().await?;
    for namespace in [AGENT, OTHERS] {
        let create = ["create", "namespace", namespace];
        cluster.plane.kubectl_ok(&create)?;
    }
    let names: Vec<String> = (0..nodes).map(node).collect();
    create_nodes(&cluster, &names, 0, workers).await?;
    let written = Instant::now();
    let create = |number| create(&cluster, OTHERS, number, nodes);
    each(0..pods, workers, create).await?;
    eprintln!(
        "{pods} pods were written in {} s; starting the host",
        seconds(written.elapsed())
    );
    for file in ["policy.yaml", "rule.yaml"] {
        let folder = cli_tests::program::workspace().join("examples/pods-ready");
        cluster.apply(&std::fs::read_to_string(folder.join(file))?)?;
    }

    let started = Instant::now();
    let flags = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
    ];
    let host = cluster.start_host_with(&flags).await?;
    let address = host.served_at("metrics are served")?;
    until_decides(&cluster).await?;
    let synced = started.elapsed();
    until_held(&cluster, nodes).await?;
    let held = started.elapsed();
    let evaluations = || {
        Scrape::settled(
            &address,
            "node_readiness_evaluation_duration_seconds_count{rule=\"agent\"}",
        )
    };
    let mut before = evaluations().await?;
    let rss = memory_mib(host.pid(), "VmRSS:")?;
    let mut rates = Vec::new();

    eprintln!("{nodes} nodes are held; changing {changes} pods of each kind");
    let label = json!({ "metadata": { "labels": { "changed": "yes" } } });
    each(0..changes, workers, |number| {
        change(&cluster, OTHERS, number, None, &label)
    })
    .await?;
    // The host has seen them when it has seen what comes after them.
    each(0..changes, workers, |number| {
        self::create(&cluster, AGENT, number, nodes)
    })
    .await?;
    let after = evaluations().await?;
    rates.push((
        "a pod of another kind, and one of the agent that answers otherwise",
        after - before,
    ));
    before = after;
    each(0..changes, workers, |number| {
        change(&cluster, AGENT, number, None, &label)
    })
    .await?;
    let status = json!({ "status": { "phase": "Running", "conditions": [
        { "type": "Ready", "status": "True", "lastTransitionTime": Timestamp::now() },
    ]}});
    each(0..changes, workers, |number| {
        change(&cluster, AGENT, number, Some("status"), &status)
    })
    .await?;
    until_held(&cluster, nodes - changes).await?;
    let after = evaluations().await?;
    rates.push((
        "one of the agent that is labelled, then Ready: with the taint that goes",
        after - before,
    ));
    let peak = memory_mib(host.pid(), "VmHWM:")?;
    host.terminate().await?;

    let rates = rates.into_iter().map(|(what, count)| {
        let each = count / changes as f64;
        (what.to_owned(), json!((each * 1000.0).round() / 1000.0))
    });
    Ok(json!({
        "pods": pods,
        "nodes": nodes,
        "process started until the policy decides, s": seconds(synced),
        "process started until every node is held, s": seconds(held),
        "host RSS when all are held, MiB": rss,
        "host peak RSS, MiB": peak,
        "evaluations of the rule for each change": rates.collect::<serde_json::Map<_, _>>(),
    }))
}

fn node(number: usize) -> String {
    format!("node-{number:05}")
}

async fn each<F>(
    numbers: Range<usize>,
    workers: usize,
    write: impl Fn(usize) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    futures::stream::iter(numbers.map(write))
        .buffer_unordered(workers)
        .try_collect()
        .await
}

/// Pods are dealt out to the nodes one after the other, those of a number to the node of that number.
async fn create(
    cluster: &Cluster,
    namespace: &str,
    number: usize,
    nodes: usize,
) -> anyhow::Result<()> {
    let (kind, owner) = match namespace {
        AGENT => ("DaemonSet", "agent".to_owned()),
        _ => (
            "ReplicaSet",
            format!("app-{}-6d4b75cb6d", number % TEMPLATES),
        ),
    };
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": format!("pod-{number}"),
            "labels": { "app.kubernetes.io/name": owner, "pod-template-hash": "6d4b75cb6d" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true }],
        },
        "spec": { "nodeName": node(number % nodes), "containers": [{ "name": "main", "image": "main" }] },
    }))?;
    let pods = Api::namespaced(cluster.client.clone(), namespace);
    pods.create(&PostParams::default(), &pod).await?;
    Ok(())
}

async fn change(
    cluster: &Cluster,
    namespace: &str,
    number: usize,
    part: Option<&str>,
    change: &Value,
) -> anyhow::Result<()> {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let (name, parameters) = (format!("pod-{number}"), PatchParams::default());
    let change = Patch::Merge(change);
    match part {
        Some(part) => {
            let changed = pods.patch_subresource(part, &name, &parameters, &change);
            changed.await?;
        }
        None => {
            pods.patch(&name, &parameters, &change).await?;
        }
    }
    Ok(())
}

async fn until_decides(cluster: &Cluster) -> anyhow::Result<()> {
    let policies = Api::<api::ReadinessPolicy>::all(cluster.client.clone());
    wait::until_within(LONG, "the policy decides", || async {
        let status = policies.get("pods-ready").await?.status.unwrap_or_default();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|condition| condition.r#type == "Ready");
        Ok(match ready {
            Some(ready) if ready.status == Status::True => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}

async fn until_held(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let what = format!("{count} nodes are held");
    wait::until_within(LONG, &what, || async {
        let held = cluster.tainted(TAINT).await?;
        Ok(if held == count {
            Ok(())
        } else {
            Err(held.to_string())
        })
    })
    .await
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}
