//! The rights of docs/reporter.md, and nothing beyond.

use cluster_tests::reporter::{ACCOUNT, documented, documented_rights};
use cluster_tests::{Cluster, Endpoint, Reporter, Settings, wait, worker};

use crate::{FALCO, NODE, cluster, cluster_with, requests, writes};

#[tokio::test]
async fn compat_049_a_role_that_grants_the_status_alone_is_enough() {
    let cluster = cluster().await;
    let rights = documented_rights().unwrap();
    let both = "  - {apiGroups: [\"\"], resources: [nodes], verbs: [get]}\n";
    assert!(rights.contains(both), "{rights}");
    let rights = rights
        .replace(both, "")
        .replace("[update]", "[get, update]");
    cluster.apply(&rights).unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let reporter = start(&cluster, &[], &settings);
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    // What was refused once is not asked for again.
    endpoint.set_ready(true);
    cluster.until_condition(NODE, FALCO, "True").await.unwrap();
    assert!(!reporter.log().unwrap().contains("is not written"));
    reporter.terminate().await.unwrap();
    let requests = requests(&cluster);
    let refused = requests.iter().filter(|one| one.code == 403).count();
    assert_eq!(refused, 1, "{requests:#?}");
}

#[tokio::test]
async fn compat_049_a_right_that_is_missing_is_named_once() {
    let cluster = cluster().await;
    let rights = documented_rights().unwrap();
    cluster
        .apply(&rights.replace("[update]", "[patch]"))
        .unwrap();
    let endpoint = Endpoint::start().await.unwrap();
    let settings = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let mut reporter = start(&cluster, &[], &settings);
    let expected = "cannot update resource \"nodes/status\"";
    reporter.until_logged(expected).await.unwrap();
    wait::until("three attempts to write", || async {
        let requests = requests(&cluster);
        let tried = requests.iter().filter(|one| one.verb == "update").count();
        Ok((tried >= 3).then_some(()).ok_or(tried.to_string()))
    })
    .await
    .unwrap();
    assert_eq!(reporter.log().unwrap().matches(expected).count(), 1);
    cluster.apply(&rights).unwrap();
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    reporter.until_logged("is written again").await.unwrap();
}

/// With the real Node authorizer and its admission, and a token as a pod on the node has it.
#[tokio::test]
async fn compat_050_it_acts_as_its_node_and_as_no_other() {
    let cluster = cluster_with(&[
        // Beside RBAC, which is there already.
        "--authorization-mode=Node",
        "--enable-admission-plugins=NodeRestriction",
    ])
    .await;
    cluster
        .create_node(&worker("worker-2", false))
        .await
        .unwrap();
    let [_, _, role] = documented().unwrap();
    cluster.apply(&documented_rights().unwrap()).unwrap();
    cluster.apply(&role).unwrap();
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: pod, namespace: {ACCOUNT}}}, spec: {{\
         nodeName: {NODE}, serviceAccountName: {ACCOUNT}, containers: [{{name: c, image: i}}]}}}}"
    );
    cluster.apply(&pod).unwrap();
    let flags = ["--bound-object-kind", "Pod", "--bound-object-name", "pod"];
    let endpoint = Endpoint::start().await.unwrap();
    let plain = Settings::new(NODE, &endpoint.url("/"), FALCO);
    let as_node = plain.clone().set("IMPERSONATE_NODE", "true");

    let reporter = start(&cluster, &flags, &as_node);
    cluster.until_condition(NODE, FALCO, "False").await.unwrap();
    let requests = requests(&cluster);
    assert!(!requests.is_empty());
    let user = format!("system:node:{NODE}");
    for request in &requests {
        assert_eq!(request.impersonated.as_ref(), Some(&user), "{request:?}");
    }
    reporter.terminate().await.unwrap();

    // The account itself has no right, `True` is not `true`, and another node is not its own.
    let written = writes(&cluster);
    for settings in [
        plain,
        as_node.clone().set("IMPERSONATE_NODE", "True"),
        as_node.set("NODE_NAME", "worker-2"),
    ] {
        let mut reporter = start(&cluster, &flags, &settings);
        reporter
            .until_logged("the API server answered 403")
            .await
            .unwrap();
        reporter.terminate().await.unwrap();
    }
    assert_eq!(writes(&cluster), written);
}

/// A reporter with a token that was made with these flags, and whatever rights there are.
fn start(cluster: &Cluster, flags: &[&str], settings: &Settings) -> Reporter {
    let folder = cluster.service_account_folder(flags).unwrap();
    let (server, log) = (cluster.server().unwrap(), cluster.new_log());
    Reporter::start_with(&folder, &server, &log, settings).unwrap()
}
