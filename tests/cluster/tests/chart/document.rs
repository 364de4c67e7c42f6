//! Every command of docs/installation.md, in its order.

use std::os::unix::fs::symlink;
use std::process::Command;

use cluster_tests::document::{Shell, shell_blocks};
use cluster_tests::helm::Helm;
use cluster_tests::{Cluster, agent_rule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::Api;

use crate::{NAMESPACE, values};

const PAGE: &str = "docs/installation.md";

/// The first block of a language on the page with this text in it.
fn block(language: &str, part: &str) -> String {
    let page = cli_tests::program::workspace().join(PAGE);
    let page = std::fs::read_to_string(page).unwrap();
    let opened = format!("```{language}\n");
    let mut blocks = page.split(opened.as_str()).skip(1);
    let block = blocks.find_map(|block| {
        let block = block.split("```").next().unwrap();
        block.contains(part).then(|| block.to_owned())
    });
    block.unwrap()
}

#[tokio::test]
async fn compat_046_what_the_page_about_installation_says_can_be_typed() {
    let workspace = cli_tests::program::workspace();
    let blocks = shell_blocks(PAGE).unwrap();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let [
        install,
        _with_other_definitions,
        give_up,
        upgrade,
        kustomize,
        static_pod,
        dry_run,
        uninstall,
    ] = blocks[..]
    else {
        panic!("{blocks:?}");
    };
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(workspace.join("deploy"), folder.path().join("deploy")).unwrap();
    std::fs::copy(values("release"), folder.path().join("values.yaml")).unwrap();
    // As a host that ran before leaves it.
    let mine = agent_rule("mine", "continuous").replace(
        "{name: mine}",
        "{name: mine, finalizers: [readiness.node.x-k8s.io/cleanup-taints]}",
    );
    cluster.apply(&mine).unwrap();

    // Nobody runs the Job, as where its image cannot be pulled; and nobody waits for so long.
    let alone = Shell::new(&cluster)
        .unwrap()
        .with_program(helm.program())
        .with_variables(helm.variables())
        .in_folder(folder.path());
    let said = alone
        .show(&format!("{} --timeout=5s", install.trim_end()))
        .await;
    let said = said.unwrap();
    assert!(
        said.contains(&block("text", "failed pre-install")),
        "{said}"
    );
    let said = alone.show(install).await.unwrap();
    assert!(said.contains("name that is still in use"), "{said}");
    let there = || {
        let get = [
            "get",
            "deployments,jobs",
            "--namespace",
            NAMESPACE,
            "--output=name",
        ];
        cluster.plane.kubectl_ok(&get).unwrap()
    };
    assert_eq!(
        there(),
        "job.batch/nrc-node-readiness-controller-crd-upgrade\n"
    );
    alone.run(give_up).await.unwrap();
    assert_eq!(there(), "");

    let typed = async |block: &str| helm.shell(&cluster, block, folder.path()).await.unwrap();
    for block in [install, upgrade, kustomize, static_pod] {
        typed(block).await;
    }
    let said = typed(dry_run).await;
    for line in [
        "deployment/nrr-system/nrc-node-readiness-controller-manager: would be scaled to 0",
        "rule/of-the-release: would be deleted",
        "rule/mine: finalizer would be removed",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}\n{said}");
    }
    let said = typed(uninstall).await;
    assert!(said.contains("rule/mine: finalizer removed\n"), "{said}");
    let mine = cluster.rules().get("mine").await.unwrap();
    assert!(mine.finalizers().is_empty());
}

/// Somebody gave the definition another prefix, and Helm's own copy has none.
#[tokio::test]
async fn definitions_that_somebody_else_wrote_are_taken_over_by_the_job() {
    let blocks = shell_blocks(PAGE).unwrap();
    let [install, skip] = &blocks[..2] else {
        panic!("{blocks:?}");
    };
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let workspace = cli_tests::program::workspace();
    let typed = async |block: &str| helm.shell(&cluster, block, &workspace).await;
    let prefix = "host crd --taint-key-prefix=other.example.org/ | kubectl apply --server-side --force-conflicts -f -";
    typed(prefix).await.unwrap();
    let has_prefix = async || {
        let crds = Api::<CustomResourceDefinition>::all(cluster.client.clone());
        let crd = crds.get("nodereadinessrules.readiness.node.x-k8s.io").await;
        serde_json::to_string(&crd.unwrap().spec)
            .unwrap()
            .contains("other.example.org/")
    };
    assert!(has_prefix().await);

    let refused = typed(install).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains(block("text", "failed to install CRD").trim_end()),
        "{refused}"
    );
    assert!(
        refused.contains("Apply failed with 1 conflict"),
        "{refused}"
    );
    assert!(has_prefix().await);

    let said = typed(skip).await.unwrap();
    let applied = "customresourcedefinition.apiextensions.k8s.io/nodereadinessrules.readiness.node.x-k8s.io applied";
    assert!(said.lines().any(|line| line == applied), "{said}");
    assert!(!has_prefix().await);
}

#[tokio::test]
async fn an_overlay_may_have_several_components_and_another_image() {
    let cluster = Cluster::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bases = cli_tests::program::workspace().join("deploy/kustomize");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&bases, folder.path()])
        .status();
    assert!(copied.unwrap().success());
    let own = folder.path().join("kustomize/own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(
        own.join("kustomization.yaml"),
        block("yaml", "kind: Kustomization"),
    )
    .unwrap();
    let build = ["kustomize", own.to_str().unwrap()];
    let built = cluster.plane.kubectl_ok(&build).unwrap();
    for part in [
        "image: registry.example.com/node-readiness-host:0.1.0\n",
        "        - --webhook-manage-certificates\n        - --metrics-bind-address=:8443\n",
        "kind: ValidatingWebhookConfiguration\n",
        "name: node-readiness-controller-metrics-service\n",
    ] {
        assert!(built.contains(part), "{part}{built}");
    }
}
