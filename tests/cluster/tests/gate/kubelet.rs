//! The gate where kubelets create their nodes themselves: with the Node authorizer and NodeRestriction, as in a
//! real cluster.

use cluster_tests::{AGENT, Cluster, GUIDE_TAINT, agent_rule};
use control_plane::{Options, User};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::{install, of_pool, records, rule, set, taints, until_born_with};

const NODE: &str = "node-1";
const KUBELET: &str = "system:node:node-1";
const WORKER: &str = "node-role.kubernetes.io/worker";

/// A cluster like that, and what the kubelet of `node-1` may do in it.
async fn with_kubelet() -> (Cluster, Api<Node>) {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let kubelet = User {
        name: KUBELET.to_owned(),
        groups: vec!["system:nodes".to_owned()],
    };
    let options = Options {
        users: vec![kubelet],
        apiserver_args: vec![
            // After RBAC, which is there already.
            "--authorization-mode=Node".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
        ],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    let file = cluster.plane.kubeconfig_for(KUBELET).unwrap();
    let file = kube::config::Kubeconfig::read_from(file).unwrap();
    let config = Config::from_custom_kubeconfig(file, &Default::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    (cluster, Api::all(client))
}

async fn register(kubelet: &Api<Node>, node: Value) -> kube::Result<Node> {
    let node: Node = serde_json::from_value(node).unwrap();
    kubelet.create(&PostParams::default(), &node).await
}

fn refusal(answer: kube::Result<Node>) -> String {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => status.message.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_kubelet_creates_its_node_with_the_taint_and_cannot_take_it_off() {
    let (cluster, kubelet) = with_kubelet().await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&rule("agent", "a", "")).unwrap();
    install(&cluster, None);
    until_born_with(&cluster, "a", &["agent"]).await;

    // It is nobody else.
    let refused = refusal(register(&kubelet, of_pool("node-2", "a")).await);
    assert!(refused.contains("node-1"), "{refused}");
    let node = register(&kubelet, of_pool(NODE, "a")).await.unwrap();
    assert_eq!(taints(&node), set(&["agent"]));
    assert_eq!(records(&node).len(), 1);
    let free = Patch::Merge(json!({ "spec": { "taints": [] } }));
    let refused = refusal(kubelet.patch(NODE, &PatchParams::default(), &free).await);
    assert!(
        refused.contains("is not allowed to modify taints"),
        "{refused}"
    );

    // It reports, and the host releases it.
    let now = jiff::Timestamp::now().to_string();
    let condition = json!({ "type": AGENT, "status": "True", "reason": "Ready", "message": "",
                            "lastHeartbeatTime": now, "lastTransitionTime": now });
    let report = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    kubelet
        .patch_status(NODE, &PatchParams::default(), &report)
        .await
        .unwrap();
    let released = cluster
        .until_tainted(NODE, "readiness.k8s.io/agent", false)
        .await;
    released.unwrap();
    host.terminate().await.unwrap();
}

/// What docs/gate-at-birth.md says of the guide's rule.
#[tokio::test]
async fn by_the_guides_label_a_kubelet_is_refused_and_by_a_taint_of_its_own_it_is_held() {
    let (cluster, kubelet) = with_kubelet().await;
    let host = cluster.start_host().await.unwrap();
    cluster.apply(&agent_rule("guide", "continuous")).unwrap();
    install(&cluster, None);
    let mut node = json!({ "metadata": { "name": NODE, "labels": { WORKER: "" } } });
    let refused = refusal(register(&kubelet, node.clone()).await);
    let says = format!("is not allowed to set the following labels: {WORKER}");
    assert!(refused.contains(&says), "{refused}");

    // As by --register-with-taints. Somebody else labels it then.
    node["metadata"]["labels"] = json!({});
    node["spec"] = json!({ "taints": [{ "key": GUIDE_TAINT, "effect": "NoSchedule" }] });
    register(&kubelet, node).await.unwrap();
    let label = Patch::Merge(json!({ "metadata": { "labels": { WORKER: "" } } }));
    let refused = refusal(kubelet.patch(NODE, &PatchParams::default(), &label).await);
    assert!(
        refused.contains("is not allowed to modify labels"),
        "{refused}"
    );
    let nodes = cluster.nodes();
    nodes
        .patch(NODE, &PatchParams::default(), &label)
        .await
        .unwrap();
    cluster.until_event(NODE, "TaintAdopted").await.unwrap();
    cluster.until_held(NODE).await;
    host.terminate().await.unwrap();
}
