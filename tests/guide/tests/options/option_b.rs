//! Option B: Node Problem Detector, and a rule that holds a node whenever Falco is not ready.

use guide_tests::{deployment, node_of};
use kube::ResourceExt;

use crate::HELD;
use crate::agent::{FalcoPort, detector_on};
use crate::linux_worker;
use crate::site::Site;

pub(crate) const RULE: &str = "security-agent-readiness-rule-npd";
pub(crate) const PROBLEM: &str = "falco.org/FalcoNotReady";

/// With the rule exactly as the guide has it. The example's own takes thirty seconds more to release:
/// see `first_report.rs`.
#[tokio::test]
async fn option_b_a_workload_waits_whenever_falco_is_down() {
    let site = Site::start().await;
    let guide = &site.guide;
    let cluster = &guide.cluster;
    guide.join(&linux_worker("worker-1")).await.unwrap();
    site.install_npd_variant("npd-variant/security-agent-readiness-rule-npd-plain.yaml")
        .await;
    cluster.apply(&deployment("web")).unwrap();
    let web = guide.pods("default", "app=web");

    let mut falco = FalcoPort::new();
    let detector = detector_on(guide, "worker-1", &falco).await;
    let reported = cluster
        .until_condition("worker-1", PROBLEM, "True")
        .await
        .unwrap();
    assert_eq!(reported.reason.as_deref(), Some("FalcoNotDeployed"));
    let said = site.condition("worker-1", PROBLEM).await;
    assert_eq!(said["status"], "True");
    assert_eq!(
        said["message"],
        format!(
            "Falco is not deployed or not responding on port {}",
            falco.port()
        )
    );
    let (message, _) = web.until_unschedulable().await.unwrap();
    let refused = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
    assert!(message.starts_with(refused), "{message}");
    site.until_taints([("worker-1", HELD)]).await;

    falco.listen().await;
    let pod = web.until_running().await.unwrap();
    assert_eq!(node_of(&pod).as_deref(), Some("worker-1"));
    let said = site.condition("worker-1", PROBLEM).await;
    assert_eq!(
        (&said["status"], &said["reason"]),
        (&"False".into(), &"FalcoHealthy".into())
    );
    site.until_taints([("worker-1", "<none>")]).await;

    falco.die().await;
    cluster
        .until_condition("worker-1", PROBLEM, "True")
        .await
        .unwrap();
    site.until_taints([("worker-1", HELD)]).await;
    let said = site
        .types("kubectl scale deployment web --replicas=2")
        .await;
    assert_eq!(said, "deployment.apps/web scaled\n");
    let (_, second) = web.until_unschedulable().await.unwrap();
    assert_ne!(second.uid(), pod.uid());
    let there = web.list().await.unwrap();
    assert!(
        there.iter().any(|other| other.uid() == pod.uid()),
        "NoSchedule evicts nobody"
    );

    falco.listen().await;
    cluster
        .until_condition("worker-1", PROBLEM, "False")
        .await
        .unwrap();
    let pods = site.until_running(&web, 2).await;
    assert!(pods.iter().any(|other| other.uid() == second.uid()));
    site.until_taints([("worker-1", "<none>")]).await;
    drop(detector);
}
