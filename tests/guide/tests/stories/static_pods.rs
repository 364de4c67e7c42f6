//! Static pods, as the scheduler sees them.

use cluster_tests::Cluster;
use cluster_tests::helm::kubeconfig_of;
use guide_tests::Guide;
use serde_json::json;

use crate::{linux_worker, page, pod};

/// A kubelet tells the API of a static pod that it runs.
fn mirror(cluster: &Cluster, name: &str, node: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-{node}"), "namespace": "kube-system",
            "annotations": {"kubernetes.io/config.mirror": name, "kubernetes.io/config.source": "file"}},
        "spec": {
            "nodeName": node, "hostNetwork": true,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": name, "image": name}]}});
    cluster.apply(&pod.to_string()).unwrap();
}

#[tokio::test]
async fn the_static_pods_of_a_node() {
    let guide = Guide::start().await.unwrap();
    guide.join(&linux_worker("worker-1", None)).await.unwrap();
    let (mut page, shell) = page("static-pods", &guide.cluster);
    // What is run from a volume may be mounted noexec.
    let manifest = "examples/static-pods/reporter.yaml";
    let manifest = std::fs::read_to_string(cli_tests::program::workspace().join(manifest)).unwrap();
    assert!(!manifest.contains("volume"), "{manifest}");
    mirror(&guide.cluster, "node-proxy", "worker-1");
    let kubectl = guide.cluster.plane.kubectl_command();
    let replaced = [("/kubectl", kubectl.get_program().to_str().unwrap())];
    let started = async {
        pod::on_node(&guide, "static-pods-reporter", "worker-1").await;
        // In a pod kubectl finds its token where the reporter does.
        let kubeconfig = kubeconfig_of(&guide.cluster, "kube-system", "static-pods-reporter");
        let home = guide.cluster.plane.folder().join("home");
        let more = [
            ("KUBECONFIG", kubeconfig.unwrap().display().to_string()),
            // Without one kubectl remembers what it found in the folder that it is started in.
            ("HOME", home.display().to_string()),
        ];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        pod::start_reporter(&guide, "static-pods-reporter", "worker-1", &replaced, &more).await
    };
    let (tried, _reporter) = tokio::join!(page.section("Try it", &shell), started);
    tried.unwrap();
    mirror(&guide.cluster, "node-logs", "worker-1");
    page.section("When both are there", &shell).await.unwrap();
    page.end().unwrap();
}
