//! The agent that its own taint keeps away.

use cluster_tests::endpoint::Endpoint;
use cluster_tests::wait;
use cluster_tests::webhook::{Authority, Folder};
use guide_tests::Guide;

use crate::{linux_worker, page, pod};

#[tokio::test]
async fn a_deadlock_is_built_noticed_and_mended() {
    let mut guide = Guide::start_without_host().await.unwrap();
    let authority = Authority::new().unwrap();
    let folder = Folder::with(&authority.sign(90).unwrap()).unwrap();
    let cluster = &guide.cluster;
    let (mut host, address) = (cluster
        .start_webhook(&cluster.kubeconfig(), &folder, &[])
        .await)
        .unwrap();
    host.until_logged("caches are synced").await.unwrap();
    (cluster
        .configure_webhook(address, Some(&authority.pem))
        .await)
        .unwrap();
    cluster.until_asked().await.unwrap();
    guide.host = Some(host);

    let agent = Endpoint::start().await.unwrap();
    let (mut page, shell) = page("deadlock", &guide.cluster);
    // The node joins when the rule is there, with its taint: else the DaemonSet controller, to which a node is worth
    // a pod before it is Ready, may be faster than the host.
    let mut node = linux_worker("worker-1", None);
    let taint = ["readiness.k8s.io/agent", "pending", "NoSchedule"];
    node.taints.push(taint.map(str::to_owned).into());
    let joined = async {
        let rules = guide.cluster.rules();
        let exists = || async { Ok(rules.get_opt("agent").await?.is_some()) };
        wait::until_true("the rule is there", exists).await.unwrap();
        guide.join(&node).await.unwrap();
    };
    let (built, ()) = tokio::join!(page.section("Build it", &shell), joined);
    built.unwrap();
    page.section("Notice it", &shell).await.unwrap();
    agent.set_ready(true);
    let url = agent.url("");
    let replaced = [("http://localhost:8080", url.as_str())];
    let (mended, _reporter) = tokio::join!(
        page.section("Mend it", &shell),
        pod::start_reporter(&guide, "agent", "worker-1", &replaced, &[])
    );
    mended.unwrap();
    page.section("What is looked at", &shell).await.unwrap();
    page.end().unwrap();
}
