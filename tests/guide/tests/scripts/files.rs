//! The manifests are what the API server, kind and kubeadm know, and the scripts are sound.

use std::path::PathBuf;
use std::process::Command;

use cluster_tests::Cluster;
use cluster_tests::helm::conforms;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, ValidationDirective};
use serde_json::Value;

use crate::site::Site;
use crate::{SETUP, TOLERATION, chart, example};

/// Patches, which are no objects of their own.
const PATCHES: [&str; 2] = [
    "npd-variant/falco-host-network-patch.yaml",
    "nrr-variant/security-agent-reporter-sidecar.yaml",
];
/// Not for this API server.
const OTHERS: [&str; 3] = ["kind-cluster-config.yaml", "nodes.yaml", MONITOR];
const MONITOR: &str = "nrr-variant/security-agent-reporter-podmonitor.yaml";

/// Every YAML file of the folder, by its path in there.
fn yaml_files() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["", "nrr-variant", "npd-variant"] {
        for entry in std::fs::read_dir(example(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let path = path.strip_prefix(example("")).unwrap();
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_strictly() {
    let cluster = Cluster::start().await.unwrap();
    cluster
        .plane
        .kubectl_ok(&["create", "namespace", "falco"])
        .unwrap();
    let mut count = 0;
    for file in yaml_files() {
        if PATCHES.contains(&file.as_str()) || OTHERS.contains(&file.as_str()) {
            continue;
        }
        let path = example(&file);
        let create = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            path.to_str().unwrap(),
        ];
        let output = cluster.plane.kubectl(&create).unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{file}: {output:?}"
        );
        let said = conforms(&cluster, &path)
            .await
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            said.contains("Invalid: 0, Errors: 0, Skipped: 0"),
            "{file}: {said}"
        );
        count += 1;
    }
    assert_eq!(count, 8);
    let said = conforms(&cluster, &example(MONITOR)).await.unwrap();
    assert!(
        said.contains(": PodMonitor security-agent-reporter\n"),
        "{said}"
    );
}

#[tokio::test]
async fn the_patches_have_no_field_that_a_daemonset_does_not_have() {
    let site = Site::start().await;
    site.helm
        .ask(&[
            "install",
            "falco",
            &chart(),
            "--namespace=falco",
            "--create-namespace",
        ])
        .unwrap();
    let daemonsets = Api::<DaemonSet>::namespaced(site.cluster.client.clone(), "falco");
    let mut parameters = PatchParams::default().dry_run();
    parameters.field_validation = Some(ValidationDirective::Strict);
    for file in PATCHES {
        let text = std::fs::read_to_string(example(file)).unwrap();
        let patch = |text: &str| {
            let patch: Value = serde_saphyr::from_str(text).unwrap();
            Patch::Strategic(patch)
        };
        daemonsets
            .patch("falco", &parameters, &patch(&text))
            .await
            .unwrap();
        let wrong = text.replacen("    spec:\n", "    spec:\n      hostNetwrk: true\n", 1);
        assert_ne!(wrong, text);
        let error = daemonsets
            .patch("falco", &parameters, &patch(&wrong))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("hostNetwrk"), "{error}");
    }
}

#[test]
fn kind_and_kubeadm_know_every_field_of_the_configuration() {
    let program = control_plane::known_fields(&mut |_| {}).unwrap();
    let file = example("kind-cluster-config.yaml");
    let check = |path: &PathBuf| Command::new(&program).arg(path).output().unwrap();
    let output = check(&file);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "{}: Cluster control-plane worker readiness.k8s.io/security-agent-ready=pending:NoSchedule\n",
            file.display()
        )
    );
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    for (right, wrong) in [
        ("kubeadmConfigPatches:", "kubeadmConfigPatch:"),
        ("nodeRegistration:", "nodeRegistrations:"),
        ("effect: NoSchedule", "efect: NoSchedule"),
        ("kind: JoinConfiguration", "kind: JoinConfig"),
        ("role: worker", "role: agent"),
    ] {
        let path = folder.path().join("kind.yaml");
        assert!(text.contains(right), "{right}");
        std::fs::write(&path, text.replacen(right, wrong, 1)).unwrap();
        let output = check(&path);
        assert_eq!(output.status.code(), Some(1), "{wrong}: {output:?}");
        let word = wrong.trim_end_matches(':').split(": ").last().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(word) || said.contains("efect"),
            "{wrong}: {said}"
        );
    }
}

#[test]
fn the_rule_and_its_dry_run_differ_in_that_alone_and_the_plain_rule_in_the_policy() {
    let read = |file: &str| -> Value {
        serde_saphyr::from_str(&std::fs::read_to_string(example(file)).unwrap()).unwrap()
    };
    let without = |mut rule: Value, field: &str| {
        let removed = rule["spec"].as_object_mut().unwrap().remove(field);
        assert!(removed.is_some(), "{field}");
        rule
    };
    let rule = read("nrr-variant/security-agent-readiness-rule.yaml");
    let dry = read("nrr-variant/security-agent-readiness-dryrun-rule.yaml");
    assert_eq!(without(dry, "dryRun"), rule);
    let plain = read("npd-variant/security-agent-readiness-rule-npd-plain.yaml");
    let rule = read("npd-variant/security-agent-readiness-rule-npd.yaml");
    assert_eq!(without(rule, "policy"), plain);
}

/// The scripts, and the one in the ConfigMap as a file.
fn scripts(folder: &std::path::Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(example("npd-variant/npd-falco-config.yaml")).unwrap();
    let config: ConfigMap = serde_saphyr::from_str(&text).unwrap();
    let plugin = folder.join("check-falco.sh");
    std::fs::write(&plugin, &config.data.unwrap()["check-falco.sh"]).unwrap();
    let root = cli_tests::program::workspace();
    vec![root.join(SETUP), root.join(TOLERATION), plugin]
}

#[test]
fn the_scripts_are_programs_that_bash_can_read() {
    let folder = tempfile::tempdir().unwrap();
    for script in scripts(folder.path()) {
        let output = Command::new("bash")
            .arg("-n")
            .arg(&script)
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    use std::os::unix::fs::PermissionsExt as _;
    for script in [SETUP, TOLERATION] {
        let path = cli_tests::program::workspace().join(script);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}: {mode:o}");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("\nset -euo pipefail\n"), "{script}");
    }
}
