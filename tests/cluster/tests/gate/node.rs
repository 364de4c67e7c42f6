//! What becomes of a new node.

use cluster_tests::{AGENT, Cluster, wait};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    create, install, of_pool, records, rule, set, taints, taints_in_full, until_born_with,
};

fn record(name: &str, uid: &str) -> (String, Value) {
    let record = json!({
        "key": format!("readiness.k8s.io/{name}"), "effect": "NoSchedule", "ruleUID": uid, "rule": null,
        "reason": "GateAtBirth", "free": true,
    });
    (name.to_owned(), record)
}

async fn uid(cluster: &Cluster, rule: &str) -> String {
    cluster.rules().get(rule).await.unwrap().uid().unwrap()
}

#[tokio::test]
async fn compat_j_at_birth_a_node_is_held_and_owned_from_its_creation_and_the_host_has_nothing_to_do()
 {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("agent", "a", "")).unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent"]).await;

    let born = create(&cluster, of_pool("node-1", "a")).await.unwrap();
    // That of admission stays.
    let all = born.spec.clone().unwrap().taints.unwrap();
    let keys: Vec<_> = all.iter().map(|taint| taint.key.as_str()).collect();
    assert_eq!(
        keys,
        ["node.kubernetes.io/not-ready", "readiness.k8s.io/agent"]
    );
    let owner = uid(&cluster, "agent").await;
    assert_eq!(records(&born), [record("agent", &owner)]);
    let other = create(&cluster, of_pool("node-2", "b")).await.unwrap();
    assert_eq!((taints(&other), records(&other)), (set(&[]), vec![]));

    cluster
        .until_status("agent", "it holds the node", |status| {
            status.nodes.is_some_and(|nodes| nodes.held == Some(1))
        })
        .await
        .unwrap();
    cluster.until_worked_off().await.unwrap();
    let seen = cluster.nodes().get("node-1").await.unwrap();
    assert_eq!(seen.resource_version(), born.resource_version(), "{seen:?}");
    for reason in ["TaintAdded", "TaintAdopted"] {
        let events = cluster.events("node-1", reason).await.unwrap();
        assert_eq!(events, [""; 0], "{reason}");
    }
    cluster
        .set_condition("node-1", AGENT, "True")
        .await
        .unwrap();
    let key = "readiness.k8s.io/agent";
    let free = cluster.until_tainted("node-1", key, false).await.unwrap();
    assert_eq!(records(&free), []);
    cluster.until_event("node-1", "TaintRemoved").await.unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn what_a_node_brings_along_is_kept_and_not_trusted() {
    let cluster = Cluster::start().await.unwrap();
    let second = rule("second", "a", "").replace("NoSchedule}", "NoExecute, value: pending}");
    let once = rule("once", "b", "").replace("continuous", "bootstrap-only");
    let rules = [rule("agent", "a", ""), second, once].join("---");
    cluster.apply(&rules).unwrap();
    // Nobody runs who could have done it.
    install(&cluster, Some(&rules));
    until_born_with(&cluster, "a", &["agent", "second"]).await;
    let (agent, second) = (uid(&cluster, "agent").await, uid(&cluster, "second").await);
    let both = {
        let mut second = record("second", &second);
        second.1["effect"] = "NoExecute".into();
        [record("agent", &agent), second]
    };

    // As a kubelet registers.
    let kubelet = json!({
        "metadata": {
            "name": "kubelet", "labels": { "pool": "a", "kubernetes.io/hostname": "kubelet" },
            "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
        },
        "spec": { "podCIDR": "10.0.0.0/24", "taints": [{ "key": "mine", "effect": "NoSchedule" }] },
        "status": {
            "capacity": { "cpu": "2", "pods": "110" }, "nodeInfo": { "bootID": "b", "kubeletVersion": "v1.36.3" },
            "conditions": [{ "type": "Ready", "status": "False", "reason": "KubeletNotReady" }],
        },
    });
    let node = create(&cluster, kubelet).await.unwrap();
    assert_eq!(taints(&node), set(&["agent", "second"]));
    assert_eq!(records(&node), both);
    assert_eq!(
        taints_in_full(&node),
        [
            "agent:NoSchedule",
            "mine:NoSchedule",
            "node.kubernetes.io/not-ready:NoSchedule",
            "second=pending:NoExecute"
        ]
    );
    assert_eq!(node.annotations().len(), 2);
    let status = node.status.unwrap();
    assert_eq!(status.conditions.unwrap().len(), 1);
    assert_eq!(status.node_info.unwrap().boot_id, "b");
    assert_eq!(node.spec.unwrap().pod_cidr.as_deref(), Some("10.0.0.0/24"));

    // The same key and effect: it is there, with whatever value, and nobody owns it yet.
    let mut tainted = of_pool("tainted", "a");
    let own = json!({ "key": "readiness.k8s.io/agent", "effect": "NoSchedule", "value": "mine" });
    tainted["spec"] =
        json!({ "taints": [own, { "key": "readiness.k8s.io/second", "effect": "NoSchedule" }] });
    let node = create(&cluster, tainted).await.unwrap();
    assert_eq!(records(&node), both[1..]);
    assert_eq!(
        taints_in_full(&node),
        [
            "agent=mine:NoSchedule",
            "node.kubernetes.io/not-ready:NoSchedule",
            "second:NoSchedule",
            "second=pending:NoExecute"
        ]
    );

    // What somebody else wrote where the records are.
    let foreign = r#"[{"key":"readiness.k8s.io/x","effect":"NoSchedule","ruleUID":"u","rule":"x","since":"2026-01-01T00:00:00Z","reason":"R"}]"#;
    for (name, text, kept) in [
        ("empty", "", 0),
        ("none", "[]", 0),
        ("nonsense", "nonsense", 0),
        ("object", "{}", 0),
        ("numbers", "[1]", 0),
        ("half", r#"[{"key":"#, 0),
        ("foreign", foreign, 1),
    ] {
        let mut node = of_pool(name, "a");
        node["metadata"]["annotations"] = json!({ "readiness.node.x-k8s.io/taint-owners": text });
        let node = create(&cluster, node).await.unwrap();
        let found = records(&node);
        assert_eq!(found.len(), 2 + kept, "{name}: {found:?}");
        assert_eq!(found[..2], both, "{name}");
    }

    // It looks like a list of records, and is none: nor is it with another one behind.
    let mut node = of_pool("lookalike", "a");
    node["metadata"]["annotations"] =
        json!({ "readiness.node.x-k8s.io/taint-owners": r#"[{"a":"}]"# });
    let node = create(&cluster, node).await.unwrap();
    assert_eq!(taints(&node), set(&["agent", "second"]));

    // One that comes out of a backup is not new.
    let once = uid(&cluster, "once").await;
    for (name, key, held) in [
        (
            "by-uid",
            format!("readiness.k8s.io/bootstrap-completed-{once}"),
            false,
        ),
        (
            "by-name",
            "readiness.k8s.io/bootstrap-completed-once".to_owned(),
            false,
        ),
        (
            "of-another",
            "readiness.k8s.io/bootstrap-completed-twice".to_owned(),
            true,
        ),
        // The host lets it go, and knows until when.
        (
            "excused",
            "readiness.node.x-k8s.io/break-glass".to_owned(),
            true,
        ),
    ] {
        let mut node = of_pool(name, "b");
        node["metadata"]["annotations"] = json!({ key: "once=2099-01-01T00:00:00Z" });
        let node = create(&cluster, node).await.unwrap();
        assert_eq!(taints(&node).contains("once"), held, "{name}");
        assert_eq!(records(&node).len(), usize::from(held), "{name}");
    }
    let host = cluster.start_host().await.unwrap();
    cluster
        .until_tainted("excused", "readiness.k8s.io/once", false)
        .await
        .unwrap();
    // What is unreadable is put right by adoption.
    cluster
        .until_event("lookalike", "TaintAdopted")
        .await
        .unwrap();
    let nodes = cluster.nodes();
    wait::until_true("both taints have their records", || async {
        let node = nodes.get("lookalike").await?;
        let text = &node.annotations()["readiness.node.x-k8s.io/taint-owners"];
        let read: Result<Vec<Value>, _> = serde_json::from_str(text);
        Ok(read.is_ok_and(|records| records.len() == 2))
    })
    .await
    .unwrap();
    host.terminate().await.unwrap();
}

#[tokio::test]
async fn what_happens_to_a_node_later_is_not_the_gates() {
    let cluster = Cluster::start().await.unwrap();
    let rules = rule("agent", "a", "");
    cluster.apply(&rules).unwrap();
    install(&cluster, Some(&rules));
    until_born_with(&cluster, "a", &["agent"]).await;
    create(&cluster, of_pool("node-1", "b")).await.unwrap();
    create(&cluster, of_pool("node-2", "a")).await.unwrap();
    let plane = &cluster.plane;
    plane
        .kubectl_ok(&["label", "--overwrite", "node", "node-1", "pool=a"])
        .unwrap();
    plane
        .kubectl_ok(&["taint", "node", "node-2", "readiness.k8s.io/agent-"])
        .unwrap();
    plane
        .kubectl_ok(&["annotate", "node", "node-2", "a=b"])
        .unwrap();
    for name in ["node-1", "node-2"] {
        let nodes = cluster.nodes();
        let mut node = nodes.get(name).await.unwrap();
        node.labels_mut().insert("more".to_owned(), "1".to_owned());
        nodes
            .replace(name, &Default::default(), &node)
            .await
            .unwrap();
        cluster.set_condition(name, AGENT, "False").await.unwrap();
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": true } }));
        nodes
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
        let node = nodes.get(name).await.unwrap();
        assert_eq!(taints(&node), set(&[]), "{name}");
    }
}
