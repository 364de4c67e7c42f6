//! The rights of the reporters are those that they use, and no more.

use cluster_tests::{Reporter, Settings, wait, worker};

use crate::site::Site;
use crate::{SETUP, chart, example};

const CONDITION: &str = "falco.org/FalcoReady";

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

/// A reporter with the token of Falco's account, on a new node. Nobody listens where it asks.
async fn reporter_on(site: &Site, node: &str) -> Reporter {
    let cluster = &site.cluster;
    cluster.create_node(&worker(node, true)).await.unwrap();
    let mounted = cluster.service_account_folder_of("falco", "falco").unwrap();
    let settings = Settings::new(node, "http://127.0.0.1:1/healthz", CONDITION);
    let server = cluster.server().unwrap();
    Reporter::start_with(&mounted, &server, &cluster.new_log(), &settings).unwrap()
}

#[tokio::test]
async fn compat_049_the_sidecars_account_has_what_the_reporter_uses_and_each_right_is_missed() {
    let site = set_up("USE_NRR").await;
    let rights = ["nodes [] [] [get]", "nodes/status [] [] [update]"];
    until(&site, "falco", "falco", &rights).await;
    let reporter = reporter_on(&site, "worker-2").await;
    let written = site.cluster.until_condition("worker-2", CONDITION, "False");
    written.await.unwrap();
    let log = reporter.log().unwrap();
    assert!(!log.contains("forbidden"), "{log}");
    reporter.terminate().await.unwrap();

    for (index, resource, verb, node) in [
        (0, "nodes", "get", "worker-3"),
        (1, "nodes/status", "update", "worker-4"),
    ] {
        let role = ["clusterrole", "security-agent-reporter", "--type=json"];
        let without = format!(r#"--patch=[{{"op":"remove","path":"/rules/{index}"}}]"#);
        let patch = [&["patch"], &role[..], &[&without]].concat();
        site.cluster.plane.kubectl_ok(&patch).unwrap();
        until(&site, "falco", "falco", &[rights[1 - index]]).await;
        let mut reporter = reporter_on(&site, node).await;
        let missed = format!("cannot {verb} resource \"{resource}\"");
        reporter.until_logged(&missed).await.unwrap();
        assert_eq!(site.cluster.condition(node, CONDITION).await.unwrap(), None);
        reporter.kill().await.unwrap();
        let file = example("nrr-variant/security-agent-reporter-rbac.yaml");
        let apply = ["apply", "--filename", file.to_str().unwrap()];
        site.cluster.plane.kubectl_ok(&apply).unwrap();
        until(&site, "falco", "falco", &rights).await;
    }
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
