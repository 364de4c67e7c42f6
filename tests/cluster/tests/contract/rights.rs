//! The rights of the Go controller, all of them and with one missing.

use cluster_tests::{Cluster, GUIDE_TAINT, Host, agent_rule, wait, worker};
use control_plane::{Lifetime, Options, User};
use serde_json::{Value, json};

/// Groups, resources, verbs: exactly those of its ClusterRole.
const RULES: [(&str, &str, &[&str]); 9] = [
    ("", "nodes", &["get", "list", "watch", "patch", "update"]),
    ("", "nodes/status", &["get"]),
    (
        GROUP,
        "nodereadinessrules",
        &["get", "list", "watch", "update", "patch"],
    ),
    (
        GROUP,
        "nodereadinessrules/status",
        &["get", "update", "patch"],
    ),
    (GROUP, "nodereadinessrules/finalizers", &["update"]),
    ("", "events", &["create", "patch"]),
    ("events.k8s.io", "events", &["create", "patch"]),
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
];
const GROUP: &str = "readiness.node.x-k8s.io";
const LEASES: [&str; 7] = [
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// What is taken away, and what the log says then.
const MISSING: [(&str, &str, &str); 6] = [
    ("nodes", "patch", "cannot patch resource \\\"nodes\\\""),
    ("nodes", "watch", "cannot watch resource \\\"nodes\\\""),
    (
        "nodereadinessrules",
        "watch",
        "cannot watch resource \\\"nodereadinessrules\\\"",
    ),
    (
        "nodereadinessrules",
        "patch",
        "cannot patch resource \\\"nodereadinessrules\\\"",
    ),
    (
        "nodereadinessrules/status",
        "patch",
        "cannot patch resource \\\"nodereadinessrules/status\\\"",
    ),
    ("events", "create", "cannot create resource \\\"events\\\""),
];

fn user(index: Option<usize>) -> String {
    index.map_or("all".to_owned(), |index| format!("lacks-{index}"))
}

/// ClusterRole, Role and their bindings of a user.
fn rights(index: Option<usize>) -> Vec<Value> {
    let name = user(index);
    let missing = index.map(|index| (MISSING[index].0, MISSING[index].1));
    let rules = RULES.map(|(group, resource, verbs)| {
        let verbs: Vec<_> = verbs
            .iter()
            .filter(|verb| missing != Some((resource, verb)))
            .collect();
        json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs })
    });
    let leases =
        json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": LEASES });
    let object = |kind: &str, namespace: Option<&str>, more: Value| {
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": name, "namespace": namespace },
        });
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let binding = |kind: &str| {
        json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
        })
    };
    vec![
        object("ClusterRole", None, json!({ "rules": rules })),
        object("ClusterRoleBinding", None, binding("ClusterRole")),
        object("Role", Some("default"), json!({ "rules": [leases] })),
        object("RoleBinding", Some("default"), binding("Role")),
    ]
}

async fn cluster() -> Cluster {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let everybody = (0..MISSING.len()).map(Some).chain([None]);
    let options = Options {
        users: everybody
            .clone()
            .map(|index| User::new(user(index)))
            .collect(),
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let items: Vec<_> = everybody.flat_map(rights).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    cluster.apply(&list.to_string()).unwrap();
    cluster
}

fn start(cluster: &Cluster, index: Option<usize>) -> Host {
    let name = user(index);
    let kubeconfig = cluster.plane.kubeconfig_for(&name).unwrap();
    let log = cluster.plane.folder().join(format!("{name}.log"));
    Host::spawn(&kubeconfig, &log, Lifetime::OfThisProcess, &[]).unwrap()
}

#[tokio::test]
async fn compat_045_its_rights_are_enough_and_one_that_is_missing_is_named() {
    let cluster = cluster().await;
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    cluster.agent_reports("node-2", "True").await;
    let mut host = start(&cluster, None);
    host.until_logged("caches are synced").await.unwrap();
    cluster
        .apply(&agent_rule("agent", "bootstrap-only"))
        .unwrap();
    cluster.until_held("node-1").await;
    cluster.until_status_is_true("agent").await.unwrap();
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    for reason in ["TaintAdded", "TaintRemoved"] {
        cluster.until_event("node-1", reason).await.unwrap();
    }
    cluster.delete_rule("agent").await.unwrap();
    let log = host.log().unwrap();
    assert!(
        !log.contains("forbidden") && !log.contains(r#""level":"warn""#),
        "{log}"
    );
    host.terminate().await.unwrap();

    cluster.agent_reports("node-1", "False").await;
    for (index, (resource, verb, said)) in MISSING.iter().enumerate() {
        cluster.apply(&agent_rule("agent", "continuous")).unwrap();
        let mut host = start(&cluster, Some(index));
        host.until_logged(said).await.unwrap();
        let log = host.log().unwrap();
        assert!(
            !log.contains("Status {") && !log.contains("ApiError"),
            "{log}"
        );
        if *resource == "nodereadinessrules/status" {
            let note = cluster.until_event("agent", "StatusNotWritten").await;
            let note = note.unwrap();
            assert!(note.contains("cannot patch resource"), "{note}");
        }
        let tainted = match (*resource, *verb) {
            ("nodes", "patch") => {
                let stored = cluster
                    .until_status("agent", "it says why", |status| {
                        !status.failed_nodes.is_empty()
                    })
                    .await
                    .unwrap();
                let message = stored.status.unwrap().failed_nodes[0]
                    .message
                    .clone()
                    .unwrap();
                assert!(
                    message.contains("cannot patch resource \"nodes\""),
                    "{message}"
                );
                let note = cluster.until_event("node-1", "PatchFailed").await.unwrap();
                assert!(note.contains("cannot patch resource \"nodes\""), "{note}");
                0
            }
            // Before everything is known, or without its finalizer, a rule does nothing.
            (_, "watch") | ("nodereadinessrules", _) => 0,
            // The rest works.
            _ => {
                cluster.until_held("node-1").await;
                1
            }
        };
        assert_eq!(
            cluster.tainted(GUIDE_TAINT).await.unwrap(),
            tainted,
            "{resource} {verb}"
        );
        host.kill().await.unwrap();
        let mut host = start(&cluster, None);
        host.until_logged("caches are synced").await.unwrap();
        cluster.delete_rule("agent").await.unwrap();
        wait::until_true("the nodes are free", || async {
            Ok(cluster.tainted(GUIDE_TAINT).await? == 0)
        })
        .await
        .unwrap();
        host.terminate().await.unwrap();
    }
}
