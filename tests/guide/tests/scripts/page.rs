//! Every command of the folder's README, in its order.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use cluster_tests::document::shell_blocks;
use cluster_tests::{wait, worker};
use serde_json::Value;

use crate::site::{Site, on_path};
use crate::{EXAMPLE, chart};

/// Not run: it needs a container engine. The file that it names is decoded in `files.rs`.
const NOT_RUN: &str =
    "kind create cluster --config examples/security-agent-readiness/kind-cluster-config.yaml";

#[tokio::test]
async fn every_command_of_the_page_can_be_typed() {
    let site = Site::start().await;
    let cluster = &site.cluster;
    for (name, tainted) in [("kind-worker", true), ("by-hand", false)] {
        let mut node = worker(name, tainted);
        // The page puts the label on the one; the other would be tainted by the rule, not by hand.
        node.labels.clear();
        cluster.create_node(&node).await.unwrap();
    }
    cluster
        .set_condition("kind-worker", "falco.org/FalcoReady", "False")
        .await
        .unwrap();
    let host = cluster.start_host().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let root = cli_tests::program::workspace();
    symlink(root.join("examples"), folder.path().join("examples")).unwrap();
    let packed = [
        "package",
        &chart(),
        "--version=7.0.0",
        "--destination",
        folder.path().to_str().unwrap(),
    ];
    site.helm.ask(&packed).unwrap();
    let named = |name: &str| folder.path().join(name);
    std::fs::rename(named("falco-stand-in-7.0.0.tgz"), named("falco-7.0.0.tgz")).unwrap();
    std::fs::write(named("falco-values.yaml"), "tolerations: []\n").unwrap();

    if on_path("jq").is_none() {
        cli_tests::program::not_tested("jq is not on the PATH: `jq .` is played by cat");
        let jq = named("jq");
        std::fs::write(&jq, "#!/bin/sh\nexec cat\n").unwrap();
        std::fs::set_permissions(&jq, Permissions::from_mode(0o755)).unwrap();
    }

    let blocks = shell_blocks(&format!("{EXAMPLE}/README.md")).unwrap();
    let lines: Vec<&str> = blocks.iter().flat_map(|block| block.lines()).collect();
    let mut not_run = Vec::new();
    let mut json = Vec::new();
    let mut is_replaced = false;
    for line in &lines {
        if line.starts_with("kind ") {
            not_run.push(*line);
            continue;
        }
        if line.contains("replaces") && !is_replaced {
            // Left over from the installation of Option B.
            cluster
                .delete_rule("security-agent-readiness-rule-npd")
                .await
                .unwrap();
            is_replaced = true;
        } else if line.contains("--for=condition=falco.org/FalcoReady") {
            cluster
                .set_condition("kind-worker", "falco.org/FalcoReady", "True")
                .await
                .unwrap();
        }
        let node = if line.starts_with("kubectl taint") {
            "by-hand"
        } else {
            "kind-worker"
        };
        let typed = line.replace("<node-name>", node);
        // Falco's own chart is on the internet.
        let typed = format!(
            "export FALCO_CHART='{}' PATH=\"$PATH:$PWD\"; {typed}",
            chart()
        );
        let said = site.helm.shell(cluster, &typed, folder.path()).await;
        let said = said.unwrap_or_else(|error| panic!("{line}: {error:#}"));
        if line.contains("custom-columns") {
            for node in ["kind-worker", "by-hand"] {
                let row = said.lines().find(|row| row.starts_with(node)).unwrap();
                assert!(
                    row.contains("key:readiness.k8s.io/security-agent-ready value:pending"),
                    "{said}"
                );
            }
            cluster
                .set_condition("kind-worker", "falco.org/FalcoNotReady", "False")
                .await
                .unwrap();
        } else if line.starts_with("host eval") {
            assert!(
                said.contains("ConditionsNotMet: falco.org/FalcoReady is False, required True"),
                "{said}"
            );
        } else if line.contains("dryRunResults") {
            let filled = wait::until("the dry run tells", || async {
                let said = site.helm.shell(cluster, &typed, folder.path()).await?;
                Ok(if said.contains("riskyOperations") {
                    Ok(said)
                } else {
                    Err(said)
                })
            });
            json.push(filled.await.unwrap());
        } else if line.ends_with("| jq .") {
            json.push(said);
        } else if line.starts_with("kubectl delete nrr") {
            // Where both rules were, one is left; and none after the undoing.
            let left = site.state();
            let left = left
                .keys()
                .filter(|key| key.starts_with("NodeReadinessRule/"));
            assert!(left.count() < 2, "{line}");
        } else if line.ends_with("security-agent-readiness-rule-npd.yaml") && !is_replaced {
            // Both options are on this page, and a cluster has one of them.
            cluster
                .delete_rule("security-agent-readiness-rule")
                .await
                .unwrap();
        }
    }
    assert_eq!(not_run, [NOT_RUN]);
    assert_eq!(lines.len(), 39, "{lines:#?}");
    let [ready, problem, dry] = json.try_into().unwrap();
    let read = |text: &String| -> Value { serde_json::from_str(text).unwrap() };
    for (text, name) in [
        (&ready, "falco.org/FalcoReady"),
        (&problem, "falco.org/FalcoNotReady"),
    ] {
        assert_eq!(read(text)["type"], name);
        assert_eq!(read(text)["status"], "False");
    }
    assert_eq!(read(&dry)["affectedNodes"], 1);
    assert_eq!(site.tolerations().as_array().unwrap().len(), 3);
    host.terminate().await.unwrap();
}
