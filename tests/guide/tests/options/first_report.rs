//! Node Problem Detector reports that all is well before it has looked. What that opens, and what keeps it
//! shut: two rules of one name that differ in the minimum ready time alone.
//!
//! The report reaches the API server where the first check takes longer than a second: Falco has its
//! port and takes no connection yet. The report that corrects it is stopped on its way, so that what
//! otherwise happens by chance is a step of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_tests::GUIDE_TAINT;
use cluster_tests::proxy::{Fault, Proxy};
use control_plane::NodeProblemDetector;
use futures::future::BoxFuture;
use guide_tests::{History, condition, deployment, is_ready, taint_keys};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::agent::{Configured, FalcoPort, detector_as};
use crate::linux_worker;
use crate::option_b::{PROBLEM, RULE};
use crate::site::Site;

// Node Problem Detector is waited for by one thread while another is its proxy.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_report_opens_the_gate_unless_it_has_to_last() {
    let site = Site::start().await;
    let cluster = &site.guide.cluster;
    let plain = "npd-variant/security-agent-readiness-rule-npd-plain.yaml";
    site.install_npd_variant(plain).await;

    let node = Watched::join(&site, "worker-1").await;
    cluster.apply(&deployment("too-early")).unwrap();
    let pods = site.guide.pods("default", "app=too-early");
    let (bound, _) = pods.until_bound().await.unwrap();
    assert_eq!(bound, "worker-1", "where nobody watches it");
    node.correct_the_report();
    cluster.until_held("worker-1").await;
    assert_eq!(
        node.phases().await,
        [
            (None, true),
            (Some("False"), true),
            (Some("False"), false),
            (Some("True"), false),
            (Some("True"), true),
        ]
        .map(owned)
    );
    assert!(
        pods.list().await.unwrap().iter().all(is_ready),
        "and there it stays"
    );
    drop(node);

    let lasting = "npd-variant/security-agent-readiness-rule-npd.yaml";
    assert_eq!(site.applies(RULE, lasting).await, "configured");
    let mut node = Watched::join(&site, "worker-2").await;
    cluster.apply(&deployment("in-time")).unwrap();
    let pods = site.guide.pods("default", "app=in-time");
    let evaluated = cluster.until_status(RULE, "the report was evaluated", |status| {
        let mut nodes = status.node_evaluations.iter();
        let node = nodes.find(|node| node.node_name == "worker-2");
        let results = node.into_iter().flat_map(|node| &node.condition_results);
        results
            .map(|result| result.current_status.as_str())
            .eq(["False"])
    });
    evaluated.await.unwrap();
    pods.until_unschedulable().await.unwrap();
    node.correct_the_report();
    cluster
        .until_condition("worker-2", PROBLEM, "True")
        .await
        .unwrap();
    node.falco.listen().await;
    let healthy = cluster
        .until_condition("worker-2", PROBLEM, "False")
        .await
        .unwrap();
    cluster.until_released("worker-2").await;
    let lasted = Timestamp::now().duration_since(healthy.last_transition_time.unwrap().0);
    assert!(lasted >= SignedDuration::from_secs(30), "{lasted}");
    let (bound, _) = pods.until_bound().await.unwrap();
    assert_eq!(bound, "worker-2");
    assert_eq!(
        node.phases().await,
        [
            (None, true),
            (Some("False"), true),
            (Some("True"), true),
            (Some("False"), true),
            (Some("False"), false),
        ]
        .map(owned)
    );
    drop(node);

    // Told not to, Node Problem Detector makes no report before it has looked.
    let node = Watched::join_with(&site, "worker-3", Configured::SkipInitialStatus).await;
    node.correct_the_report();
    cluster
        .until_condition("worker-3", PROBLEM, "True")
        .await
        .unwrap();
    assert_eq!(
        node.phases().await,
        [(None, true), (Some("True"), true)].map(owned)
    );
}

/// What the guide's condition says, and whether the node carries the taint.
type Phase = (Option<String>, bool);

fn owned((status, held): (Option<&str>, bool)) -> Phase {
    (status.map(str::to_owned), held)
}

/// A node that joins while its Falco is starting, with Node Problem Detector.
struct Watched {
    history: History,
    falco: FalcoPort,
    corrected: watch::Sender<bool>,
    _detector: NodeProblemDetector,
    _proxy: Proxy,
}

impl Watched {
    async fn join(site: &Site, name: &str) -> Self {
        Self::join_with(site, name, Configured::AsInTheGuide).await
    }

    async fn join_with(site: &Site, name: &str, configured: Configured) -> Self {
        let guide = &site.guide;
        let client = &guide.cluster.client;
        let history = History::of_node(client.clone(), name).await.unwrap();
        guide.join(&linux_worker(name)).await.unwrap();
        let mut falco = FalcoPort::new();
        falco.start_slowly().await;
        let corrected = watch::Sender::new(false);
        let hook = stop_at_the_second_report(name, &corrected);
        let proxy = Proxy::start(client.clone(), Arc::new(hook)).await.unwrap();
        let kubeconfig = proxy.kubeconfig(&guide.cluster).unwrap();
        let detector = detector_as(guide, Some(&kubeconfig), name, &falco, configured).await;
        Self {
            history,
            falco,
            corrected,
            _detector: detector,
            _proxy: proxy,
        }
    }

    fn correct_the_report(&self) {
        self.corrected.send_replace(true);
    }

    /// What the API server stored of the node, without repetitions.
    async fn phases(&self) -> Vec<Phase> {
        let versions = self.history.until_now().await.unwrap();
        let phase = |node| {
            let held = taint_keys(node).iter().any(|key| key == GUIDE_TAINT);
            owned((condition(node, PROBLEM), held))
        };
        let mut phases: Vec<_> = versions.iter().map(phase).collect();
        phases.dedup();
        phases
    }
}

fn stop_at_the_second_report(
    node: &str,
    corrected: &watch::Sender<bool>,
) -> impl Fn(String, String) -> BoxFuture<'static, Fault> + use<> {
    let report = format!("/api/v1/nodes/{node}/status");
    let reports = AtomicUsize::new(0);
    let corrected = corrected.subscribe();
    move |method, path| {
        let stops = method == "PATCH"
            && path.starts_with(&report)
            && reports.fetch_add(1, Ordering::Relaxed) > 0;
        let mut corrected = corrected.clone();
        Box::pin(async move {
            if stops {
                // The test is over if nobody can correct it any more.
                let _ = corrected.wait_for(|corrected| *corrected).await;
            }
            Fault::Pass
        })
    }
}
