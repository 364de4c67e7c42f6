//! Several agents, with allOf and anyOf.

use cluster_tests::Cluster;

use crate::{join_alone, linux_worker, page};

#[tokio::test]
async fn several_agents() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    join_alone(&cluster, &linux_worker("worker-1", None)).await;
    let (mut page, shell) = page("several-agents", &cluster);
    for section in ["All of them", "One of them", "Without a cluster"] {
        page.section(section, &shell).await.unwrap();
    }
    page.end().unwrap();
    let wrong = shell
        .run("examples/several-agents/report.sh worker-1")
        .await;
    assert!(wrong.unwrap_err().to_string().contains("usage: report.sh"));
    host.terminate().await.unwrap();
}
