//! The rights of the reporters are those that they use, and no more.

use cluster_tests::{wait, worker};
use serde_json::Value;

use crate::site::Site;
use crate::{SETUP, chart};

/// What an account may do beyond what every account may: verbs of a resource.
fn rights(site: &Site, account: &str, namespace: &str) -> Vec<String> {
    let list = |account: &str| {
        let name = format!("--as=system:serviceaccount:falco:{account}");
        let ask = [
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            &name,
            "--namespace",
            namespace,
        ];
        let said = site.cluster.plane.kubectl_ok(&ask).unwrap();
        said.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let all = list("nobody");
    let mut own: Vec<String> = list(account)
        .into_iter()
        .filter(|line| !all.contains(line))
        .collect();
    own.sort();
    own
}

async fn set_up(option: &str) -> Site {
    let site = Site::start().await;
    let done = site.run(SETUP, &[(option, "true"), ("FALCO_CHART", &chart())]);
    assert_eq!(done.status, Some(0), "{done:?}");
    site.cluster
        .create_node(&worker("worker-1", true))
        .await
        .unwrap();
    site
}

async fn until(site: &Site, account: &str, namespace: &str, expected: &[&str]) {
    wait::until("the authorizer knows the roles", || async {
        let found = rights(site, account, namespace);
        Ok(if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        })
    })
    .await
    .unwrap();
}

/// By the calls of the reporter: it reads the status and puts it back.
#[tokio::test]
async fn compat_049_the_sidecars_account_may_get_and_put_the_status_and_nothing_else() {
    let site = set_up("USE_NRR").await;
    until(
        &site,
        "falco",
        "falco",
        &["nodes/status [] [] [get update]"],
    )
    .await;
    let account = "--as=system:serviceaccount:falco:falco";
    let status = "/api/v1/nodes/worker-1/status";
    let raw = format!("--raw={status}");
    let kubectl = |arguments: &[&str]| {
        site.cluster
            .plane
            .kubectl_ok(&[arguments, &[account]].concat())
    };
    let mut node: Value = serde_json::from_str(&kubectl(&["get", &raw]).unwrap()).unwrap();
    node["status"]["conditions"] =
        serde_json::json!([{ "type": "falco.org/FalcoReady", "status": "True" }]);
    let file = site.cluster.plane.folder().join("status.json");
    std::fs::write(&file, node.to_string()).unwrap();
    kubectl(&["replace", &raw, "--filename", file.to_str().unwrap()]).unwrap();
    let get = [
        "get",
        "node",
        "worker-1",
        "--output=jsonpath={.status.conditions[*].type}",
    ];
    assert_eq!(
        site.cluster.plane.kubectl_ok(&get).unwrap(),
        "falco.org/FalcoReady"
    );
    // Nor may it look at the node itself, or untaint it.
    let error = kubectl(&["get", "node", "worker-1"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot get resource \"nodes\""), "{error}");
    let error = kubectl(&[
        "patch",
        "node",
        "worker-1",
        "--patch={\"spec\":{\"taints\":null}}",
    ])
    .unwrap_err()
    .to_string();
    assert!(error.contains("cannot get resource \"nodes\""), "{error}");
}

/// That Node Problem Detector needs no more is seen where it runs: the tests of the guide's Option B.
#[tokio::test]
async fn node_problem_detectors_account_may_patch_the_status_and_tell_and_nothing_else() {
    let site = set_up("USE_NPD").await;
    let nodes = ["nodes [] [] [get]", "nodes/status [] [] [patch]"];
    until(&site, "npd-falco", "falco", &nodes).await;
    let events = ["events [] [] [create patch]", nodes[0], nodes[1]];
    until(&site, "npd-falco", "default", &events).await;
    // Falco itself reports nothing here.
    until(&site, "falco", "falco", &[]).await;
}
