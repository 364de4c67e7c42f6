//! What docs/reporter.md tells a reader to apply.

use cluster_tests::reporter::{ACCOUNT, documented};
use cluster_tests::{Endpoint, Reporter, Settings};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Container;
use kube::api::Api;

use crate::{NODE, cluster};

/// The environment of a container, on a node.
fn environment(container: &Container) -> Settings {
    let variables = container.env.iter().flatten();
    variables.fold(Settings::bare(), |settings, variable| {
        let value = variable.value.clone();
        settings.set(&variable.name, value.unwrap_or_else(|| NODE.to_owned()))
    })
}

#[tokio::test]
async fn compat_047_the_documented_daemon_set_and_sidecar_run() {
    let cluster = cluster().await;
    let [sidecar, all, _] = documented().unwrap();
    let said = cluster.apply(&all).unwrap();
    assert!(
        said.contains("daemonset.apps/node-readiness-reporter created"),
        "{said}"
    );
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.set_ready(true);
    let containers = async |namespace: &str, name: &str| {
        let sets = Api::<DaemonSet>::namespaced(cluster.client.clone(), namespace);
        let set = sets.get(name).await.unwrap();
        set.spec.unwrap().template.spec.unwrap().containers
    };
    let reporter = &containers(ACCOUNT, ACCOUNT).await[0];
    let settings = environment(reporter).set("CHECK_ENDPOINT", endpoint.url("/healthz"));
    let folder = cluster.service_account_folder(&[]).unwrap();
    let (server, log) = (cluster.server().unwrap(), cluster.new_log());
    let reporter = Reporter::start_with(&folder, &server, &log, &settings).unwrap();
    cluster
        .until_condition(NODE, "example.com/AgentReady", "True")
        .await
        .unwrap();
    reporter.terminate().await.unwrap();

    // The agent's own DaemonSet, and the command of the page.
    cluster
        .apply(
            "
{apiVersion: v1, kind: Namespace, metadata: {name: falco}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: falco, namespace: falco}
spec:
  selector: {matchLabels: {app: falco}}
  template:
    metadata: {labels: {app: falco}}
    spec: {containers: [{name: falco, image: falco}]}
",
        )
        .unwrap();
    let page = cli_tests::program::workspace().join("docs/reporter.md");
    let page = std::fs::read_to_string(page).unwrap();
    let line = page.split("```sh\n").nth(1).unwrap();
    let line = line.split("```").next().unwrap();
    let folder = cluster.plane.folder();
    std::fs::write(folder.join("sidecar.yaml"), sidecar).unwrap();
    let line = format!("cd {} && {line}", folder.display());
    let output = cluster.plane.shell(&line, &[]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let containers = containers("falco", "falco").await;
    let names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["readiness-reporter", "falco"]);
    let settings = environment(&containers[0]).set("CHECK_ENDPOINT", endpoint.url("/healthz"));
    let _reporter = Reporter::start(&cluster, &settings).unwrap();
    cluster
        .until_condition(NODE, "falco.org/FalcoReady", "True")
        .await
        .unwrap();
}
