//! Reporters that act as their nodes.

use cluster_tests::endpoint::Endpoint;
use control_plane::Options;
use guide_tests::Guide;

use crate::{linux_worker, page, pod};

#[tokio::test]
async fn reporters_that_act_as_their_nodes() {
    let assets = control_plane::assets(&mut |_| {}).unwrap();
    let arguments = [
        "--authorization-mode=Node",
        "--enable-admission-plugins=NodeRestriction",
    ];
    let options = Options {
        apiserver_args: arguments.map(str::to_owned).into(),
        ..Options::default()
    };
    let mut guide = Guide::start_with(&assets, &options).await.unwrap();
    guide.host = Some(guide.cluster.start_host().await.unwrap());
    let agent = Endpoint::start().await.unwrap();
    agent.set_ready(true);
    for name in ["worker-1", "worker-2"] {
        guide.join(&linux_worker(name, None)).await.unwrap();
    }
    let (mut page, shell) = page("constrained-impersonation", &guide.cluster);
    let url = agent.url("");
    let replaced = [("http://localhost:8080", url.as_str())];
    let (tried, _one, _two) = tokio::join!(
        page.section("Try it", &shell),
        pod::start_reporter(&guide, "reporter", "worker-1", &replaced, &[]),
        pod::start_reporter(&guide, "reporter", "worker-2", &replaced, &[])
    );
    tried.unwrap();
    page.section("What it may do", &shell).await.unwrap();
    page.section("What it may not do", &shell).await.unwrap();
    page.end().unwrap();
}
