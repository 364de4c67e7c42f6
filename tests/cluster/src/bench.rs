//! How benchmarks begin and end: many rules, and figures for people or programs.
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]

use std::ops::Range;

use anyhow::{Context, ensure};
use api::NodeReadinessRule;
use futures::{StreamExt, TryStreamExt};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::Cluster;

/// How many rules are created at the same time.
const AT_ONCE: usize = 16;

/// The continuous rule of this number: about the agent, with this taint, on the nodes that are selected.
///
/// # Errors
/// A taint or a selector that is none.
pub fn rule(number: usize, taint: &Value, selector: &Value) -> anyhow::Result<NodeReadinessRule> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": { "name": format!("rule-{number}") },
        "spec": {
            "conditions": [{ "type": "example.com/AgentReady", "requiredStatus": "True" }],
            "taint": taint,
            "enforcementMode": "continuous",
            "nodeSelector": selector,
        },
    }))?)
}

/// Creates the rules of these numbers.
///
/// # Errors
/// What `rule` or the API server says.
pub async fn create_rules(
    cluster: &Cluster,
    numbers: Range<usize>,
    rule: impl Fn(usize) -> anyhow::Result<NodeReadinessRule>,
) -> anyhow::Result<()> {
    let create = |number: usize| {
        let (api, rule) = (cluster.rules(), rule(number));
        async move {
            api.create(&PostParams::default(), &rule?).await?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(numbers.map(create))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Prints figures by their names, those that belong together below one; or all of it as JSON.
///
/// # Errors
/// A defect.
pub fn print(figures: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
        return Ok(());
    }
    for (name, value) in figures.as_object().into_iter().flatten() {
        match value.as_object() {
            None => println!("{name:<48} {value}"),
            Some(part) => {
                println!("{name}");
                for (name, value) in part {
                    println!("  {name:<46} {value}");
                }
            }
        }
    }
    Ok(())
}

/// What the kernel says of a process's memory under this name, such as `VmRSS:`, in MiB.
///
/// # Errors
/// There is no such process, or nothing of that name.
pub fn memory_mib(pid: u32, key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let line = line.with_context(|| format!("no {key} of process {pid}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(kib > 0, "a process has memory");
    Ok(kib / 1024)
}
