//! The stories side by side in one cluster.

use cluster_tests::document::Shell;
use guide_tests::Guide;

use crate::{linux_worker, pod};

/// A story's rule, what reports for it, the DaemonSet and the taints.
const STORIES: [(&str, &str, &str, &[&str]); 5] = [
    (
        "cni-readiness/rule",
        "cni-readiness/reporter",
        "cni-reporter",
        &["network"],
    ),
    (
        "problem-gate/rule",
        "problem-gate/npd",
        "problem-gate",
        &["problems"],
    ),
    (
        "driver-readiness/rules",
        "driver-readiness/reporter",
        "driver-reporter",
        &["gpu", "storage"],
    ),
    (
        "static-pods/rule",
        "static-pods/reporter",
        "static-pods-reporter",
        &["static-pods"],
    ),
    (
        "constrained-impersonation/rule",
        "constrained-impersonation/reporter",
        "reporter",
        &["agent"],
    ),
];

#[tokio::test]
async fn what_reports_in_one_story_runs_where_all_others_hold_the_node() {
    let guide = Guide::start().await.unwrap();
    let cluster = &guide.cluster;
    let shell = Shell::new(cluster).unwrap();
    let apply = async |file: &str| {
        let apply = format!("kubectl apply --filename examples/{file}.yaml");
        shell.run(&apply).await.unwrap();
    };
    for (rule, ..) in STORIES {
        apply(rule).await;
    }
    let mut node = linux_worker("worker-1", Some(("example.com/accelerator", "gpu")));
    let by_administrators = ("node-restriction.kubernetes.io/agent", "required");
    let (key, value) = by_administrators;
    node.labels.push((key.to_owned(), value.to_owned()));
    guide.join(&node).await.unwrap();
    for key in STORIES.iter().flat_map(|(.., keys)| *keys) {
        let key = format!("readiness.k8s.io/{key}");
        cluster.until_tainted("worker-1", &key, true).await.unwrap();
    }
    apply("constrained-impersonation/rbac").await;
    for (_, reporter, ..) in STORIES {
        apply(reporter).await;
    }
    for (.., daemon_set, _) in STORIES {
        pod::on_node(&guide, daemon_set, "worker-1").await;
    }
    let rules = STORIES.map(|(rule, ..)| format!("--rule examples/{rule}.yaml"));
    let said = shell
        .run(&format!("host eval {}", rules.join(" ")))
        .await
        .unwrap();
    assert!(!said.contains("warning"), "{said}");
    assert!(said.contains("static-pods"), "{said}");
}
