//! What the Jobs run, where it cannot be done.

use std::process::Command;

use cluster_tests::{Cluster, agent_rule, host_program, worker};
use control_plane::{Options, User};
use serde_json::json;

/// Exit status, and what was said.
fn host(kubeconfig: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(host_program().unwrap());
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_definition_of_somebody_else_is_taken_over_only_by_force() {
    let cluster = Cluster::start().await.unwrap();
    let name = "nodereadinessrules.readiness.node.x-k8s.io";
    let change = json!({ "spec": { "names": { "shortNames": ["rule"] } } }).to_string();
    let patch = ["patch", "crd", name, "--type=merge", "--patch", &change];
    cluster.plane.kubectl_ok(&patch).unwrap();
    let kubeconfig = cluster.kubeconfig();
    let (status, said) = host(&kubeconfig, &["crd", "--apply"]);
    assert_eq!(status, Some(2), "{said}");
    for part in [name, "shortNames", "kubectl-patch", "--force-conflicts"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (status, said) = host(&kubeconfig, &["crd", "--apply", "--force-conflicts"]);
    assert_eq!(status, Some(0), "{said}");
    let get = [
        "get",
        "crd",
        name,
        "--output=jsonpath={.spec.names.shortNames}",
    ];
    assert_eq!(cluster.plane.kubectl_ok(&get).unwrap(), r#"["nrr"]"#);
}

#[tokio::test]
async fn a_node_that_cannot_be_freed_is_named_and_every_finalizer_stays() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: vec![User::new("reader")],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    // Everything but to change nodes.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "reader" },
        "rules": [
            { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"] },
            { "apiGroups": ["readiness.node.x-k8s.io"], "resources": ["nodereadinessrules"], "verbs": ["list", "patch"] },
            { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader" }],
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [role, binding] });
    cluster.apply(&list.to_string()).unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let running = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    running.terminate().await.unwrap();

    let arguments = ["cleanup", "--leader-election-namespace=default"];
    let reader = cluster.plane.kubeconfig_for("reader").unwrap();
    let (status, said) = host(&reader, &arguments);
    assert_eq!(status, Some(1), "{said}");
    for part in [
        "node/node-1: not free: ",
        "cannot patch resource \"nodes\"",
        // Whether there is one cannot be known.
        "mutatingadmissionpolicy/node-readiness-gate: not deleted, and if it is there it goes on to taint new nodes: ",
        "1 of 1 nodes are not free, and so every finalizer stays",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let rule = cluster.rules().get("agent").await.unwrap();
    assert!(rule.metadata.finalizers.is_some_and(|all| all.len() == 1));
    cluster.until_held("node-1").await;

    // One that holds no lease works against it.
    let running = cluster.start_host().await.unwrap();
    let (status, said) = host(&cluster.kubeconfig(), &arguments);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("rule agent has its finalizer again: "),
        "{said}"
    );
    cluster.until_held("node-1").await;
    running.terminate().await.unwrap();

    // With the right it goes on where it stopped. The lease was given back: nothing is waited for.
    let (status, said) = host(&cluster.kubeconfig(), &arguments);
    assert_eq!(status, Some(0), "{said}");
    let sum = "1 taints removed from 1 nodes, 0 rules deleted, 1 finalizers removed\n";
    assert!(said.ends_with(sum), "{said}");
    cluster.until_released("node-1").await;
}
