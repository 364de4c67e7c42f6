//! Option A: a reporter in Falco's pods, and a rule that is done with a node once Falco was ready.

use cluster_tests::{Endpoint, GUIDE_TAINT, wait, worker};
use guide_tests::{History, condition, deployment, is_ready, node_of, taint_keys};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::Api;

use crate::agent::reporter_of;
use crate::site::Site;
use crate::{EXAMPLE, HELD};

const RULE: &str = "security-agent-readiness-rule";
const READY: &str = "falco.org/FalcoReady";

#[tokio::test]
async fn option_a_a_workload_waits_until_falco_was_ready_once() {
    let site = Site::start().await;
    let guide = &site.guide;
    let cluster = &guide.cluster;
    let history = History::of_node(cluster.client.clone(), "worker-1")
        .await
        .unwrap();
    guide.join(&worker("worker-1", true)).await.unwrap();
    // One that was there before the guide was read.
    guide.join(&worker("worker-2", false)).await.unwrap();

    roll_out(&site).await;
    let web = guide.pods("default", "app=web");
    cluster.apply(&deployment("web")).unwrap();
    let (message, _) = web.until_unschedulable().await.unwrap();
    let refused = "0/2 nodes are available: 2 node(s) had untolerated taint(s).";
    assert!(message.starts_with(refused), "{message}");

    let falco_pod = install_falco(&site).await;
    let falco = Endpoint::start().await.unwrap();
    let reporter = reporter_of(guide, &falco_pod, falco.address());
    cluster
        .until_condition("worker-1", READY, "False")
        .await
        .unwrap();
    assert_eq!(site.condition("worker-1", READY).await["status"], "False");
    assert_eq!(falco.asked()[0].path, "/healthz");
    cluster.until_worked_off().await.unwrap();
    cluster.until_held("worker-1").await;
    let waiting = web.list().await.unwrap();
    assert_eq!(waiting.iter().map(node_of).collect::<Vec<_>>(), [None]);

    falco.set_ready(true);
    let pod = web.until_running().await.unwrap();
    assert_eq!(node_of(&pod).as_deref(), Some("worker-1"));
    assert_eq!(site.condition("worker-1", READY).await["status"], "True");
    site.until_taints([("worker-1", "<none>"), ("worker-2", HELD)])
        .await;
    released_by_one_patch(&site, &history).await;

    // From here on the rule is done with this node: also a pod that comes later is let in.
    drop(falco);
    cluster
        .until_condition("worker-1", READY, "False")
        .await
        .unwrap();
    cluster.until_worked_off().await.unwrap();
    let said = site
        .types("kubectl scale deployment web --replicas=2")
        .await;
    assert_eq!(said, "deployment.apps/web scaled\n");
    let pods = site.until_running(&web, 2).await;
    assert!(
        pods.iter().any(|other| other.uid() == pod.uid()),
        "the first was never evicted"
    );
    let versions = history.until_now().await.unwrap();
    let gone = versions.iter().position(|node| !held(node)).unwrap();
    assert!(
        versions[gone..].iter().all(|node| !held(node)),
        "never again"
    );
    assert_eq!(condition(versions.last().unwrap(), READY), Some("False"));
    reporter.terminate().await.unwrap();
}

/// As an operator does it: first the rule that only tells, then, by one command, the one in force.
async fn roll_out(site: &Site) {
    let cluster = &site.guide.cluster;
    let told = async |what: &str, add: i32| {
        let told = cluster.until_status(RULE, what, move |status| {
            let told = status.dry_run_results.as_ref();
            let numbers = told.map(|told| {
                (
                    told.affected_nodes,
                    told.taints_to_add,
                    told.taints_to_remove,
                )
            });
            numbers == Some((Some(2), Some(add), Some(0)))
        });
        told.await.unwrap()
    };
    let dry = "nrr-variant/security-agent-readiness-dryrun-rule.yaml";
    assert_eq!(site.applies(RULE, dry).await, "created");
    told("worker-2 would be held", 1).await;
    assert_eq!(cluster.readiness_taints("worker-2").await.unwrap(), [""; 0]);

    let typed =
        "kubectl taint nodes worker-2 readiness.k8s.io/security-agent-ready=pending:NoSchedule";
    assert_eq!(site.types(typed).await, "node/worker-2 tainted\n");
    site.until_taints([("worker-1", HELD), ("worker-2", HELD)])
        .await;
    told("nothing would change", 0).await;

    let rule = "nrr-variant/security-agent-readiness-rule.yaml";
    assert_eq!(site.applies(RULE, rule).await, "configured");
    let in_force = cluster.until_status(RULE, "both are held", |status| {
        let nodes = status.nodes.unwrap_or_default();
        status.dry_run_results.is_none() && nodes.held == Some(2)
    });
    in_force.await.unwrap();
}

/// By the guide's commands. Falco's pod on worker-1, which is not there before Falco tolerates the taint
/// that waits for it.
async fn install_falco(site: &Site) -> Pod {
    let guide = &site.guide;
    site.types(&format!("USE_NRR=true {EXAMPLE}/setup-falco.sh"))
        .await;
    let daemonsets = Api::<DaemonSet>::namespaced(guide.cluster.client.clone(), "falco");
    let scheduled = async |number: i32| {
        let what = format!("Falco is wanted on {number} nodes");
        let looked_at = wait::until(&what, async || {
            let daemonset = daemonsets.get("falco").await?;
            let status = daemonset.status.clone().unwrap_or_default();
            let seen = status.observed_generation == daemonset.metadata.generation;
            Ok(if seen && status.desired_number_scheduled == number {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            })
        });
        looked_at.await.unwrap();
    };
    scheduled(0).await;
    let said = site
        .types(&format!("{EXAMPLE}/add-falco-toleration.sh"))
        .await;
    assert_eq!(said, "daemonset.apps/falco patched\n");
    scheduled(2).await;
    let pods = guide.pods("falco", "app.kubernetes.io/instance=falco");
    let on_worker_1 = |pod: &Pod| {
        let there = node_of(pod).as_deref() == Some("worker-1") && is_ready(pod);
        there.then(|| pod.clone())
    };
    pods.until("runs on worker-1", on_worker_1).await.unwrap()
}

/// The taint went when the condition was True, and with it came the record of that.
async fn released_by_one_patch(site: &Site, history: &History) {
    let rule = site.guide.cluster.rules().get(RULE).await.unwrap();
    let completed = format!(
        "readiness.k8s.io/bootstrap-completed-{}",
        rule.uid().unwrap()
    );
    let versions = history
        .until("the node is released", |node| !held(node))
        .await
        .unwrap();
    let [before @ .., released] = &versions[..] else {
        panic!("no versions");
    };
    assert!(
        before
            .iter()
            .all(|node| !node.annotations().contains_key(&completed))
    );
    assert!(released.annotations().contains_key(&completed));
    assert_eq!(condition(released, READY), Some("True"));
    let reported: Vec<_> = before
        .iter()
        .filter_map(|node| condition(node, READY))
        .collect();
    assert_eq!(reported.first(), Some(&"False"));
}

fn held(node: &Node) -> bool {
    taint_keys(node).iter().any(|key| key == GUIDE_TAINT)
}
