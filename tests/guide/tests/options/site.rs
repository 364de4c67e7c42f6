//! A cluster with everything that a reader of the guide has at hand.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cli_tests::program::{not_tested, workspace};
use cluster_tests::helm::Helm;
use cluster_tests::wait;
use guide_tests::{Guide, Pods, is_ready};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tempfile::TempDir;

use crate::{EXAMPLE, TAINTS, option_b};

pub(crate) struct Site {
    pub(crate) guide: Guide,
    helm: Helm,
    tools: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let guide = Guide::start().await.unwrap();
        let helm = Helm::new(&guide.cluster).unwrap();
        let tools = tempfile::tempdir().unwrap();
        if !is_on_path("jq") {
            not_tested("jq is not on the PATH: `jq .` is played by cat");
            let jq = tools.path().join("jq");
            std::fs::write(&jq, "#!/bin/sh\nexec cat\n").unwrap();
            std::fs::set_permissions(&jq, Permissions::from_mode(0o755)).unwrap();
        }
        Self { guide, helm, tools }
    }

    /// Runs a line as a reader types it at the root of the repository; what it printed.
    pub(crate) async fn types(&self, line: &str) -> String {
        // Falco's own chart is on the internet.
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/falco-stand-in");
        let typed = format!(
            "export FALCO_CHART='{}' PATH=\"$PATH:{}\"; {line}",
            chart.display(),
            self.tools.path().display()
        );
        let said = self
            .helm
            .shell(&self.guide.cluster, &typed, &workspace())
            .await;
        said.unwrap_or_else(|error| panic!("{line}: {error:#}"))
    }

    /// `kubectl apply -f` of a file of the guide; what kubectl did with the rule.
    pub(crate) async fn applies(&self, rule: &str, file: &str) -> String {
        let said = self
            .types(&format!("kubectl apply -f {EXAMPLE}/{file}"))
            .await;
        let object = format!("nodereadinessrule.readiness.node.x-k8s.io/{rule} ");
        said.strip_prefix(&object)
            .unwrap_or_else(|| panic!("{said}"))
            .trim()
            .to_owned()
    }

    /// Option B by the guide's commands, with one of its two rules, until Falco and Node Problem
    /// Detector would be on each node that joins.
    pub(crate) async fn install_npd_variant(&self, rule: &str) {
        self.types(&format!("USE_NPD=true {EXAMPLE}/setup-falco.sh"))
            .await;
        assert_eq!(self.applies(option_b::RULE, rule).await, "created");
        let said = self
            .types(&format!("{EXAMPLE}/add-falco-toleration.sh"))
            .await;
        assert_eq!(said, "daemonset.apps/falco patched\n");
    }

    /// Waits until so many pods run, and there are no others.
    pub(crate) async fn until_running(&self, pods: &Pods, number: usize) -> Vec<Pod> {
        let run = |pods: &[Pod]| {
            let all = pods.len() == number && pods.iter().all(is_ready);
            all.then(|| pods.to_vec())
        };
        pods.until_all(&format!("{number} run"), run).await.unwrap()
    }

    /// Waits until the guide's command for taints prints these.
    pub(crate) async fn until_taints<const N: usize>(&self, wanted: [(&str, &str); N]) {
        wait::until("the guide's taints", async || {
            let said = self.types(TAINTS).await;
            let mut rows = said
                .lines()
                .map(|line| line.split_once(' ').unwrap_or_default());
            let head = rows.next().map(|(name, taints)| (name, taints.trim()));
            assert_eq!(head, Some(("NAME", "TAINTS")));
            let rows: Vec<_> = rows.map(|(name, taints)| (name, taints.trim())).collect();
            Ok(if rows == wanted { Ok(()) } else { Err(said) })
        })
        .await
        .unwrap();
    }

    /// What the guide's command for a condition prints, which must be what the API server has.
    pub(crate) async fn condition(&self, node: &str, name: &str) -> Value {
        let line = format!(
            "kubectl get node {node} -o jsonpath='{{.status.conditions[?(@.type==\"{name}\")]}}' | jq ."
        );
        let said: Value = serde_json::from_str(&self.types(&line).await).unwrap();
        let stored = self.guide.cluster.condition(node, name).await.unwrap();
        let stored = serde_json::to_value(stored.unwrap()).unwrap();
        // Not the heartbeat, which goes on.
        for field in ["type", "status", "reason", "message", "lastTransitionTime"] {
            assert_eq!(said[field], stored[field], "{said:#} {stored:#}");
        }
        said
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
