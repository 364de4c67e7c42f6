//! The gate at birth as a part of a release.

use cluster_tests::helm::{Helm, start_pod_of, stop_when_scaled_down};
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use serde_json::Value;

use crate::{DEPLOYMENT, NAMESPACE, RELEASE, values};

const KINDS: &str = "mutatingadmissionpolicies,mutatingadmissionpolicybindings";

fn objects(cluster: &Cluster) -> Vec<Value> {
    let got = cluster.plane.kubectl_ok(&["get", KINDS, "--output=json"]);
    let mut list: Value = serde_json::from_str(&got.unwrap()).unwrap();
    serde_json::from_value(list["items"].take()).unwrap()
}

#[tokio::test]
async fn compat_046_the_gate_comes_and_goes_with_its_value_and_the_host_needs_no_right_for_it() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let gate = values("gate");
    let about = |verb, more: &[&'static str]| {
        let mut arguments = vec![verb, RELEASE];
        if verb != "uninstall" {
            arguments.push(&chart);
        }
        arguments.extend(["--namespace", NAMESPACE, "--timeout=60s"]);
        arguments.extend(more);
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        helm.run(&cluster, &arguments).await.unwrap()
    };
    run(about("install", &["--create-namespace"])).await;
    assert_eq!(objects(&cluster), [Value::Null; 0]);
    let mut with = about("upgrade", &[]);
    with.extend(["--values".to_owned(), gate.clone()]);
    run(with.clone()).await;
    let installed = objects(&cluster);
    assert_eq!(installed.len(), 2);
    for object in &installed {
        assert_eq!(object["metadata"]["name"], "node-readiness-gate");
        assert_eq!(object["metadata"]["labels"]["team"], "security");
    }
    assert_eq!(installed[0]["spec"]["failurePolicy"], "Fail");

    let host = start_pod_of(&cluster, NAMESPACE, DEPLOYMENT, &[])
        .await
        .unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    until_born(&cluster, true).await;
    run(about("upgrade", &["--set=gateAtBirth.enabled=false"])).await;
    assert_eq!(objects(&cluster), [Value::Null; 0]);
    run(with).await;
    until_born(&cluster, true).await;
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let log = host.log().unwrap();
    assert!(!log.contains("forbidden"), "{log}");

    let uninstall = run(about("uninstall", &[]));
    let (said, stopped) = tokio::join!(
        uninstall,
        stop_when_scaled_down(&cluster, NAMESPACE, DEPLOYMENT, host)
    );
    stopped.unwrap();
    let line = "mutatingadmissionpolicy/node-readiness-gate: deleted";
    let lines: Vec<_> = said.lines().collect();
    let place = |wanted: &str| lines.iter().position(|line| *line == wanted);
    let freed = format!("node/node-1: taint {GUIDE_TAINT}:NoSchedule removed");
    assert!(place(line).unwrap() < place(&freed).unwrap(), "{said}");
    assert_eq!(objects(&cluster), [Value::Null; 0]);
    assert_eq!(cluster.tainted(GUIDE_TAINT).await.unwrap(), 0);
    // The rule stays, and holds nobody.
    until_born(&cluster, false).await;
}

/// Waits until a worker is born with the taint, or without.
async fn until_born(cluster: &Cluster, held: bool) {
    let nodes = cluster.nodes();
    wait::until_true(&format!("a node is born held: {held}"), || async {
        let born = cluster.create_node(&worker("probe", false)).await;
        let _ = nodes.delete("probe", &Default::default()).await;
        let taints = born
            .ok()
            .and_then(|node| node.spec?.taints)
            .unwrap_or_default();
        Ok(taints.iter().any(|taint| taint.key == GUIDE_TAINT) == held)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_too_old_for_the_gate_is_told_so() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let gate = values("gate");
    let template = |version| {
        let version = format!("--kube-version={version}");
        helm.ask(&["template", RELEASE, &chart, "--values", &gate, &version])
    };
    let error = template("1.35.9").unwrap_err().to_string();
    let says = "gateAtBirth.enabled needs Kubernetes 1.36, and this is v1.35.9: let the kubelet taint new nodes, by --register-with-taints";
    assert!(error.contains(says), "{error}");
    let rendered = template("1.36.0").unwrap();
    assert!(rendered.contains("kind: MutatingAdmissionPolicyBinding"));
}
