//! The gate at birth: a node that a rule holds is held from the request that creates it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "functions of a test say what was not there by panicking"
)]

mod document;
mod install;
mod kubelet;
mod node;
mod rules;
mod selectors;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cluster_tests::{Cluster, host_program, wait};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

/// Exit status, standard output and standard error of the program.
fn host(kubeconfig: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(host_program().unwrap());
    command.args(arguments).env("KUBECONFIG", kubeconfig);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Applies the gate of all rules, or of those in a text.
fn install(cluster: &Cluster, rules: Option<&str>) {
    let file = cluster.plane.folder().join("rules.yaml");
    let path = file.display().to_string();
    let mut arguments = vec!["gate", "--apply"];
    if let Some(rules) = rules {
        std::fs::write(&file, rules).unwrap();
        arguments.extend(["-f", &path]);
    }
    let (status, said, problems) = host(&cluster.kubeconfig(), &arguments);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    assert_eq!(said.lines().count(), 2, "{said}");
}

/// A rule for nodes with label `pool`, with a taint of its own name.
fn rule(name: &str, pool: &str, more: &str) -> String {
    format!(
        "
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata: {{name: {name}}}
spec:
  conditions: [{{type: example.com/AgentReady, requiredStatus: 'True'}}]
  taint: {{key: readiness.k8s.io/{name}, effect: NoSchedule}}
  enforcementMode: continuous
  nodeSelector: {{matchLabels: {{pool: {pool}}}}}
{more}"
    )
}

/// Creates a node; what is returned is what was stored then.
async fn create(cluster: &Cluster, node: Value) -> anyhow::Result<Node> {
    let node: Node = serde_json::from_value(node)?;
    Ok(cluster
        .nodes()
        .create(&PostParams::default(), &node)
        .await?)
}

/// A node of a pool.
fn of_pool(name: &str, pool: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "pool": pool } } })
}

/// The names of the taints under our prefix.
fn taints(node: &Node) -> BTreeSet<String> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let ours = taints.filter_map(|taint| taint.key.strip_prefix("readiness.k8s.io/"));
    ours.map(str::to_owned).collect()
}

/// All taints, as kubectl prints them but for our prefix; sorted.
fn taints_in_full(node: &Node) -> Vec<String> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let mut all: Vec<String> = taints
        .map(|taint| {
            let key = taint.key.trim_start_matches("readiness.k8s.io/");
            let value = taint
                .value
                .iter()
                .map(|value| format!("={value}"))
                .collect::<String>();
            format!("{key}{value}:{}", taint.effect)
        })
        .collect();
    all.sort();
    all
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().copied().map(str::to_owned).collect()
}

/// The records of ownership on a node, sorted; each as its rule's name, and the rest.
fn records(node: &Node) -> Vec<(String, Value)> {
    let text = node
        .annotations()
        .get("readiness.node.x-k8s.io/taint-owners");
    let records: Vec<Value> = text.map_or_else(Vec::new, |text| {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    });
    let mut named: Vec<(String, Value)> = records
        .into_iter()
        .map(|mut record| {
            let name = record["rule"].take();
            (name.as_str().unwrap_or_default().to_owned(), record)
        })
        .collect();
    named.sort_by(|one, two| one.0.cmp(&two.0));
    named
}

/// Waits until nodes of a pool are born with just these taints: the API server follows policies and rules by
/// watches.
async fn until_born_with(cluster: &Cluster, pool: &str, wanted: &[&str]) {
    let what = format!("nodes of pool {pool} are born with {wanted:?}");
    let nodes = cluster.nodes();
    wait::until(&what, || async {
        let probe = create(cluster, of_pool("probe", pool)).await;
        let seen = probe.map_or_else(|error| Err(error.to_string()), |node| Ok(taints(&node)));
        let _ = nodes.delete("probe", &DeleteParams::default()).await;
        Ok(match seen {
            Ok(taints) if taints == set(wanted) => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
    })
    .await
    .unwrap();
}
