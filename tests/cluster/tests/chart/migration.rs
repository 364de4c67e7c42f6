//! Every command of docs/migration.md: over from a release of the Go controller, and back.

use std::os::unix::fs::symlink;

use cluster_tests::document::{Document, Shell};
use cluster_tests::helm::{Helm, start_pod_of, while_jobs_run};
use cluster_tests::{Cluster, wait, worker};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::{DEPLOYMENT, NAMESPACE, RELEASE, file, values};

/// The rule of `values/release.yaml`, and its taint.
const RULE: &str = "of-the-release";
const TAINT: &str = "readiness.k8s.io/of-the-release";

async fn image(cluster: &Cluster) -> String {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), NAMESPACE);
    let deployment = deployments.get(DEPLOYMENT).await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    pod.containers.into_iter().next().unwrap().image.unwrap()
}

/// What the Go controller leaves: one node that it holds, one that it let go, and a status that says so.
async fn left_behind(cluster: &Cluster) {
    for (name, held) in [("held", true), ("free", false)] {
        let mut node = worker(name, false);
        if held {
            (node.taints).push((TAINT.to_owned(), String::new(), "NoSchedule".to_owned()));
        }
        cluster.create_node(&node).await.unwrap();
    }
    cluster.agent_reports("free", "True").await;
    let finalizer = json!({ "metadata": { "finalizers": [api::rule::FINALIZER] } });
    cluster.patch_rule(RULE, finalizer).await.unwrap();
    let evaluation = |node: &str, taint: &str| {
        let time = "2026-01-02T03:04:05Z";
        json!({ "nodeName": node, "taintStatus": taint, "lastEvaluationTime": time, "conditionResults": [] })
    };
    let status = json!({ "status": {
        "observedGeneration": 1, "appliedNodes": ["free", "held"],
        "nodeEvaluations": [evaluation("free", "Absent"), evaluation("held", "Present")],
    }});
    let (rules, patch) = (cluster.rules(), Patch::Merge(status));
    rules
        .patch_status(RULE, &PatchParams::default(), &patch)
        .await
        .unwrap();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "ba65f13e.readiness.node.x-k8s.io", "namespace": NAMESPACE},
        "spec": {"holderIdentity": "original_0", "leaseDurationSeconds": 15}});
    cluster.apply(&lease.to_string()).unwrap();
}

#[tokio::test]
async fn compat_042_046_compat_j_rollback_what_the_page_about_migration_says_can_be_typed() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let theirs = file("stand-in").display().to_string();
    let release = values("release");
    let install = [
        "install",
        RELEASE,
        &theirs,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ];
    let install = [&install[..], &["--values", &release]].concat();
    helm.run(&cluster, &install).await.unwrap();
    left_behind(&cluster).await;

    let folder = tempfile::tempdir().unwrap();
    let deploy = cli_tests::program::workspace().join("deploy");
    symlink(deploy, folder.path().join("deploy")).unwrap();
    std::fs::copy(&release, folder.path().join("values.yaml")).unwrap();
    let shell = Shell::new(&cluster).unwrap().with_program(helm.program());
    let shell = shell
        .with_variables(helm.variables())
        .in_folder(folder.path());
    let mut page = Document::read("docs/migration.md").unwrap();
    let said = page.section("Before", &shell).await.unwrap();
    assert_eq!(said, ["", "original_0\n"], "nothing is due");

    // The Go controller ends, and gives its lease back.
    let lease = ["delete", "lease", "--all", "--namespace", NAMESPACE];
    cluster.plane.kubectl_ok(&lease).unwrap();
    let host = async {
        wait::until_true("the Deployment has our image", || async {
            Ok(!image(&cluster).await.starts_with("original"))
        })
        .await
        .unwrap();
        start_pod_of(
            &cluster,
            NAMESPACE,
            DEPLOYMENT,
            &["--metrics-bind-address=0"],
        )
        .await
    };
    let over = while_jobs_run(&cluster, page.section("Over", &shell));
    let (over, host) = tokio::join!(over, host);
    over.unwrap().0.unwrap();
    let host = host.unwrap();
    cluster.until_status_is_true(RULE).await.unwrap();
    assert_eq!(
        cluster.readiness_taints("held").await.unwrap(),
        [format!("{TAINT}:NoSchedule")]
    );
    assert!(cluster.readiness_taints("free").await.unwrap().is_empty());

    // Things that the Go controller would not understand.
    let policy = json!({ "name": "default", "parameters": { "minReadyTime": "1s" } });
    let freeze = json!({ "readiness.node.x-k8s.io/freeze-all": "on the way back" });
    let change = json!({ "metadata": { "annotations": freeze }, "spec": { "policy": policy } });
    cluster.patch_rule(RULE, change).await.unwrap();
    let glass =
        json!({ "readiness.node.x-k8s.io/break-glass": "of-the-release=2099-01-01T00:00:00Z" });
    cluster.annotate_node("free", glass).await.unwrap();
    // Nobody takes a gate along that was put there by hand.
    let gate =
        || shell.show("kubectl get mutatingadmissionpolicy node-readiness-gate --output=name");
    shell.run("host gate | kubectl apply -f -").await.unwrap();
    assert!(!gate().await.unwrap().contains("NotFound"));
    let said = page.section("Before you go back", &shell).await.unwrap();
    assert!(gate().await.unwrap().contains("NotFound"));
    assert_eq!(said[0], format!("{RULE}\n"));
    assert_eq!(
        said[1],
        format!("{RULE}: on the way back\nfree: of-the-release=2099-01-01T00:00:00Z\n")
    );

    let (back, _) = while_jobs_run(&cluster, page.section("Back", &shell))
        .await
        .unwrap();
    back.unwrap();
    page.end().unwrap();
    host.terminate().await.unwrap();
    assert!(image(&cluster).await.starts_with("original"));
    // The rules of the release are still there, and so is what was done.
    let rule = cluster.rules().get(RULE).await.unwrap();
    assert!(rule.metadata.deletion_timestamp.is_none() && !rule.finalizers().is_empty());
    assert_eq!(cluster.readiness_taints("held").await.unwrap().len(), 1);
}
