//! The security agent guide, told live on a real API server. Each step prints what was read back;
//! a step that does not come true ends the demo with an error.
#![expect(clippy::print_stdout, reason = "what a demo is for")]

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::{Cluster, GUIDE_TAINT, Host, wait, worker};
use control_plane::{Lifetime, Options};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

const BOOTSTRAP_RULE: &str =
    "examples/security-agent-readiness/nrr-variant/security-agent-readiness-rule.yaml";
const CONTINUOUS_RULE: &str =
    "examples/security-agent-readiness/npd-variant/security-agent-readiness-rule-npd-plain.yaml";
const NODE: &str = "worker-1";

/// The security agent guide, live on a real API server.
#[derive(Parser)]
struct Arguments {
    /// Leave the control plane and the host running, and print how to use and end them.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { keep } = Arguments::parse();
    let started = Instant::now();
    println!("Starting a control plane: etcd and kube-apiserver");
    let assets = control_plane::assets(&mut |line| println!("  {line}"))?;
    let cluster = Cluster::start_with(
        &assets,
        &Options {
            keep,
            ..Options::default()
        },
    )
    .await?;
    println!(
        "  API server {} is ready; the CRD is installed",
        cluster.plane.url()
    );
    println!("Starting the host");
    let log = cluster.plane.folder().join("host.log");
    let lifetime = if keep {
        Lifetime::Unbound
    } else {
        Lifetime::OfThisProcess
    };
    let mut host = Host::spawn(&cluster.kubeconfig(), &log, lifetime, &[])?;
    host.until_logged("caches are synced").await?;
    println!("  watching nodes and rules");

    if let Err(error) = tell(&cluster).await {
        return Err(error.context(format!(
            "the demo failed; the host's last words:\n{}",
            host.log()?
        )));
    }
    println!(
        "\nThe guide came true in {} s.",
        started.elapsed().as_secs()
    );
    if keep {
        let pid = host.leave_running();
        let kept = cluster.plane.keep()?;
        println!("\nEverything is still running. To look around:\n");
        println!("  export KUBECONFIG='{}'", kept.kubeconfig.display());
        println!("  {} get nodereadinessrules", kept.kubectl.display());
        println!("\nTo end it:\n\n  kill {pid}; {}", kept.how_to_end());
        return Ok(());
    }
    host.terminate().await
}

async fn tell(cluster: &Cluster) -> anyhow::Result<()> {
    bootstrap(cluster).await?;
    continuous(cluster).await
}

/// Option A: held until the agent was ready once.
async fn bootstrap(cluster: &Cluster) -> anyhow::Result<()> {
    step("A node joins, tainted as the guide says, and the bootstrap-only rule is applied");
    cluster.create_node(&worker(NODE, true)).await?;
    print!("{}", cluster.apply(&read(BOOTSTRAP_RULE)?)?);
    let rule = "security-agent-readiness-rule";
    cluster
        .until_status(rule, "the node was evaluated", |status| {
            status.applied_nodes == [NODE]
        })
        .await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, true).await?);

    step("The agent reports that it is not ready: the node is held");
    cluster
        .set_condition(NODE, "falco.org/FalcoReady", "False")
        .await?;
    let shown = |current: &'static str| {
        move |status: &api::rule::status::NodeReadinessRuleStatus| {
            let results = status
                .node_evaluations
                .iter()
                .flat_map(|node| &node.condition_results);
            results
                .map(|result| result.current_status.as_str())
                .eq([current])
        }
    };
    let stored = cluster
        .until_status(rule, "the condition is False", shown("False"))
        .await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, true).await?);
    show_counts(&stored);

    step("The agent is ready: the node is released, and the completion recorded");
    cluster
        .set_condition(NODE, "falco.org/FalcoReady", "True")
        .await?;
    let node = cluster.until_tainted(NODE, GUIDE_TAINT, false).await?;
    show(&node);
    let uid = stored.metadata.uid.context("a stored rule has a UID")?;
    let key = format!("readiness.k8s.io/bootstrap-completed-{uid}");
    ensure!(
        node.annotations().contains_key(&key),
        "annotation {key} is missing"
    );

    cluster
        .until_status(rule, "the condition is True", shown("True"))
        .await?;

    step("The agent dies: a bootstrap-only rule is done with this node");
    cluster
        .set_condition(NODE, "falco.org/FalcoReady", "False")
        .await?;
    let stored = cluster
        .until_status(rule, "the condition is False", |status| {
            let nodes = status.nodes.unwrap_or_default();
            shown("False")(status) && nodes.held == Some(0)
        })
        .await?;
    show(&cluster.nodes().get(NODE).await?);
    ensure!(
        cluster.readiness_taints(NODE).await?.is_empty(),
        "the node was tainted again"
    );
    show_counts(&stored);
    Ok(())
}

/// Option B: held whenever the agent is not ready.
async fn continuous(cluster: &Cluster) -> anyhow::Result<()> {
    step(
        "The rule is replaced by the continuous one of Option B; the problem detector sees a healthy agent",
    );
    cluster.delete_rule("security-agent-readiness-rule").await?;
    let ours = |node: &Node| {
        node.annotations()
            .keys()
            .any(|key| key.contains("bootstrap-completed"))
    };
    wait::until_true("the completion went with its rule", || async {
        Ok(!ours(&cluster.nodes().get(NODE).await?))
    })
    .await?;
    cluster
        .set_condition(NODE, "falco.org/FalcoNotReady", "False")
        .await?;
    print!("{}", cluster.apply(&read(CONTINUOUS_RULE)?)?);
    let rule = "security-agent-readiness-rule-npd";
    let stored = cluster
        .until_status(rule, "the node was evaluated", |status| {
            status.applied_nodes == [NODE]
        })
        .await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, false).await?);
    show_counts(&stored);

    step("The agent regresses: the node is held again");
    cluster
        .set_condition(NODE, "falco.org/FalcoNotReady", "True")
        .await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, true).await?);

    step("The agent recovers: the node is released");
    cluster
        .set_condition(NODE, "falco.org/FalcoNotReady", "False")
        .await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, false).await?);
    Ok(())
}

fn read(path: &str) -> anyhow::Result<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read_to_string(format!("{root}{path}"))
        .with_context(|| format!("{path} cannot be read"))
}

fn step(what: &str) {
    println!("\n{what}");
}

/// What the API server has of a node.
fn show(node: &Node) {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let taints: Vec<_> = taints
        .map(|taint| {
            format!(
                "{}={}:{}",
                taint.key,
                taint.value.as_deref().unwrap_or_default(),
                taint.effect
            )
        })
        .collect();
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<_> = conditions
        .map(|condition| format!("{}={}", condition.type_, condition.status))
        .collect();
    let told = |list: &[String]| {
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(", ")
        }
    };
    println!(
        "  {}: conditions {}; taints {}",
        node.name_any(),
        told(&conditions),
        told(&taints)
    );
    for (key, value) in node
        .annotations()
        .iter()
        .filter(|(key, _)| key.contains("bootstrap-completed"))
    {
        println!("  {}: annotation {key}: {value}", node.name_any());
    }
}

fn show_counts(rule: &api::NodeReadinessRule) {
    let counts = rule.status.as_ref().and_then(|status| status.nodes);
    let Some(counts) = counts else { return };
    let number = Option::unwrap_or_default;
    println!(
        "  {}: {} matched, {} held, {} released",
        rule.name_any(),
        number(counts.matched),
        number(counts.held),
        number(counts.released)
    );
}
