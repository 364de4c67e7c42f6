//! How the gate comes into a cluster and out of it.

use cluster_tests::{Cluster, agent_rule, wait, worker};
use control_plane::{Options, User};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::{create, host, install, of_pool, rule, taints, until_born_with};

const NAME: &str = "node-readiness-gate";

/// Is there a policy, and is there a binding?
async fn installed(cluster: &Cluster) -> (bool, bool) {
    let policies = Api::<MutatingAdmissionPolicy>::all(cluster.client.clone());
    let bindings = Api::<MutatingAdmissionPolicyBinding>::all(cluster.client.clone());
    (
        policies.get_opt(NAME).await.unwrap().is_some(),
        bindings.get_opt(NAME).await.unwrap().is_some(),
    )
}

#[tokio::test]
async fn a_host_alone_installs_nothing() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.until_held("node-1").await;
    cluster.until_status_is_true("agent").await.unwrap();
    assert_eq!(installed(&cluster).await, (false, false));
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn what_is_printed_is_what_is_applied_and_what_somebody_else_changed_is_taken_over_only_by_force()
 {
    let cluster = Cluster::start().await.unwrap();
    let kubeconfig = cluster.kubeconfig();
    let printed = cluster
        .plane
        .folder()
        .join("gate.yaml")
        .display()
        .to_string();
    for format in ["yaml", "json"] {
        let (status, gate, _) = host(&kubeconfig, &["gate", "-o", format]);
        assert_eq!(status, Some(0));
        std::fs::write(&printed, gate).unwrap();
        let apply = ["apply", "--validate=strict", "--filename", &printed];
        cluster.plane.kubectl_ok(&apply).unwrap();
    }
    assert_eq!(installed(&cluster).await, (true, true));
    let (status, said, problems) = host(&kubeconfig, &["gate", "--apply"]);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "mutatingadmissionpolicy.admissionregistration.k8s.io/node-readiness-gate applied",
            "mutatingadmissionpolicybinding.admissionregistration.k8s.io/node-readiness-gate applied",
        ]
    );
    let differs = cluster
        .plane
        .kubectl(&["diff", "--filename", &printed])
        .unwrap();
    assert!(
        differs.status.success(),
        "{}",
        String::from_utf8_lossy(&differs.stdout)
    );

    let change = json!({ "spec": { "failurePolicy": "Fail" } }).to_string();
    let patch = [
        "patch",
        "mutatingadmissionpolicy",
        NAME,
        "--type=merge",
        "--patch",
        &change,
    ];
    cluster.plane.kubectl_ok(&patch).unwrap();
    let (status, said, problems) = host(&kubeconfig, &["gate", "--apply"]);
    assert_eq!((status, said.as_str()), (Some(2), ""), "{problems}");
    for part in [
        "error: MutatingAdmissionPolicy node-readiness-gate is not applied",
        "failurePolicy",
        "--force-conflicts",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    let (status, _, problems) = host(&kubeconfig, &["gate", "--apply", "--force-conflicts"]);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
}

/// With the rights that its help names, and one of them missing.
#[tokio::test]
async fn the_rights_that_are_named_are_enough_and_each_is_missed() {
    const ADMISSION: &str = "admissionregistration.k8s.io";
    const POLICIES: &str = "mutatingadmissionpolicies";
    const BINDINGS: &str = "mutatingadmissionpolicybindings";
    const GROUP: &str = "readiness.node.x-k8s.io";
    let rights = [
        (ADMISSION, POLICIES, "create"),
        (ADMISSION, POLICIES, "patch"),
        (ADMISSION, BINDINGS, "create"),
        (ADMISSION, BINDINGS, "patch"),
        (GROUP, "nodereadinessrules", "get"),
        (GROUP, "nodereadinessrules", "list"),
    ];
    let user =
        |missing: Option<usize>| missing.map_or("all".to_owned(), |index| format!("lacks-{index}"));
    let everybody = || (0..rights.len()).map(Some).chain([None]);
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        users: everybody()
            .map(|missing| User::new(user(missing)))
            .collect(),
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let objects = everybody().flat_map(|missing| {
        let name = user(missing);
        let granted = rights.iter().enumerate().filter(|(index, _)| missing != Some(*index));
        let granted: Vec<_> = granted
            .map(|(_, (group, resource, verb))| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] }))
            .collect();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name }, "rules": granted,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
        });
        [role, binding]
    });
    let objects: Vec<_> = objects.collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    cluster.apply(&list.to_string()).unwrap();
    for missing in everybody() {
        let kubeconfig = cluster.plane.kubeconfig_for(&user(missing)).unwrap();
        let (status, said, problems) = host(&kubeconfig, &["gate", "--apply"]);
        match missing {
            None => assert_eq!((status, said.lines().count()), (Some(0), 2), "{problems}"),
            Some(index) => {
                let (_, resource, verb) = rights[index];
                assert_eq!(status, Some(2), "{resource} {verb}: {said}");
                // About the rules it is the validation of the policy that says so.
                let named = problems.contains(&format!("cannot {verb} resource \"{resource}\""))
                    || (resource == "nodereadinessrules" && problems.contains("permission on "));
                assert!(named, "{resource} {verb}: {problems}");
            }
        }
        let nothing = "--ignore-not-found";
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            cluster
                .plane
                .kubectl_ok(&["delete", kind, NAME, nothing])
                .unwrap();
        }
    }
}

/// An API server that is as one of an earlier version.
#[tokio::test]
async fn an_api_server_that_is_too_old_is_told_and_all_else_works_there() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let options = Options {
        apiserver_args: vec!["--emulated-version=1.35".to_owned()],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let kubeconfig = cluster.kubeconfig();
    let file = cluster.plane.folder().join("rules.yaml");
    std::fs::write(
        &file,
        [rule("plain", "a", ""), agent_rule("agent", "continuous")].join("---"),
    )
    .unwrap();
    let file = file.display().to_string();
    for (more, taints) in [
        (vec![], "KEY=VALUE:EFFECT"),
        (
            vec!["-f", file.as_str()],
            "readiness.k8s.io/plain=:NoSchedule,readiness.k8s.io/security-agent-ready=pending:NoSchedule",
        ),
    ] {
        let (status, said, problems) =
            host(&kubeconfig, &[&["gate", "--apply"], &more[..]].concat());
        assert_eq!((status, said.as_str()), (Some(2), ""));
        assert!(
            problems.starts_with("error: the API server (v1."),
            "{problems}"
        );
        let end = format!(
            ") does not serve MutatingAdmissionPolicy in admissionregistration.k8s.io/v1, which is there from \
             Kubernetes 1.36 on: let the kubelet do it, by --register-with-taints={taints}\n"
        );
        assert!(problems.ends_with(&end), "{problems}");
    }
    let running = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    cluster.until_held("node-1").await;
    let log = running.log().unwrap();
    assert!(!log.contains("warn"), "{log}");
    running.terminate().await.unwrap();
    let arguments = ["cleanup", "--leader-election-namespace=default"];
    let (status, said, problems) = host(&kubeconfig, &arguments);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    assert!(!said.contains("admission"), "{said}");
    cluster.until_released("node-1").await;
}

#[tokio::test]
async fn a_cleanup_takes_the_gate_away_before_it_frees_the_nodes() {
    let cluster = Cluster::start().await.unwrap();
    let kubeconfig = cluster.kubeconfig();
    let running = cluster.start_host().await.unwrap();
    cluster.apply(&rule("agent", "a", "")).unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent"]).await;
    create(&cluster, of_pool("node-1", "a")).await.unwrap();
    running.terminate().await.unwrap();

    let (status, said, _) = host(&kubeconfig, &["cleanup", "--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "mutatingadmissionpolicybinding/node-readiness-gate: would be deleted",
            "mutatingadmissionpolicy/node-readiness-gate: would be deleted",
            "node/node-1: taint readiness.k8s.io/agent:NoSchedule would be removed",
            "rule/agent: status would be reset",
            "rule/agent: finalizer would be removed",
            "dry run: 1 taints removed from 1 nodes, 0 rules deleted, 1 finalizers removed",
        ]
    );
    assert_eq!(installed(&cluster).await, (true, true));
    let arguments = ["cleanup", "--leader-election-namespace=default"];
    let (status, said, _) = host(&kubeconfig, &arguments);
    assert_eq!(status, Some(0), "{said}");
    let lines: Vec<_> = said.lines().take(2).collect();
    assert_eq!(
        lines,
        [
            "mutatingadmissionpolicybinding/node-readiness-gate: deleted",
            "mutatingadmissionpolicy/node-readiness-gate: deleted",
        ]
    );
    assert_eq!(installed(&cluster).await, (false, false));
    // The rule is there.
    until_born_with(&cluster, "a", &[]).await;
    let node = cluster.nodes().get("node-1").await.unwrap();
    assert!(taints(&node).is_empty());
}

#[tokio::test]
async fn where_the_api_server_cannot_decide_the_failure_policy_does() {
    let cluster = Cluster::start().await.unwrap();
    let kubeconfig = cluster.kubeconfig();
    // Nothing says what a rule is.
    let crds = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    let name = "nodereadinessrules.readiness.node.x-k8s.io";
    crds.delete(name, &DeleteParams::default()).await.unwrap();
    wait::until_true("the definition is gone", || async {
        Ok(crds.get_opt(name).await?.is_none())
    })
    .await
    .unwrap();
    let (status, _, problems) = host(&kubeconfig, &["gate", "--apply", "--failure-policy=Fail"]);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    let nodes = cluster.nodes();
    let refused = wait::until("no node is created", || async {
        let created = create(&cluster, of_pool("node-1", "a")).await;
        Ok(match created {
            Err(error) => Ok(error.to_string()),
            Ok(_) => {
                nodes.delete("node-1", &DeleteParams::default()).await?;
                Err("it was".to_owned())
            }
        })
    });
    let refused = refused.await.unwrap();
    assert!(refused.contains(NAME), "{refused}");
    let (status, _, problems) = host(&kubeconfig, &["gate", "--apply"]);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    wait::until("a node is created", || async {
        let created = create(&cluster, of_pool("node-1", "a")).await;
        Ok(created.map_err(|error| error.to_string()))
    })
    .await
    .unwrap();
}
