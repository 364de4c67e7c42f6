//! The bases and overlays, and the static pod.

use cluster_tests::helm::{Helm, conforms, start_pod_of};
use cluster_tests::{Cluster, agent_rule, wait, worker};
use serde_json::Value;

use crate::{NAMESPACE, RELEASE};

fn get(cluster: &Cluster, object: &str, pointer: &str) -> Value {
    let arguments = ["get", object, "--namespace", NAMESPACE, "--output=json"];
    let text = cluster.plane.kubectl_ok(&arguments).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    object.pointer(pointer).cloned().unwrap_or_default()
}

#[tokio::test]
async fn compat_046_kustomize_and_the_static_pod_are_accepted_and_say_what_the_chart_says() {
    let cluster = Cluster::start().await.unwrap();
    let folder = cli_tests::program::workspace().join("deploy");
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    // The webhook, which is applied last, is not reached in this network.
    for overlay in ["base", "metrics", "webhook"] {
        let path = folder.join("kustomize").join(overlay);
        let path = path.display().to_string();
        let built = cluster.plane.kubectl_ok(&["kustomize", &path]).unwrap();
        let manifests = cluster.plane.folder().join("kustomized.yaml");
        std::fs::write(&manifests, built).unwrap();
        let said = conforms(&cluster, &manifests).unwrap();
        assert!(said.contains("Invalid: 0, Errors: 0"), "{overlay}: {said}");
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--kustomize",
            &path,
        ];
        cluster.plane.kubectl_ok(&apply).unwrap();
        if overlay == "base" {
            cluster.apply(&agent_rule("agent", "continuous")).unwrap();
        }
    }
    let pod = folder.join("static-pod/node-readiness-host.yaml");
    let pod = pod.display().to_string();
    let create = [
        "create",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        &pod,
    ];
    cluster.plane.kubectl_ok(&create).unwrap();

    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE];
    helm.run(&cluster, &install).await.unwrap();
    let container = "/spec/template/spec/containers/0";
    for (object, pointer) in [
        ("clusterrole/NAME-manager-role", "/rules".to_owned()),
        ("role/NAME-leader-election-role", "/rules".to_owned()),
        ("deployment/NAME-manager", format!("{container}/command")),
        ("deployment/NAME-manager", format!("{container}/image")),
        ("deployment/NAME-manager", format!("{container}/resources")),
        (
            "deployment/NAME-manager",
            format!("{container}/securityContext"),
        ),
        (
            "deployment/NAME-manager",
            format!("{container}/livenessProbe"),
        ),
        (
            "deployment/NAME-manager",
            "/spec/template/spec/securityContext".to_owned(),
        ),
        (
            "deployment/NAME-manager",
            "/spec/template/spec/tolerations".to_owned(),
        ),
    ] {
        let named = |name| get(&cluster, &object.replace("NAME", name), &pointer);
        let kustomized = named("node-readiness-controller");
        assert!(!kustomized.is_null(), "{object} {pointer}");
        assert_eq!(
            kustomized,
            named("nrc-node-readiness-controller"),
            "{object} {pointer}"
        );
    }

    let deployment = "node-readiness-controller-manager";
    let arguments = ["--webhook-bind-address=127.0.0.1:0"];
    let host = start_pod_of(&cluster, NAMESPACE, deployment, &arguments).await;
    let host = host.unwrap();
    // Its finalizer is no change of the rule's spec, and so the webhook is not asked.
    cluster.until_held("node-1").await;
    let configuration = "validatingwebhookconfiguration/node-readiness-webhook";
    wait::until_true("the API server is told whom to trust", || async {
        let bundle = get(&cluster, configuration, "/webhooks/0/clientConfig/caBundle");
        Ok(!bundle.is_null())
    })
    .await
    .unwrap();
    let log = host.log().unwrap();
    assert!(!log.contains("forbidden"), "{log}");
    host.terminate().await.unwrap();
}
