//! The Go controller's definition in the place of ours, and what it leaves behind in a cluster.

use cluster_tests::{AGENT, Cluster, agent_rule, wait, worker};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::observer;

/// Our definition without the fields that only we have.
pub async fn install(cluster: &Cluster) {
    let crds = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    let name = "nodereadinessrules.readiness.node.x-k8s.io";
    let mut crd = serde_json::to_value(crds.get(name).await.unwrap()).unwrap();
    let version = &mut crd["spec"]["versions"][0];
    let columns = version["additionalPrinterColumns"].as_array_mut().unwrap();
    columns.retain(|column| column["priority"].as_i64().unwrap_or_default() == 0);
    let schema = &mut version["schema"]["openAPIV3Schema"]["properties"];
    for field in ["policy", "suspend", "replaces", "budget"] {
        remove(&mut schema["spec"], field);
    }
    for field in ["conditions", "nodes", "truncated"] {
        remove(&mut schema["status"], field);
    }
    let evaluations = &mut schema["status"]["properties"]["nodeEvaluations"];
    remove(&mut evaluations["items"], "message");
    let crd = serde_json::from_value(crd).unwrap();
    crds.replace(name, &PostParams::default(), &crd)
        .await
        .unwrap();
    wait::until_true("the other definition is in force", || async {
        let mut rule: Value = json!({
            "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
            "metadata": { "name": "probe" },
            "spec": {
                "conditions": [{ "type": "A", "requiredStatus": "True" }],
                "taint": { "key": "readiness.k8s.io/a", "effect": "NoSchedule" },
                "enforcementMode": "continuous", "nodeSelector": {},
            },
        });
        rule["spec"]["suspend"] = json!(true);
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let rule = serde_json::from_value(rule)?;
        Ok(cluster
            .rules()
            .create(&parameters, &rule)
            .await?
            .spec
            .suspend
            .is_none())
    })
    .await
    .unwrap();
}

fn remove(schema: &mut Value, field: &str) {
    let removed = schema["properties"].as_object_mut().unwrap().remove(field);
    assert!(removed.is_some(), "{field}");
}

/// Our fields are dropped there: a status is compared with what is stored, or it is written for ever.
#[tokio::test]
async fn compat_011_with_the_other_definition_nothing_is_written_without_end() {
    let cluster = Cluster::start().await.unwrap();
    install(&cluster).await;
    for name in ["node-1", "node-2"] {
        cluster.create_node(&worker(name, false)).await.unwrap();
    }
    let proxy = observer(&cluster).await;
    let mut host = proxy.start_host(&cluster).await.unwrap();
    cluster.apply(&agent_rule("quiet", "continuous")).unwrap();
    let busy = agent_rule("busy", "continuous").replace("security-agent-ready", "busy");
    cluster
        .apply(&busy.replace(AGENT, "example.com/Busy"))
        .unwrap();
    cluster.until_held("node-1").await;
    let listed = |rule: &'static str, is: fn(&Value) -> bool| {
        cluster.until_status(rule, "it is as it should", move |status| is(&json!(status)))
    };
    let both = |status: &Value| status["appliedNodes"] == json!(["node-1", "node-2"]);
    let before = listed("quiet", both).await.unwrap();
    let status = before.status.clone().unwrap();
    assert!(
        status.conditions.is_empty() && status.nodes.is_none(),
        "{status:?}"
    );
    let quiet = "/apis/readiness.node.x-k8s.io/v1alpha1/nodereadinessrules/quiet/status";
    let writes = proxy.count("PATCH", quiet);
    // The other rule's status is written, at most once a second: more than enough time to go round.
    for number in 0..3 {
        let (status, is): (_, fn(&Value) -> bool) = if number % 2 == 0 {
            ("True", |status| {
                status["nodeEvaluations"][0]["taintStatus"] == "Absent"
            })
        } else {
            ("False", |status| {
                status["nodeEvaluations"][0]["taintStatus"] == "Present"
            })
        };
        cluster
            .set_condition("node-1", "example.com/Busy", status)
            .await
            .unwrap();
        listed("busy", is).await.unwrap();
    }
    let after = cluster.rules().get("quiet").await.unwrap();
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
    assert_eq!(proxy.count("PATCH", quiet), writes);
    // Who looks into the log is told, once.
    host.until_logged("host crd").await.unwrap();
    let log = host.log().unwrap();
    assert_eq!(
        log.matches("another definition of NodeReadinessRule")
            .count(),
        1,
        "{log}"
    );
    // And it works: completions, release, deletion.
    cluster.delete_rule("quiet").await.unwrap();
    cluster.until_released("node-2").await;
    host.terminate().await.unwrap();
}
