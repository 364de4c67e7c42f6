//! The bases and overlays, and the static pod.

use cluster_tests::document::shell_blocks;
use cluster_tests::helm::{Helm, conforms, start_pod_of};
use cluster_tests::{Cluster, Host, agent_rule, wait, worker};
use control_plane::{Options, User};
use serde_json::Value;

use crate::{NAMESPACE, RELEASE};

fn get(cluster: &Cluster, object: &str, pointer: &str) -> Value {
    let arguments = ["get", object, "--namespace", NAMESPACE, "--output=json"];
    let text = cluster.plane.kubectl_ok(&arguments).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    object.pointer(pointer).cloned().unwrap_or_default()
}

#[tokio::test]
async fn compat_046_kustomize_is_accepted_and_says_what_the_chart_says() {
    let cluster = Cluster::start().await.unwrap();
    let folder = cli_tests::program::workspace().join("deploy");
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    // The webhook, which is applied last, is not reached in this network.
    for overlay in ["base", "metrics", "gate", "webhook"] {
        let path = folder.join("kustomize").join(overlay);
        let path = path.display().to_string();
        let built = cluster.plane.kubectl_ok(&["kustomize", &path]).unwrap();
        let manifests = cluster.plane.folder().join("kustomized.yaml");
        std::fs::write(&manifests, built).unwrap();
        let said = conforms(&cluster, &manifests).await.unwrap();
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
    let helm = Helm::new(&cluster).unwrap();
    let chart = Helm::chart().display().to_string();
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE];
    helm.run(&cluster, &install).await.unwrap();
    let container = "/spec/template/spec/containers/0";
    for (object, pointer) in [
        ("clusterrole/NAME-manager-role", "/rules".to_owned()),
        ("role/NAME-leader-election-role", "/rules".to_owned()),
        ("role/NAME-policy-modules-role", "/rules".to_owned()),
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

    // As deploy/README.md says; nobody here removes a namespace.
    let lines = shell_blocks("deploy/README.md").unwrap();
    let [commands] = &lines[..] else {
        panic!("{lines:?}")
    };
    // The overlay that was applied last.
    let applied = commands.replace("kustomize/base", "kustomize/webhook");
    assert_ne!(applied, *commands);
    let commands = format!("{} --wait=false", applied.trim_end());
    let workspace = cli_tests::program::workspace();
    let said = helm.shell(&cluster, &commands, &workspace).await.unwrap();
    assert!(said.contains("rule/agent: finalizer removed\n"), "{said}");
    assert!(
        said.contains("nodereadinessrules.readiness.node.x-k8s.io\" deleted"),
        "{said}"
    );
    cluster.until_released("node-1").await;
    // It would refuse every rule of a later installation.
    let webhooks = cluster.webhooks().list(&Default::default()).await.unwrap();
    assert_eq!(webhooks.items.len(), 0, "{webhooks:?}");
    wait::until_true("the definition is gone", || async {
        let arguments = ["get", "crd", "--output=name"];
        Ok(!cluster
            .plane
            .kubectl_ok(&arguments)?
            .contains("nodereadinessrules"))
    })
    .await
    .unwrap();
}

/// The kubeconfig is where the node has it; the rest is the pod's own.
#[tokio::test]
async fn compat_046_the_static_pod_works_with_its_own_rights() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let user = "node-readiness-host";
    let options = Options {
        users: vec![User::new(user)],
        ..Options::default()
    };
    let cluster = Cluster::start_with(&assets, &options).await.unwrap();
    cluster.create_node(&worker("node-1", false)).await.unwrap();
    let file = |name: &str| {
        let folder = cli_tests::program::workspace().join("deploy/static-pod");
        folder.join(name).display().to_string()
    };
    let kubectl = |arguments: &[&str], name: &str| {
        let last = format!("--filename={}", file(name));
        let strict = ["--validate=strict", &last];
        cluster
            .plane
            .kubectl_ok(&[arguments, &strict].concat())
            .unwrap()
    };
    kubectl(&["apply"], "rbac.yaml");
    let pod = kubectl(
        &["create", "--dry-run=server", "--output=json"],
        "node-readiness-host.yaml",
    );
    let pod: Value = serde_json::from_str(&pod).unwrap();
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["/manager"]));
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments: Vec<&str> = arguments
        .map(|argument| argument.as_str().unwrap())
        .collect();
    let mounted = "--kubeconfig=/etc/kubernetes/node-readiness-host.conf";
    let (kubeconfig, others): (Vec<&str>, Vec<&str>) = arguments
        .into_iter()
        .partition(|argument| *argument == mounted);
    assert_eq!(kubeconfig, [mounted]);
    // Others on this machine use that port.
    let health = "--health-probe-bind-address=127.0.0.1:0";
    let kubeconfig = cluster.plane.kubeconfig_for(user).unwrap();
    let cache = cluster.plane.folder().join("policy-cache");
    let cache = format!("--policy-cache={}", cache.display());
    let arguments = [&others[..], &[health, &cache]].concat();
    let host = Host::start(&kubeconfig, &cluster.new_log(), &arguments)
        .await
        .unwrap();
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held("node-1").await;
    cluster.agent_reports("node-1", "True").await;
    cluster.until_released("node-1").await;
    cluster.until_event("node-1", "TaintRemoved").await.unwrap();
    let log = host.log().unwrap();
    assert!(!log.contains("forbidden"), "{log}");
    host.terminate().await.unwrap();
}
