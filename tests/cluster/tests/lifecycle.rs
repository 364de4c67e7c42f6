//! Rules and nodes come and go, and so does the host.

use std::collections::BTreeMap;

use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, scale, wait, worker};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use planner::ownership;
use serde_json::json;

/// Kills the host while it works, again and again; what it leaves behind is finished by the next.
#[tokio::test]
async fn killed_at_any_moment_it_converges_to_the_same_state() {
    let cluster = Cluster::start().await.unwrap();
    let names: Vec<String> = (0..60).map(|number| format!("node-{number}")).collect();
    for name in &names {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    // Killed after so many nodes were held: before the first, in the middle, near the end.
    for reached in [0, 1, 13, 30, 58] {
        let host = cluster.start_host().await.unwrap();
        wait::until_true(&format!("{reached} nodes are held"), || async {
            Ok(held(&cluster).await? >= reached)
        })
        .await
        .unwrap();
        host.kill().await.unwrap();
    }
    let host = cluster.start_host().await.unwrap();
    wait::until_true("all nodes are held", || async {
        Ok(held(&cluster).await? == names.len())
    })
    .await
    .unwrap();
    host.kill().await.unwrap();

    for name in &names {
        cluster.agent_reports(name, "True").await;
    }
    for reached in [59, 40, 20, 1] {
        let host = cluster.start_host().await.unwrap();
        wait::until_true(&format!("{reached} nodes are still held"), || async {
            Ok(held(&cluster).await? <= reached)
        })
        .await
        .unwrap();
        host.kill().await.unwrap();
    }
    let host = cluster.start_host().await.unwrap();
    let stored = cluster
        .until_status("agent", "every bootstrap is complete", |status| {
            status
                .nodes
                .is_some_and(|nodes| nodes.completed == Some(60) && nodes.held == Some(0))
        })
        .await
        .unwrap();
    let key = format!(
        "readiness.k8s.io/bootstrap-completed-{}",
        stored.uid().unwrap()
    );
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        assert_eq!(
            node.annotations().get(&key).map(String::as_str),
            Some(r#"{"rule-name":"agent"}"#)
        );
        assert!(
            !node.annotations().contains_key(ownership::ANNOTATION),
            "{}",
            node.name_any()
        );
        assert!(
            cluster
                .readiness_taints(&node.name_any())
                .await
                .unwrap()
                .is_empty()
        );
    }
    host.terminate().await.unwrap();
}

async fn held(cluster: &Cluster) -> anyhow::Result<usize> {
    let nodes = cluster.nodes().list(&Default::default()).await?;
    let holds = |node: &&k8s_openapi::api::core::v1::Node| {
        let mut taints = node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten());
        taints.any(|taint| taint.key == GUIDE_TAINT)
    };
    Ok(nodes.iter().filter(holds).count())
}

#[tokio::test]
async fn nrc_235_339_relabelled_out_while_the_host_is_down_the_taint_goes_and_foreign_ones_stay() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("held", false)).await.unwrap();
    // Carries the same taint, put there by somebody else, and is selected by no rule.
    let mut stranger = worker("stranger", true);
    stranger.labels.clear();
    cluster.create_node(&stranger).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.until_held("held").await;
    host.kill().await.unwrap();
    let unlabel = Patch::Merge(
        json!({ "metadata": { "labels": { "node-role.kubernetes.io/worker": null } } }),
    );
    cluster
        .nodes()
        .patch("held", &PatchParams::default(), &unlabel)
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    let node = cluster.until_released("held").await;
    assert!(!node.annotations().contains_key(ownership::ANNOTATION));
    cluster
        .until_status("agent", "no node is left", |status| {
            status.nodes.is_some_and(|nodes| nodes.matched == Some(0))
        })
        .await
        .unwrap();
    assert_eq!(cluster.readiness_taints("stranger").await.unwrap().len(), 1);
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn nrc_247_compat_023_compat_j_deleted_a_rule_takes_its_taints_and_completions_with_it() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["ready", "waiting", "long-ago", "of-another"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("ready", "True").await;
    // As the Go controller once wrote it: under the rule's name, with a value or without a meaning.
    let older = "readiness.k8s.io/bootstrap-completed-agent";
    let completion = json!({ older: "true" });
    cluster.annotate_node("long-ago", completion).await.unwrap();
    let theirs = "readiness.k8s.io/bootstrap-completed-agent-2";
    let completion = json!({ theirs: "{\"rule-name\":\"agent-2\"}" });
    cluster
        .annotate_node("of-another", completion)
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    for name in ["waiting", "of-another"] {
        cluster.until_held(name).await;
    }
    let stored = cluster
        .until_status("agent", "two are complete", |status| {
            status.nodes.is_some_and(|nodes| nodes.completed == Some(2))
        })
        .await
        .unwrap();
    assert_eq!(stored.finalizers(), [api::rule::FINALIZER]);
    assert_eq!(
        stored.status.unwrap().observed_generation,
        stored.metadata.generation
    );
    cluster.delete_rule("agent").await.unwrap();
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        assert!(
            cluster
                .readiness_taints(&node.name_any())
                .await
                .unwrap()
                .is_empty()
        );
        let mut ours = node.annotations().keys();
        let ours = ours.find(|key| key.contains("readiness"));
        let stays = Some(theirs).filter(|_| node.name_any() == "of-another");
        assert_eq!(ours.map(String::as_str), stays, "{}", node.name_any());
    }
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn deleted_while_the_host_is_down_a_rule_waits_for_its_nodes_to_be_released() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    host.terminate().await.unwrap();
    cluster
        .rules()
        .delete("agent", &DeleteParams::default())
        .await
        .unwrap();
    assert!(
        cluster.rules().get("agent").await.is_ok(),
        "the finalizer keeps it"
    );
    let host = cluster.start_host().await.unwrap();
    cluster.until_released("node-1").await;
    wait::until_true("the rule is gone", || async {
        Ok(cluster.rules().get_opt("agent").await?.is_none())
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_j_finalizer_removed_by_force_leaves_no_orphan() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    host.terminate().await.unwrap();
    let force = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    cluster
        .rules()
        .patch("agent", &PatchParams::default(), &force)
        .await
        .unwrap();
    cluster.delete_rule("agent").await.unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap().len(), 1);
    let host = cluster.start_host().await.unwrap();
    cluster.until_released("node-1").await;
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn compat_026_a_deleted_node_leaves_the_status() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster
        .until_status("agent", "two nodes", |status| {
            status.applied_nodes == ["node-1", "node-2"]
        })
        .await
        .unwrap();
    cluster
        .nodes()
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
    let stored = cluster
        .until_status("agent", "one node", |status| {
            status.applied_nodes == ["node-2"]
        })
        .await
        .unwrap();
    let status = stored.status.unwrap();
    assert_eq!(status.node_evaluations.len(), 1);
    assert_eq!(status.nodes.unwrap().matched, Some(1));
    host.terminate().await.unwrap();
}

/// The largest that the schema allows: 32 conditions with long names, and more nodes than are listed.
#[tokio::test]
async fn nrc_111_131_345_the_stored_status_stays_small_and_true_and_no_node_event_rewrites_it() {
    let cluster = Cluster::start().await.unwrap();
    for number in 0..300 {
        let long = format!("node-{number}.{}", "x".repeat(60));
        cluster.create_node(&worker(&long, false)).await.unwrap();
    }
    let conditions: Vec<_> = (0..32)
        .map(|number| json!({ "type": format!("example.com/{}{number:02}", "C".repeat(61)), "requiredStatus": "True" }))
        .collect();
    let large = json!({
        "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
        "metadata": { "name": "large" },
        "spec": {
            "conditions": conditions, "enforcementMode": "continuous",
            "taint": { "key": GUIDE_TAINT, "effect": "NoSchedule" },
            "nodeSelector": { "matchLabels": { "node-role.kubernetes.io/worker": "" } },
        },
    });
    cluster.apply(&large.to_string()).unwrap();
    cluster
        .apply(&agent_rule("small", "continuous").replace("security-agent-ready", "other"))
        .unwrap();
    let host = cluster.start_host().await.unwrap();
    for name in ["large", "small"] {
        let stored = cluster
            .until_status(name, "all nodes are held", |status| {
                status
                    .nodes
                    .is_some_and(|nodes| nodes.held == Some(300) && nodes.pending == Some(0))
            })
            .await
            .unwrap();
        let status = stored.status.as_ref().unwrap();
        assert_eq!(status.truncated, Some(true));
        assert!(!status.node_evaluations.is_empty() && status.node_evaluations.len() <= 200);
        let raw = cluster
            .plane
            .kubectl_ok(&["get", "nrr", name, "-o", "json", "--show-managed-fields"])
            .unwrap();
        let compact: BTreeMap<String, serde_json::Value> = serde_json::from_str(&raw).unwrap();
        let size = serde_json::to_string(&compact).unwrap().len();
        assert!(size < 128 * 1024, "{name} takes {size} bytes");
    }
    let stored = cluster.rules().get("large").await.unwrap();
    let nodes: Vec<_> = (0..20)
        .map(|number| format!("node-{number}.{}", "x".repeat(60)))
        .collect();
    scale::beat_all(&cluster, &nodes, 4).await.unwrap();
    // What comes after them is told, so they were seen.
    cluster.agent_reports(&nodes[0], "True").await;
    cluster
        .until_status("small", "one node is released", |status| {
            status.nodes.is_some_and(|nodes| nodes.held == Some(299))
        })
        .await
        .unwrap();
    let after = cluster.rules().get("large").await.unwrap();
    assert_eq!(after.resource_version(), stored.resource_version());
    host.terminate().await.unwrap();
}
