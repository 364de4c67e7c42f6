//! Problems that Node Problem Detector reports.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cluster_tests::Cluster;
use cluster_tests::helm::kubeconfig_of;
use control_plane::NodeProblemDetector;
use guide_tests::Guide;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::json;

use crate::{linux_worker, page, pod};

/// The plugin of the story's ConfigMap as files, its scripts with files of this test in the place of `/proc`.
async fn mounted(cluster: &Cluster, proc: &Path) -> PathBuf {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "kube-system");
    let folder = cluster.plane.folder().join("gate");
    fs::create_dir(&folder).unwrap();
    for (name, text) in maps.get("problem-gate").await.unwrap().data.unwrap() {
        let proc = proc.display().to_string();
        let text = text
            .replace("/proc", &proc)
            .replace("/gate", &folder.display().to_string())
            .replace("\"10s\"", "\"1s\"");
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    folder.join("plugin.json")
}

fn mounts(proc: &Path, options: &str) {
    let text = format!("proc /proc proc rw 0 0\n/dev/sdb /var/lib/kubelet ext4 {options} 0 0\n");
    fs::write(proc.join("1/mounts"), text).unwrap();
}

#[tokio::test]
async fn problems_of_a_node() {
    let guide = Guide::start().await.unwrap();
    let cluster = &guide.cluster;
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let proc = tempfile::tempdir().unwrap();
    let netfilter = proc.path().join("sys/net/netfilter");
    fs::create_dir_all(&netfilter).unwrap();
    fs::create_dir(proc.path().join("1")).unwrap();
    fs::write(netfilter.join("nf_conntrack_count"), "899\n").unwrap();
    fs::write(netfilter.join("nf_conntrack_max"), "1000\n").unwrap();
    mounts(proc.path(), "rw,relatime");

    let (mut page, shell) = page("problem-gate", cluster);
    let started = async {
        pod::on_node(&guide, "problem-gate", "worker-1").await;
        // It is held while nothing is reported, though Node Problem Detector will begin with "False".
        cluster
            .until_tainted("worker-1", "readiness.k8s.io/problems", true)
            .await
            .unwrap();
        let shorter = json!({"spec": {"policy": {"parameters": {"minReadyTime": "3s"}}}});
        cluster.patch_rule("problems", shorter).await.unwrap();
        for kernel in ["KernelDeadlock", "ReadonlyFilesystem"] {
            cluster
                .set_condition("worker-1", kernel, "False")
                .await
                .unwrap();
        }
        let plugin = mounted(cluster, proc.path()).await;
        let kubeconfig = kubeconfig_of(cluster, "kube-system", "problem-gate").unwrap();
        NodeProblemDetector::start_as(&cluster.plane, &kubeconfig, "worker-1", &plugin).unwrap()
    };
    let (tried, _detector) = tokio::join!(page.section("Try it", &shell), started);
    tried.unwrap();
    mounts(proc.path(), "ro,relatime");
    page.section("When the disk fails", &shell).await.unwrap();
    page.end().unwrap();

    // Each of the problems holds by itself.
    mounts(proc.path(), "rw,relatime");
    cluster
        .until_tainted("worker-1", "readiness.k8s.io/problems", false)
        .await
        .unwrap();
    fs::write(netfilter.join("nf_conntrack_count"), "900\n").unwrap();
    let full = cluster
        .until_condition("worker-1", "ConntrackFull", "True")
        .await
        .unwrap();
    assert_eq!(full.message.as_deref(), Some("900 of 1000 connections"));
    cluster
        .until_tainted("worker-1", "readiness.k8s.io/problems", true)
        .await
        .unwrap();
}
