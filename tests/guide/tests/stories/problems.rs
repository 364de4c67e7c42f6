//! Problems that Node Problem Detector reports.

use std::fs;
use std::path::{Path, PathBuf};

use control_plane::node_problem_detector_config;
use guide_tests::{Guide, start_detector};

use crate::{linux_worker, page, pod};

/// The kernel's monitors of Node Problem Detector's image, with a file of this test in the place of the kernel's log.
fn monitors_of_the_image(folder: &Path) -> PathBuf {
    let log = folder.join("kern.log");
    fs::write(&log, "").unwrap();
    let config = folder.join("config");
    fs::create_dir(&config).unwrap();
    for entry in fs::read_dir(node_problem_detector_config().unwrap()).unwrap() {
        let entry = entry.unwrap();
        // The others are of other systems, or folders.
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let file = "\"plugin\": \"filelog\", \"pluginConfig\": {\"timestamp\": \"^.{15}\", \
                    \"message\": \"kernel: (.*)\", \"timestampFormat\": \"Jan _2 15:04:05\"}";
        let text = text
            .replace("\"plugin\": \"kmsg\"", file)
            .replace("/dev/kmsg", log.to_str().unwrap());
        fs::write(config.join(entry.file_name()), text).unwrap();
    }
    config
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
        let pod = pod::on_node(&guide, "problem-gate", "worker-1").await;
        // It is held while nothing is reported, though Node Problem Detector will begin with "False".
        cluster
            .until_tainted("worker-1", "readiness.k8s.io/problems", true)
            .await
            .unwrap();
        let config = monitors_of_the_image(proc.path());
        let (config, proc) = (config.to_str().unwrap(), proc.path().to_str().unwrap());
        let replaced = [
            ("/proc", proc),
            ("\"10s\"", "\"1s\""),
            ("/config/", &format!("{config}/")),
        ];
        let started = start_detector(&guide, &pod, None, &replaced).await;
        started.unwrap()
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
