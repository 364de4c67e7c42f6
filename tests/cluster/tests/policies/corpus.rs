//! Modules of strangers in a running host. What each of many more does by itself is tested with the engine.

use std::fs::File;
use std::path::Path;

use cluster_tests::scrape::Scrape;
use cluster_tests::{GUIDE_TAINT, agent_rule, wait, worker};
use kube::api::{DeleteParams, ListParams};
use planner::rule::Status;
use serde_json::json;

use crate::world::{apply_as, hostile, policies, rule, start, until_of};

/// What the guest does for a rule of this name, and what it ends in.
const MISBEHAVIOUR: [(&str, &str); 15] = [
    ("loop", "DeadlineExceeded"),
    ("loop-asking", "DeadlineExceeded"),
    ("allocate", "MemoryExceeded"),
    ("allocate-at-once", "MemoryExceeded"),
    ("recurse", "StackOverflow"),
    ("recurse-with-frames", "Trapped"),
    ("panic", "Trapped"),
    ("error", "PolicyError"),
    ("error-huge", "OutputTooLarge"),
    ("ask-many", "TooManyQuestions"),
    ("ask-huge", "OutputTooLarge"),
    ("huge-message", "OutputTooLarge"),
    ("no-reason", "InvalidDecision"),
    ("many-findings", "InvalidDecision"),
    ("turn", "TaintFlaps"),
];

/// What is no policy, the condition that says so, and its reason.
const NO_POLICY: [(&str, &str, &str); 5] = [
    ("garbage", "Fetched", "NotAComponent"),
    ("truncated", "Compatible", "CompileFailed"),
    ("core-module", "Fetched", "NotAComponent"),
    ("enormous", "Fetched", "TooLarge"),
    ("forbidden", "Compatible", "NotAllowed"),
];

fn write(folder: &Path) {
    let module = hostile();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    file("module", &module);
    file("forbidden", &module);
    file("garbage", &b"#!/bin/sh\nrm -rf /\n".repeat(1000));
    file("truncated", &module[..module.len() - 1]);
    file("core-module", b"\0asm\x01\0\0\0");
    let enormous = File::create(folder.join("enormous")).unwrap();
    enormous.set_len(100 << 20).unwrap();
}

/// In KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

#[tokio::test]
async fn every_hostile_module_ends_in_its_word_and_the_host_goes_on() {
    let cluster = start().await;
    let folder = cluster.plane.folder().join("corpus");
    std::fs::create_dir(&folder).unwrap();
    write(&folder);
    cluster.create_node(&worker("worker", false)).await.unwrap();
    let cache = format!("--policy-cache={}", folder.join("kept").display());
    let arguments = [
        "--metrics-bind-address=127.0.0.1:0",
        "--metrics-secure=false",
        "--zap-encoder=json",
        &cache,
    ];
    let host = cluster.start_host_with(&arguments).await.unwrap();
    let metrics = host.served_at("metrics are served").unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("worker").await;
    let spec = |file: &str| json!({"module": {"file": {"path": folder.join(file)}}});
    // Each its own, or one would be left alone for what another did.
    for (name, _) in MISBEHAVIOUR {
        apply_as(&cluster, name, spec("module")).await;
        let taint = format!("readiness.k8s.io/{name}");
        let rule = rule(name, &taint).replace(
            "policy: {name: steady}",
            &format!("policy: {{name: {name}}}"),
        );
        cluster.apply(&rule).unwrap();
    }
    for (name, condition, reason) in NO_POLICY {
        let mut spec = spec(name);
        if name == "forbidden" {
            spec["allow"] = json!([]);
        }
        apply_as(&cluster, name, spec).await;
        until_of(&cluster, name, condition, Status::False, reason).await;
    }
    for (name, kind) in MISBEHAVIOUR {
        let counted = format!(
            "node_readiness_policy_evaluations_total{{policy=\"{name}\",result=\"{kind}\"}}"
        );
        wait::until(&counted, || async {
            // A change of the node has every rule evaluated.
            cluster.agent_reports("worker", "False").await;
            let scrape = Scrape::of(&metrics).await?;
            Ok(match scrape.get(&counted) {
                Some(count) if count > 0.0 => Ok(()),
                _ => {
                    let of = format!("policy=\"{name}\"");
                    let lines = scrape.series().filter(|series| series.contains(&of));
                    Err(format!("{:?}", lines.collect::<Vec<_>>()))
                }
            })
        })
        .await
        .unwrap();
        let said = cluster.until_status(name, kind, |status| {
            let mut failed = status.failed_nodes.iter();
            let told = |word: &str| format!("policy failed: {word}");
            failed.any(|node| {
                let said = format!("{node:?}");
                said.contains(&told(kind)) || said.contains(&format!("({kind})"))
            })
        });
        said.await.unwrap();
    }
    // A rule of another policy is served all the time.
    for (status, held) in [("True", false), ("False", true)] {
        cluster.agent_reports("worker", status).await;
        let followed = cluster.until_tainted("worker", GUIDE_TAINT, held).await;
        followed.unwrap();
    }
    let taints = cluster.readiness_taints("worker").await.unwrap();
    assert_eq!(taints, [format!("{GUIDE_TAINT}=pending:NoSchedule")]);

    // What it all took is given back when it goes.
    let most = resident(host.pid());
    let all = policies(&cluster);
    all.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    wait::until_true("their series are gone", || async {
        let scrape = Scrape::of(&metrics).await?;
        Ok(!scrape.text.contains("policy=\"loop\""))
    })
    .await
    .unwrap();
    cluster.until_worked_off().await.unwrap();
    let left = resident(host.pid());
    assert!(left <= most + 4096, "{most} KiB, and then {left}");
    host.terminate().await.unwrap();
}
