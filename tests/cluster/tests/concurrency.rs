//! What others do at the same time: every interleaving here is provoked, not hoped for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cluster_tests::proxy::{Fault, Proxy};
use cluster_tests::{Cluster, agent_rule, wait, worker};
use http::StatusCode;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Notify;

fn is_node_patch(method: &str, path: &str) -> bool {
    method == "PATCH" && path.starts_with("/api/v1/nodes/")
}

/// Another controller adds its taint after our read and before our write arrives.
#[tokio::test]
async fn compat_030_a_taint_added_between_our_read_and_our_write_survives() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let first = Arc::new(AtomicBool::new(true));
    let nodes = cluster.nodes();
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (nodes, first) = (nodes.clone(), Arc::clone(&first));
        Box::pin(async move {
            if is_node_patch(&method, &path) && first.swap(false, Ordering::SeqCst) {
                add_foreign_taint(&nodes).await.unwrap();
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    let host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    let node = cluster.until_held("node-1").await;
    let taints = node.spec.unwrap().taints.unwrap();
    let foreign = taints
        .iter()
        .find(|taint| taint.key == "example.com/other")
        .expect("it was lost");
    assert_eq!(
        (foreign.value.as_deref(), foreign.effect.as_str()),
        (Some("theirs"), "NoExecute")
    );
    let patches = proxy
        .passed()
        .into_iter()
        .filter(|request| is_node_patch(&request.method, &request.path));
    let answers: Vec<u16> = patches.map(|request| request.status).collect();
    assert_eq!(
        answers,
        [422, 200],
        "the first patch tests what is no longer so"
    );
    host.terminate().await.unwrap();
}

async fn add_foreign_taint(nodes: &Api<Node>) -> anyhow::Result<()> {
    let taint = json!({ "key": "example.com/other", "value": "theirs", "effect": "NoExecute" });
    let node = nodes.get("node-1").await?;
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let taints: Vec<_> = taints
        .iter()
        .map(|taint| json!(taint))
        .chain([taint])
        .collect();
    let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
    nodes
        .patch("node-1", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// The node is deleted and one of the same name created after our read: the new one must not get what
/// was decided for the old one.
#[tokio::test]
async fn compat_j_same_name_a_new_node_is_not_patched_for_the_old_one() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let first = Arc::new(AtomicBool::new(true));
    let nodes = cluster.nodes();
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (nodes, first) = (nodes.clone(), Arc::clone(&first));
        Box::pin(async move {
            if is_node_patch(&method, &path) && first.swap(false, Ordering::SeqCst) {
                nodes.delete("node-1", &Default::default()).await.unwrap();
                let new: Node =
                    serde_json::from_value(json!({ "metadata": { "name": "node-1" } })).unwrap();
                nodes.create(&Default::default(), &new).await.unwrap();
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    let _host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    // The new node is no worker: the rule has nothing to do with it.
    cluster
        .until_status("agent", "no node matches", |status| {
            status.nodes.is_some_and(|nodes| nodes.matched == Some(0))
        })
        .await
        .unwrap();
    wait::until_true("the patch was refused", || async {
        Ok(proxy
            .passed()
            .iter()
            .any(|request| is_node_patch(&request.method, &request.path) && request.status == 422))
    })
    .await
    .unwrap();
    assert_eq!(cluster.readiness_taints("node-1").await.unwrap(), [""; 0]);
}

/// The rules are late: until they are known, no node is let go and none is held.
#[tokio::test]
async fn nrc_253_254_nothing_is_decided_before_the_rules_are_known() {
    let cluster = Cluster::start().await.unwrap();
    // Held by a rule that an earlier host enforced: without its rule it would be released.
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    host.terminate().await.unwrap();
    cluster.create_node(&worker("node-2", false)).await.unwrap();

    let (release, asked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait_for, tell) = (Arc::clone(&release), Arc::clone(&asked));
    let hook = move |_: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (release, asked) = (Arc::clone(&wait_for), Arc::clone(&tell));
        Box::pin(async move {
            if path.contains("nodereadinessrules") {
                asked.notify_one();
                release.notified().await;
                release.notify_one(); // the next request passes as well
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    let mut host = proxy.spawn_host(&cluster, &[]).unwrap();
    asked.notified().await;
    wait::until_true("the nodes are listed", || async {
        Ok(proxy.count("GET", "/api/v1/nodes") > 0)
    })
    .await
    .unwrap();
    // Something that the host hears of, and must not act on.
    cluster.agent_reports("node-1", "False").await;
    assert_eq!(proxy.count("PATCH", "/"), 0);
    release.notify_one();
    host.until_logged("caches are synced").await.unwrap();
    cluster.until_held("node-2").await;
    let touched = proxy
        .passed()
        .into_iter()
        .filter(|request| is_node_patch(&request.method, &request.path));
    assert!(
        touched
            .into_iter()
            .all(|request| request.path.contains("node-2")),
        "node-1 needed nothing"
    );
}

/// So many writes of statuses, and no more, are under way at the same time, where each of six rules has one to
/// write and none is answered.
async fn statuses_at_once(flags: &[&str], expected: usize) -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let rules: Vec<String> = (0..6).map(|number| format!("rule-{number}")).collect();
    let (release, arrived) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let stalls = Arc::new(AtomicBool::new(false));
    let (wait_for, count, stall) = (release.clone(), arrived.clone(), stalls.clone());
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (release, arrived) = (Arc::clone(&wait_for), Arc::clone(&count));
        let stalls = stall.load(Ordering::SeqCst);
        Box::pin(async move {
            if stalls && method == "PATCH" && path.contains("/status") {
                arrived.fetch_add(1, Ordering::SeqCst);
                release.notified().await;
                release.notify_one(); // the next one passes as well
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook)).await?;
    let host = proxy.start_host_with(&cluster, flags).await?;
    for name in &rules {
        let rule = agent_rule(name, "continuous").replace("security-agent-ready", name);
        cluster.apply(&rule)?;
    }
    let until_held = async |count: i32| {
        for rule in &rules {
            let is = |status: &api::rule::status::NodeReadinessRuleStatus| {
                status
                    .nodes
                    .is_some_and(|nodes| nodes.held == Some(count) && nodes.pending == Some(0))
            };
            cluster.until_status(rule, "held", is).await?;
        }
        anyhow::Ok(())
    };
    until_held(0).await?;
    stalls.store(true, Ordering::SeqCst);
    let tainted = async |node: &str| {
        cluster.create_node(&worker(node, false)).await?;
        for rule in &rules {
            let key = format!("readiness.k8s.io/{rule}");
            cluster.until_tainted(node, &key, true).await?;
        }
        anyhow::Ok(())
    };
    tainted("node-1").await?;
    let what = format!("{expected} statuses are being written");
    wait::until(&what, || async {
        let seen = arrived.load(Ordering::SeqCst);
        Ok(if seen == expected {
            Ok(())
        } else {
            Err(format!("{seen} are"))
        })
    })
    .await?;
    // Nodes do not wait for that; and when another one is done, no further write began.
    tainted("node-2").await?;
    assert_eq!(arrived.load(Ordering::SeqCst), expected);
    stalls.store(false, Ordering::SeqCst);
    release.notify_one();
    until_held(2).await?;
    host.terminate().await
}

#[tokio::test]
async fn compat_043_rules_are_worked_on_one_after_the_other_by_default() {
    statuses_at_once(&[], 1).await.unwrap();
}

#[tokio::test]
async fn compat_043_as_many_rules_are_worked_on_at_once_as_the_flag_says() {
    statuses_at_once(&["--rule-concurrent-reconciles=4"], 4)
        .await
        .unwrap();
}

/// The API server refuses some writes: they are tried again, and nothing is lost or done twice.
#[tokio::test]
async fn compat_026_027_028_a_patch_that_fails_is_tried_again_and_the_other_nodes_do_not_wait() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["node-1", "node-2", "node-3", "node-4"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let refused = Arc::new(AtomicUsize::new(0));
    let (counted, healed) = (Arc::clone(&refused), Arc::new(AtomicBool::new(false)));
    let heals = Arc::clone(&healed);
    let hook = move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
        let (refused, healed) = (Arc::clone(&counted), Arc::clone(&heals));
        Box::pin(async move {
            if is_node_patch(&method, &path)
                && (path.contains("node-1") || path.contains("node-4"))
                && !healed.load(Ordering::SeqCst)
            {
                refused.fetch_add(1, Ordering::SeqCst);
                return Fault::Refuse(StatusCode::INTERNAL_SERVER_ERROR);
            }
            Fault::Pass
        })
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    let _host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-2").await;
    cluster.until_held("node-3").await;
    // A node that fails and goes leaves the list of failures.
    cluster
        .until_status("agent", "both failed", |status| {
            status.failed_nodes.len() == 2
        })
        .await
        .unwrap();
    cluster
        .nodes()
        .delete("node-4", &Default::default())
        .await
        .unwrap();
    let failing = cluster
        .until_status("agent", "node-1 failed", |status| {
            status.failed_nodes.len() == 1
        })
        .await
        .unwrap();
    let status = failing.status.unwrap();
    let failure = &status.failed_nodes[0];
    assert_eq!(
        (failure.node_name.as_str(), failure.reason.as_deref()),
        ("node-1", Some("EvaluationError"))
    );
    assert!(
        failure
            .message
            .as_deref()
            .unwrap()
            .starts_with("failed to add taint: "),
        "{failure:?}"
    );
    assert!(!status.applied_nodes.contains(&"node-1".to_owned()));
    assert!(cluster.readiness_taints("node-1").await.unwrap().is_empty());
    healed.store(true, Ordering::SeqCst);
    cluster.until_held("node-1").await;
    cluster
        .until_status("agent", "nothing fails", |status| {
            status.failed_nodes.is_empty()
        })
        .await
        .unwrap();
    assert!(refused.load(Ordering::SeqCst) > 0);
}
