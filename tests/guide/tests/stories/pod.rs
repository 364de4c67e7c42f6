//! What a kubelet would do for the pod of a DaemonSet: start its reporter, with its variables and its token.

use std::fs;
use std::path::PathBuf;

use cluster_tests::{Reporter, Settings};
use guide_tests::{Guide, node_of};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;

/// The label `app` of a DaemonSet's pods is its name, in all stories.
const NAMESPACE: &str = "kube-system";

/// The pod of a DaemonSet that the scheduler bound to a node.
pub async fn on_node(guide: &Guide, daemon_set: &str, node: &str) -> Pod {
    let pods = guide.pods(NAMESPACE, &format!("app={daemon_set}"));
    let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    let bound =
        |pod: &Pod| (node_of(pod).as_deref() == Some(node) && stays(pod)).then(|| pod.clone());
    pods.until(&format!("is bound to {node}"), bound)
        .await
        .unwrap()
}

/// Starts the reporter of the pod that a DaemonSet has on a node. In its variables some texts are replaced, for what
/// is elsewhere in a test; and it does not wait as long from one check to the next.
pub async fn start_reporter(
    guide: &Guide,
    daemon_set: &str,
    node: &str,
    replaced: &[(&str, &str)],
    more: &[(&str, &str)],
) -> Reporter {
    let pod = on_node(guide, daemon_set, node).await;
    let spec = pod.spec.as_ref().unwrap();
    let is_reporter =
        |container: &&Container| container.command.as_deref() == Some(&["/reporter".to_owned()]);
    let container = spec.containers.iter().find(is_reporter).unwrap();
    let mut settings = Settings::bare();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), None) => value.replace("$(NODE_NAME)", node),
            (None, Some(source)) => {
                let field = source.field_ref.as_ref().unwrap();
                assert_eq!(field.field_path, "spec.nodeName");
                node.to_owned()
            }
            other => panic!("{}: {other:?}", variable.name),
        };
        for (text, _) in replaced {
            let somewhere = container.env.iter().flatten();
            let mut values = somewhere.filter_map(|variable| variable.value.as_deref());
            assert!(values.any(|value| value.contains(text)), "{text}");
        }
        let value =
            (replaced.iter()).fold(value, |value, (text, other)| value.replace(text, other));
        settings = settings.set(&variable.name, value);
    }
    let settings = (more.iter()).fold(settings, |settings, (name, value)| {
        settings.set(name, *value)
    });
    let cluster = &guide.cluster;
    let folder = mounted(guide, &pod);
    let start = |settings: &Settings| {
        let (server, log) = (cluster.server().unwrap(), cluster.new_log());
        Reporter::start_with(&folder, &server, &log, settings).unwrap()
    };
    // Nothing in the manifest is wrong: what cannot be read is logged before the first check.
    let mut as_written = start(&settings);
    let begun = format!(" of node {node}: ");
    as_written.until_logged(&begun).await.unwrap();
    let log = as_written.log().unwrap();
    assert!(!log.contains(" is taken"), "{log}");
    as_written.terminate().await.unwrap();
    start(&settings.set("CHECK_INTERVAL", "250ms"))
}

/// What is mounted for the pod's ServiceAccount: a token that is bound to the pod, and the authority.
fn mounted(guide: &Guide, pod: &Pod) -> PathBuf {
    let plane = &guide.cluster.plane;
    let account = pod
        .spec
        .as_ref()
        .unwrap()
        .service_account_name
        .clone()
        .unwrap();
    let token = plane.kubectl_ok(&[
        "create",
        "token",
        &account,
        "--namespace",
        NAMESPACE,
        "--bound-object-kind=Pod",
        "--bound-object-name",
        &pod.name_any(),
        "--bound-object-uid",
        &pod.uid().unwrap(),
    ]);
    let authority = "jsonpath={.clusters[0].cluster.certificate-authority}";
    let authority = plane.kubectl_ok(&["config", "view", "--raw", "--output", authority]);
    let folder = plane.folder().join(format!("mounted-{}", pod.name_any()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("token"), token.unwrap().trim()).unwrap();
    fs::copy(authority.unwrap(), folder.join("ca.crt")).unwrap();
    folder
}
