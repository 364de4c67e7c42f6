//! The security agent guide, told live on a real API server with the real scheduler: a pod that waits, and
//! then runs. Each step prints what was read back; a step that does not come true ends the demo with an
//! error.
#![expect(clippy::print_stdout, reason = "what a demo is for")]

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_tests::{Endpoint, GUIDE_TAINT, Host, Reporter, Settings, worker};
use control_plane::{Lifetime, Options};
use guide_tests::{Guide, daemon_set, deployment, is_ready, node_of, why_unschedulable};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

const EXAMPLE: &str = "examples/security-agent-readiness";
const BOOTSTRAP: (&str, &str) = (
    "security-agent-readiness-rule",
    "nrr-variant/security-agent-readiness-rule.yaml",
);
const CONTINUOUS: (&str, &str) = (
    "security-agent-readiness-rule-npd",
    "npd-variant/security-agent-readiness-rule-npd-plain.yaml",
);
const READY: &str = "falco.org/FalcoReady";
const PROBLEM: &str = "falco.org/FalcoNotReady";
const NODE: &str = "worker-1";

/// The security agent guide, live on a real API server with the real scheduler.
#[derive(Parser)]
struct Arguments {
    /// Leave everything running, and print how to use and end it.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { keep } = Arguments::parse();
    let started = Instant::now();
    let guide = start(keep).await?;
    if let Err(error) = tell(&guide).await {
        let said = guide.host.as_ref().map(Host::log).transpose()?;
        return Err(error.context(format!(
            "the demo failed; the host's last words:\n{}",
            said.unwrap_or_default()
        )));
    }
    println!(
        "\nThe guide came true in {} s.",
        started.elapsed().as_secs()
    );
    if keep {
        return leave(guide);
    }
    let host = guide.host.context("it was started")?;
    host.terminate().await
}

async fn start(keep: bool) -> anyhow::Result<Guide> {
    println!("Starting a control plane: API server, scheduler, controllers");
    let mut say = |line: &str| println!("  {line}");
    let assets = control_plane::assets(&mut say)?;
    // All of them now, or the first start of one would build it in silence.
    control_plane::kube_scheduler(&mut say)?;
    control_plane::kube_controller_manager(&mut say)?;
    control_plane::kwok(&mut say)?;
    let options = Options {
        keep,
        ..Options::default()
    };
    let mut guide = Guide::start_with(&assets, &options).await?;
    let cluster = &guide.cluster;
    println!("  {} is ready; the CRD is installed", cluster.plane.url());
    println!("  kwok plays the kubelet: nothing runs in the pods. A stand-in answers for Falco");
    println!("Starting the host");
    let lifetime = if keep {
        Lifetime::Unbound
    } else {
        Lifetime::OfThisProcess
    };
    let mut host = Host::spawn(&cluster.kubeconfig(), &cluster.new_log(), lifetime, &[])?;
    host.until_logged("caches are synced").await?;
    println!("  watching nodes and rules");
    guide.host = Some(host);
    Ok(guide)
}

fn leave(guide: Guide) -> anyhow::Result<()> {
    let Guide {
        host,
        kwok,
        controllers,
        scheduler,
        cluster,
    } = guide;
    let host = host.context("it was started")?.leave_running();
    let others = [
        kwok.leave_running(),
        controllers.leave_running(),
        scheduler.leave_running(),
    ];
    let [kwok, controllers, scheduler] = others;
    let kept = cluster.plane.keep()?;
    println!("\nEverything is still running. To look around:\n");
    println!("  export KUBECONFIG='{}'", kept.kubeconfig.display());
    println!(
        "  {} get nodereadinessrules,nodes,pods",
        kept.kubectl.display()
    );
    println!(
        "\nTo end it:\n\n  kill {host} {kwok} {controllers} {scheduler}; {}",
        kept.how_to_end()
    );
    Ok(())
}

async fn tell(guide: &Guide) -> anyhow::Result<()> {
    let web = guide.pods("default", "app=web");

    step(
        "A node joins, tainted as the guide says. Falco tolerates the taint and runs; a workload waits",
    );
    let cluster = &guide.cluster;
    guide.join(&worker(NODE, true)).await?;
    cluster.apply(&daemon_set("falco", GUIDE_TAINT))?;
    cluster.apply(&deployment("web"))?;
    show_pod(&guide.pods("default", "app=falco").until_running().await?);
    let (_, waiting) = web.until_unschedulable().await?;
    show_pod(&waiting);

    step("The rule is applied. The reporter asks Falco, which is not ready: the node is held");
    apply(guide, BOOTSTRAP.1)?;
    let falco = Endpoint::start().await?;
    let settings = Settings::new(NODE, &falco.url("/healthz"), READY);
    let reporter = Reporter::start(cluster, &settings)?;
    until_evaluated(guide, BOOTSTRAP.0, "False").await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, true).await?);

    step("Falco is ready: the node is released, that is recorded, and the workload runs");
    falco.set_ready(true);
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, false).await?);
    let running = web.until_running().await?;
    ensure!(running.uid() == waiting.uid(), "another pod runs");
    show_pod(&running);
    until_evaluated(guide, BOOTSTRAP.0, "True").await?;

    step("Falco dies: a bootstrap-only rule is done with this node");
    drop(falco);
    until_evaluated(guide, BOOTSTRAP.0, "False").await?;
    let node = cluster.nodes().get(NODE).await?;
    let completed = |key: &String| key.contains("bootstrap-completed");
    ensure!(
        node.annotations().keys().any(completed),
        "the record is missing"
    );
    ensure!(
        cluster.readiness_taints(NODE).await?.is_empty(),
        "the node was tainted again"
    );
    show(&node);
    reporter.terminate().await?;

    step(
        "Option B: the rule is continuous, and Node Problem Detector's condition is played. It sees a problem",
    );
    cluster.delete_rule(BOOTSTRAP.0).await?;
    cluster.set_condition(NODE, PROBLEM, "True").await?;
    apply(guide, CONTINUOUS.1)?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, true).await?);
    print!(
        "  {}",
        cluster
            .plane
            .kubectl_ok(&["scale", "deployment", "web", "--replicas=2"])?
    );
    let (_, second) = web.until_unschedulable().await?;
    show_pod(&second);

    step("The problem is gone: the node is released, and the second pod runs as well");
    cluster.set_condition(NODE, PROBLEM, "False").await?;
    show(&cluster.until_tainted(NODE, GUIDE_TAINT, false).await?);
    let runs = |pod: &Pod| (pod.uid() == second.uid() && is_ready(pod)).then(|| pod.clone());
    show_pod(&web.until("runs", runs).await?);
    Ok(())
}

/// By kubectl, as a reader of the guide does it.
fn apply(guide: &Guide, file: &str) -> anyhow::Result<()> {
    let path = cli_tests::program::workspace().join(EXAMPLE).join(file);
    let path = path.to_str().context("a path that is not UTF-8")?;
    print!(
        "  {}",
        guide.cluster.plane.kubectl_ok(&["apply", "-f", path])?
    );
    Ok(())
}

/// Waits until the rule's status says that it saw the condition so, and prints its counts.
async fn until_evaluated(guide: &Guide, rule: &str, status: &'static str) -> anyhow::Result<()> {
    let what = format!("the condition is {status}");
    let stored = guide.cluster.until_status(rule, &what, |rule| {
        let results = rule
            .node_evaluations
            .iter()
            .flat_map(|node| &node.condition_results);
        results
            .map(|result| result.current_status.as_str())
            .eq([status])
    });
    let stored = stored
        .await?
        .status
        .and_then(|status| status.nodes)
        .unwrap_or_default();
    let number = Option::unwrap_or_default;
    println!(
        "  {rule}: {} matched, {} held, {} released",
        number(stored.matched),
        number(stored.held),
        number(stored.released)
    );
    Ok(())
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
    let taint = |taint: &k8s_openapi::api::core::v1::Taint| {
        let value = taint.value.as_deref().unwrap_or_default();
        format!("{}={value}:{}", taint.key, taint.effect)
    };
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let falco = conditions.filter(|condition| condition.type_.starts_with("falco.org/"));
    let told = |list: Vec<String>| match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(", "),
    };
    println!(
        "  {}: {}; taints {}",
        node.name_any(),
        told(
            falco
                .map(|condition| format!("{}={}", condition.type_, condition.status))
                .collect()
        ),
        told(taints.map(taint).collect())
    );
    let annotations = node.annotations().iter();
    for (key, value) in annotations.filter(|(key, _)| key.contains("bootstrap-completed")) {
        println!("  {}: annotation {key}: {value}", node.name_any());
    }
}

/// What the API server has of a pod.
fn show_pod(pod: &Pod) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let place = match (node_of(pod), why_unschedulable(pod)) {
        (Some(node), _) => format!(" on {node}"),
        (None, Some(why)) => format!(": {why}"),
        (None, None) => String::new(),
    };
    println!(
        "  pod {}: {}{place}",
        pod.name_any(),
        phase.unwrap_or_default()
    );
}
