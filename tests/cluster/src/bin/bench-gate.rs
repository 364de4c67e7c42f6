//! What the gate at birth costs the API server: CPU time for each node that is created, without the gate, with
//! one rule, and with many.
#![expect(clippy::print_stderr, reason = "what a benchmark is for")]

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::scale::{images, node_json};
use cluster_tests::{Cluster, bench, host_program, wait};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use planner::rule::Status;
use serde_json::{Value, json};

/// For what is much.
const LONG: Duration = Duration::from_secs(600);
const OURS: &str = "readiness.k8s.io/";

/// Creates nodes with and without the gate, in turns.
#[derive(Parser)]
struct Arguments {
    /// How many rules there are. Each has a taint of its own and looks at another label, so that a node gets the
    /// taint of one of them. Two or more.
    #[arg(long, default_value_t = 20)]
    rules: usize,
    /// How many nodes are created in each turn.
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// How many turns there are: each without the gate, with one rule, and with all of them.
    #[arg(long, default_value_t = 4)]
    turns: usize,
    /// How many images each node lists.
    #[arg(long, default_value_t = 40)]
    images: usize,
    /// How many clients create the nodes.
    #[arg(long, default_value_t = 4)]
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
        rules,
        nodes,
        turns,
        images: image_count,
        workers,
        json: _,
    } = *arguments;
    ensure!(
        rules > 1,
        "give two rules or more: what each costs is a difference"
    );
    ensure!(nodes > 0 && turns > 0, "there must be nodes, and a turn");
    let cluster = Cluster::start().await?;
    let batch = Batch {
        cluster: &cluster,
        images: images(image_count),
        nodes,
        workers,
    };
    with_rules(&cluster, 0..1).await?;
    // In turns, so that what else the machine has to do meets both.
    let [mut without, mut with_one] = [Vec::new(), Vec::new()];
    for turn in 0..=turns {
        for (gated, spent) in [(false, &mut without), (true, &mut with_one)] {
            gate(&cluster, gated).await?;
            let milliseconds = batch.create(gated).await?;
            // Whatever is compiled or grows only once is not the gate's.
            if turn > 0 {
                spent.push(milliseconds);
            }
        }
    }
    with_rules(&cluster, 1..rules).await?;
    let mut with_all = Vec::new();
    for turn in 0..=turns {
        let milliseconds = batch.create(true).await?;
        if turn > 0 {
            with_all.push(milliseconds);
        }
    }
    let [without, with_one, with_all] = [without, with_one, with_all].map(median);
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    Ok(json!({
        "rules": rules,
        "nodes created in each turn": nodes,
        "turns": turns,
        "API server CPU for a node without the gate, ms": round(without),
        "with the gate and one rule, ms": round(with_one),
        "with the gate and all rules, ms": round(with_all),
        "one rule / without the gate": round(with_one / without),
        "all rules / without the gate": round(with_all / without),
        "each further rule, ms": round((with_all - with_one) / (rules - 1) as f64),
    }))
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Rules that a host has taken note of. It is gone afterwards: what it does for new nodes would be counted.
async fn with_rules(cluster: &Cluster, rules: Range<usize>) -> anyhow::Result<()> {
    let rule = |number: usize| {
        let taint = json!({ "key": format!("{OURS}rule-{number}"), "effect": "NoSchedule" });
        let selector = json!({ "matchLabels": { "pool": format!("pool-{number}") } });
        bench::rule(number, &taint, &selector)
    };
    bench::create_rules(cluster, rules.clone(), rule).await?;
    let host = cluster.start_host().await?;
    wait::until_within(
        LONG,
        "the status of every rule says HoldsNewNodes",
        || async {
            let listed = cluster.rules().list(&Default::default()).await?;
            let holding = listed.iter().filter(|rule| {
                let conditions = rule.status.iter().flat_map(|status| &status.conditions);
                let mut conditions = conditions.filter(|one| one.r#type == "HoldsNewNodes");
                conditions.any(|one| one.status == Status::True)
            });
            let count = holding.count();
            Ok((count == rules.end)
                .then_some(())
                .ok_or(format!("{count} do")))
        },
    )
    .await?;
    host.terminate().await
}

/// Puts the gate there or takes it away, and waits until new nodes show it.
async fn gate(cluster: &Cluster, wanted: bool) -> anyhow::Result<()> {
    if wanted {
        let mut install = Command::new(host_program()?);
        install.args(["gate", "--apply"]);
        let output = install
            .env("KUBECONFIG", cluster.kubeconfig())
            .output()
            .context("the host cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the gate is not applied: {said}");
    } else {
        let kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy";
        let delete = ["delete", "--ignore-not-found", kinds, "node-readiness-gate"];
        cluster.plane.kubectl_ok(&delete)?;
    }
    let nodes = cluster.nodes();
    let probe = serde_json::from_value(node("probe", &json!([])))?;
    wait::until_true("new nodes are born as wanted", || async {
        let born = nodes.create(&PostParams::default(), &probe).await;
        let _ = nodes.delete("probe", &DeleteParams::default()).await;
        Ok(born.is_ok_and(|node| is_held(&node) == wanted))
    })
    .await
}

fn node(name: &str, images: &Value) -> Value {
    let mut node = node_json(name, images);
    node["metadata"]["labels"]["pool"] = json!("pool-0");
    node
}

fn is_held(node: &Node) -> bool {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.key.starts_with(OURS)).count() == 1
}

/// Nodes that are created, and deleted when they were counted.
struct Batch<'a> {
    cluster: &'a Cluster,
    images: Value,
    nodes: usize,
    workers: usize,
}

impl Batch<'_> {
    /// The CPU time of the API server for each, in milliseconds.
    async fn create(&self, gated: bool) -> anyhow::Result<f64> {
        let api = self.cluster.nodes();
        let create = |number: usize| {
            let (api, body) = (
                api.clone(),
                node(&format!("node-{number:05}"), &self.images),
            );
            async move {
                let created = api
                    .create(&PostParams::default(), &serde_json::from_value(body)?)
                    .await?;
                let name = created.name_any();
                ensure!(is_held(&created) == gated, "{name}: {:?}", created.spec);
                Ok(())
            }
        };
        let before = self.cluster.plane.cpu_seconds()?.apiserver;
        futures::stream::iter((0..self.nodes).map(create))
            .buffer_unordered(self.workers)
            .try_collect::<()>()
            .await?;
        let spent = self.cluster.plane.cpu_seconds()?.apiserver - before;
        let all = ListParams::default();
        api.delete_collection(&DeleteParams::default(), &all)
            .await?;
        wait::until_within(LONG, "the nodes are gone", || async {
            let left = api.list_metadata(&all).await?.items.len();
            Ok((left == 0).then_some(()).ok_or(format!("{left} are left")))
        })
        .await?;
        let milliseconds = spent * 1000.0 / self.nodes as f64;
        eprintln!("gate {gated}: {milliseconds:.3} ms of CPU time a node");
        Ok(milliseconds)
    }
}
