//! Two hundred nodes come while pods wait for them, and the host is away: nothing is slower than that.
#![expect(
    clippy::unwrap_used,
    reason = "functions of a test say what was not there by panicking"
)]

mod timeline;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use cluster_tests::{AGENT, GUIDE_TAINT, NodeSpec, agent_rule, host_program, wait, worker};
use guide_tests::{Guide, condition, deployment, kwok_node, node_of, taint_keys};
use kube::ResourceExt;
use kube::api::PostParams;

use timeline::Timeline;

/// Nodes that the rule selects.
const NODES: usize = 200;
/// Nodes that it does not.
const OTHERS: usize = 5;
/// For what is much.
const LONG: Duration = Duration::from_secs(300);

fn workers() -> Vec<NodeSpec> {
    let names = (0..NODES).map(|number| format!("worker-{number:03}"));
    names.map(|name| worker(&name, false)).collect()
}

fn others(numbers: std::ops::Range<usize>) -> Vec<NodeSpec> {
    let name = |number| NodeSpec {
        name: format!("other-{number}"),
        ..NodeSpec::default()
    };
    numbers.map(name).collect()
}

fn names(nodes: &[NodeSpec]) -> BTreeSet<String> {
    nodes.iter().map(|node| node.name.clone()).collect()
}

/// A cluster with the rule, of which a host has taken note and is gone.
async fn with_a_rule(gate: bool) -> Guide {
    let mut guide = Guide::start().await.unwrap();
    let cluster = &guide.cluster;
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    if gate {
        let mut install = Command::new(host_program().unwrap());
        install
            .args(["gate", "--apply"])
            .env("KUBECONFIG", cluster.kubeconfig());
        assert!(install.output().unwrap().status.success());
        let nodes = cluster.nodes();
        wait::until_true("the gate is in force", || async {
            let born = cluster.create_node(&worker("probe", false)).await;
            let _ = nodes.delete("probe", &Default::default()).await;
            Ok(born.is_ok_and(|node| taint_keys(&node).iter().any(|key| key == GUIDE_TAINT)))
        })
        .await
        .unwrap();
    } else {
        let in_force = cluster.until_status("agent", "it is in force", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.reason == "Enforced")
        });
        in_force.await.unwrap();
    }
    guide.host.take().unwrap().kill().await.unwrap();
    // One for each node, as none fits beside another.
    let web = deployment("web")
        .replace(
            "spec:\n  selector",
            &format!("spec:\n  replicas: {NODES}\n  selector"),
        )
        .replace(
            "image:",
            "ports: [{containerPort: 80, hostPort: 80}], image:",
        );
    cluster.apply(&web).unwrap();
    until_pods(&guide, "wait", NODES, |pod| node_of(pod).is_none()).await;
    guide
}

async fn until_pods(
    guide: &Guide,
    what: &str,
    count: usize,
    wanted: impl Fn(&k8s_openapi::api::core::v1::Pod) -> bool,
) {
    let pods = guide.pods("default", "app=web");
    wait::until_within(LONG, &format!("{count} pods {what}"), || async {
        let found = pods.list().await?.into_iter().filter(&wanted).count();
        Ok(if found == count {
            Ok(())
        } else {
            Err(format!("{found} do"))
        })
    })
    .await
    .unwrap();
}

async fn until_bound(guide: &Guide, count: usize) {
    until_pods(guide, "are bound", count, |pod| node_of(pod).is_some()).await;
}

/// Creates nodes, and waits until each is as ready as Kubernetes wants it.
async fn join(guide: &Guide, specs: &[NodeSpec]) {
    let nodes = guide.cluster.nodes();
    for spec in specs {
        nodes
            .create(&PostParams::default(), &kwok_node(spec))
            .await
            .unwrap();
    }
    let wanted = names(specs);
    wait::until_within(LONG, "all nodes are Ready", || async {
        let listed = nodes.list(&Default::default()).await?;
        let ready = listed.iter().filter(|node| {
            let kubernetes = |key: &String| key.starts_with("node.kubernetes.io/");
            condition(node, "Ready") == Some("True") && !taint_keys(node).iter().any(kubernetes)
        });
        let ready: BTreeSet<_> = ready.map(ResourceExt::name_any).collect();
        let missing = wanted.difference(&ready).count();
        Ok(if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} are not"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_the_gate_pods_are_bound_to_nodes_that_nobody_has_looked_at() {
    let mut guide = with_a_rule(false).await;
    let timeline = Timeline::begin(&guide.cluster.client).await.unwrap();
    join(&guide, &workers()).await;
    until_bound(&guide, NODES).await;
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    wait::until_within(LONG, "every node is held, too late", || async {
        let held = guide.cluster.tainted(GUIDE_TAINT).await?;
        Ok(if held == NODES {
            Ok(())
        } else {
            Err(format!("{held} are"))
        })
    })
    .await
    .unwrap();
    // Not one was ready for them, and not one was held.
    let bound = timeline.bindings(NODES).await.unwrap();
    assert!(bound.iter().all(|binding| !binding.held));
    let nodes: BTreeSet<_> = bound.into_iter().map(|binding| binding.node).collect();
    assert_eq!(nodes, names(&workers()));
}

#[tokio::test]
async fn compat_j_at_birth_with_the_gate_no_pod_is_ever_bound_to_a_held_node() {
    let mut guide = with_a_rule(true).await;
    let timeline = Timeline::begin(&guide.cluster.client).await.unwrap();
    join(&guide, &workers()).await;
    // The scheduler looks at these when it has seen the others.
    join(&guide, &others(0..OTHERS)).await;
    until_bound(&guide, OTHERS).await;
    let bound = timeline.bindings(OTHERS).await.unwrap();
    let nodes: BTreeSet<_> = bound.into_iter().map(|binding| binding.node).collect();
    assert_eq!(nodes, names(&others(0..OTHERS)));
    assert_eq!(guide.cluster.tainted(GUIDE_TAINT).await.unwrap(), NODES);

    guide.host = Some(guide.cluster.start_host().await.unwrap());
    let (ready, waiting) = (workers(), workers());
    let (ready, waiting) = (&ready[..NODES / 2], &waiting[NODES / 2..]);
    for node in ready {
        guide
            .cluster
            .set_condition(&node.name, AGENT, "True")
            .await
            .unwrap();
    }
    until_bound(&guide, OTHERS + ready.len()).await;
    join(&guide, &others(OTHERS..OTHERS + 1)).await;
    until_bound(&guide, OTHERS + ready.len() + 1).await;
    let bound = timeline.bindings(OTHERS + ready.len() + 1).await.unwrap();
    let wrong: Vec<_> = bound.iter().filter(|binding| binding.held).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let nodes: BTreeSet<_> = bound.into_iter().map(|binding| binding.node).collect();
    assert_eq!(nodes, &names(ready) | &names(&others(0..OTHERS + 1)));
    let (all, held) = timeline.born_held().unwrap();
    assert_eq!(held, names(waiting).union(&names(ready)).cloned().collect());
    assert_eq!(all.len(), NODES + OTHERS + 1);
}
