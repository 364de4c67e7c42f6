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
    let mut left = Vec::new();
    let mut removals = Vec::new();
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
        let removal = Removal::of(line, &site);
        let said = site.helm.shell(cluster, &typed, folder.path()).await;
        let said = said.unwrap_or_else(|error| panic!("{line}: {error:#}"));
        if let Some(removal) = removal {
            assert!(!removal.is_there(&site), "{line} left it");
            removals.push(removal);
        }
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
            let state = site.state();
            let rules = state
                .keys()
                .filter_map(|key| key.strip_prefix("NodeReadinessRule//"));
            left.push(rules.map(str::to_owned).collect::<Vec<_>>().join(" "));
        } else if line.ends_with("security-agent-readiness-rule-npd.yaml") && !is_replaced {
            // Both options are on this page, and a cluster has one of them.
            cluster
                .delete_rule("security-agent-readiness-rule")
                .await
                .unwrap();
        }
    }
    assert_eq!(not_run, [NOT_RUN]);
    // Where both rules were, the other one is left; and none after the undoing.
    let (a, b) = (
        "security-agent-readiness-rule",
        "security-agent-readiness-rule-npd",
    );
    assert_eq!(left, [b, a, ""]);
    let [rights, detector] = ["nrr-variant", "npd-variant"].map(|variant| {
        let is_of =
            |removal: &&Removal| matches!(removal, Removal::Files(line) if line.contains(variant));
        removals.iter().filter(is_of).count()
    });
    assert_eq!((rights, detector), (2, 1), "{removals:?}");
    let count = |wanted: Removal| {
        removals
            .iter()
            .filter(|removal| **removal == wanted)
            .count()
    };
    assert_eq!(
        (count(Removal::Sidecar), count(Removal::HostNetwork)),
        (2, 1),
        "{removals:?}"
    );
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

/// What a line of the page takes away.
#[derive(Debug, PartialEq)]
enum Removal {
    /// The reporter in Falco's pods.
    Sidecar,
    /// Falco's place on the node's network.
    HostNetwork,
    /// The objects of files, by the command that deletes them.
    Files(String),
}

impl Removal {
    /// Of a line that is typed next: what it is to take away has to be there.
    fn of(line: &str, site: &Site) -> Option<Self> {
        let removal = if line.contains(r#""$patch":"delete""#) {
            Self::Sidecar
        } else if line.contains(r#""hostNetwork":null"#) {
            Self::HostNetwork
        } else if line.starts_with("kubectl delete -f") {
            Self::Files(line.to_owned())
        } else {
            return None;
        };
        assert!(removal.is_there(site), "before {line}");
        Some(removal)
    }

    /// Is any of it there?
    fn is_there(&self, site: &Site) -> bool {
        let pod = || site.falco()["spec"]["template"]["spec"].clone();
        match self {
            Self::Sidecar => {
                let pod = pod();
                let mut containers = pod["containers"].as_array().unwrap().iter();
                containers.any(|container| container["name"] == "security-status-patcher")
            }
            Self::HostNetwork => {
                let pod = pod();
                pod["hostNetwork"] == true || pod["dnsPolicy"] == "ClusterFirstWithHostNet"
            }
            Self::Files(line) => {
                let root = cli_tests::program::workspace();
                let files = line.split(' ').filter(|word| word.ends_with(".yaml"));
                let files: Vec<_> = files
                    .map(|file| root.join(file).display().to_string())
                    .collect();
                let mut get = vec!["get", "--ignore-not-found", "--output=name"];
                get.extend(files.iter().flat_map(|file| ["--filename", file]));
                !site.cluster.plane.kubectl_ok(&get).unwrap().is_empty()
            }
        }
    }
}
