//! A release from its installation to its end.

use cluster_tests::helm::{Helm, start_pod_of, stop_when_scaled_down};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::Api;

use crate::{DEPLOYMENT, NAMESPACE, RELEASE, file, values};

/// Taint of the rule in `values/release.yaml`.
const OF_THE_RELEASE: &str = "readiness.k8s.io/of-the-release";

/// Arguments of Helm about the release.
fn about<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![verb, RELEASE];
    arguments.extend(more);
    arguments.extend(["--namespace", NAMESPACE, "--timeout", "60s"]);
    arguments
}

async fn deployment(cluster: &Cluster) -> Deployment {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), NAMESPACE);
    deployments.get(DEPLOYMENT).await.unwrap()
}

#[tokio::test]
async fn compat_046_installed_upgraded_and_uninstalled_without_a_trace() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let release = values("release");
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let mut foreign = worker("node-3", false);
    // Nobody's: no rule selects the node, and there is no record.
    foreign.labels.clear();
    foreign.taints.push((
        OF_THE_RELEASE.to_owned(),
        String::new(),
        "NoSchedule".to_owned(),
    ));
    cluster.create_node(&foreign).await.unwrap();

    let install = about(
        "install",
        &[&chart, "--create-namespace", "--values", &release],
    );
    let said = helm.run(&cluster, &install).await.unwrap();
    for plural in ["nodereadinessrules", "readinesspolicies"] {
        let applied = format!(
            "customresourcedefinition.apiextensions.k8s.io/{plural}.readiness.node.x-k8s.io applied"
        );
        assert!(said.lines().any(|line| line == applied), "{said}");
    }
    let crds = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    let crd = crds.get("nodereadinessrules.readiness.node.x-k8s.io").await;
    let managers = crd.unwrap().metadata.managed_fields.unwrap();
    let ours = |manager: Option<&str>| manager == Some("node-readiness-host");
    assert!(managers.iter().any(|entry| ours(entry.manager.as_deref())));

    let host = start_pod_of(
        &cluster,
        NAMESPACE,
        DEPLOYMENT,
        &["--metrics-bind-address=0"],
    );
    let host = host.await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    for node in ["node-1", "node-2"] {
        cluster.until_held(node).await;
        let held = cluster.until_tainted(node, OF_THE_RELEASE, true).await;
        held.unwrap();
    }
    cluster.agent_reports("node-2", "True").await;
    cluster.until_released("node-2").await;
    let log = host.log().unwrap();
    assert!(!log.contains("forbidden"), "{log}");

    let before = deployment(&cluster).await;
    let upgrade = about(
        "upgrade",
        &[&chart, "--values", &release, "--set", "replicaCount=3"],
    );
    helm.run(&cluster, &upgrade).await.unwrap();
    let after = deployment(&cluster).await;
    assert_eq!(after.uid(), before.uid());
    assert_eq!(after.spec.unwrap().replicas, Some(3));

    let uninstall = about("uninstall", &[]);
    let (said, stopped) = tokio::join!(
        helm.run(&cluster, &uninstall),
        stop_when_scaled_down(&cluster, NAMESPACE, DEPLOYMENT, host)
    );
    stopped.unwrap();
    let said = said.unwrap();
    for line in [
        "deployment/nrr-system/nrc-node-readiness-controller-manager: scaled to 0",
        "rule/of-the-release: deleted",
        "node/node-1: taint readiness.k8s.io/of-the-release:NoSchedule removed",
        "node/node-1: taint readiness.k8s.io/security-agent-ready:NoSchedule removed",
        "rule/agent: finalizer removed",
        "2 taints removed from 1 nodes, 1 rules deleted, 2 finalizers removed",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}\n{said}");
    }
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 0);
    assert_eq!(
        cluster.readiness_taints("node-3").await.unwrap(),
        [format!("{OF_THE_RELEASE}:NoSchedule")]
    );
    for node in cluster.nodes().list(&Default::default()).await.unwrap() {
        assert!(node.annotations().is_empty(), "{:?}", node.annotations());
    }
    let agent = cluster.rules().get("agent").await.unwrap();
    assert!(agent.finalizers().is_empty(), "{:?}", agent.finalizers());
    wait::until_true("the release's rule is gone", || async {
        Ok(cluster.rules().get_opt("of-the-release").await?.is_none())
    })
    .await
    .unwrap();
    let kinds = "deployments,services,serviceaccounts,jobs,roles,rolebindings,clusterroles,clusterrolebindings";
    let which = format!("--selector=app.kubernetes.io/instance={RELEASE}");
    let get = ["get", kinds, "--all-namespaces", &which, "--output=name"];
    assert_eq!(cluster.plane.kubectl_ok(&get).unwrap(), "");
}

/// The Go controller's chart itself is not here: a chart with its names, selectors and labels is.
#[tokio::test]
async fn compat_046_a_release_of_the_go_controllers_chart_is_upgraded_with_its_values() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let theirs = file("stand-in").display().to_string();
    let release = values("release");
    let install = about(
        "install",
        &[&theirs, "--create-namespace", "--values", &release],
    );
    helm.run(&cluster, &install).await.unwrap();
    let names = |cluster: &Cluster| {
        let kinds = "deployments,services,serviceaccounts,poddisruptionbudgets,roles,rolebindings,clusterroles,clusterrolebindings";
        let names = "--output=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
        let get = ["get", kinds, "--namespace", NAMESPACE, names];
        let got = cluster.plane.kubectl_ok(&get).unwrap();
        let lines = got.lines().filter(|line| line.contains(" nrc-"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = names(&cluster);
    let selector = deployment(&cluster).await.spec.unwrap().selector;
    let rule = cluster.rules().get("of-the-release").await.unwrap().uid();

    let chart = Helm::chart().display().to_string();
    let upgrade = about("upgrade", &[&chart, "--values", &release]);
    helm.run(&cluster, &upgrade).await.unwrap();
    let after = names(&cluster);
    assert_eq!(before.len(), 10, "{before:#?}");
    for object in before.iter().filter(|line| !line.contains("metrics-auth")) {
        assert!(after.contains(object), "{object} is not in {after:#?}");
    }
    let ours = deployment(&cluster).await.spec.unwrap();
    assert_eq!(ours.selector, selector);
    let pod = ours.template.spec.unwrap();
    assert_eq!(pod.containers.len(), 1);
    assert_eq!(
        pod.containers[0].image.as_deref(),
        Some("node-readiness-host:v0.9.9")
    );
    assert_eq!(
        cluster.rules().get("of-the-release").await.unwrap().uid(),
        rule
    );
}
