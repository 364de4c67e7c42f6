//! `host eval` beside a live cluster: it reads, writes nothing, and refuses what that refuses.

use std::process::Command;

use cluster_tests::{Cluster, agent_rule, host_program, worker};

#[tokio::test]
async fn without_node_files_the_nodes_of_the_cluster_are_evaluated_and_left_alone() {
    let cluster = Cluster::start().await.unwrap();
    cluster.create_node(&worker("held", false)).await.unwrap();
    cluster.create_node(&worker("ready", true)).await.unwrap();
    cluster.agent_reports("ready", "True").await;
    let versions = || async {
        let nodes = cluster.nodes().list(&Default::default()).await.unwrap();
        nodes
            .into_iter()
            .map(|node| node.metadata.resource_version)
            .collect::<Vec<_>>()
    };
    let before = versions().await;
    let rule = cluster.plane.folder().join("rule.yaml");
    std::fs::write(&rule, agent_rule("agent", "continuous")).unwrap();
    let output = Command::new(host_program().unwrap())
        .arg("eval")
        .arg("--rule")
        .arg(&rule)
        .args(["-o", "json"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = result["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|one| (one["node"].as_str(), one["action"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("held"), Some("AddTaint")),
            (Some("ready"), Some("RemoveTaint"))
        ]
    );
    assert_eq!(versions().await, before, "a node was written");
}

#[tokio::test]
async fn a_node_of_a_file_is_refused_where_the_api_server_refuses_it() {
    let cluster = Cluster::start().await.unwrap();
    let folder = cluster.plane.folder();
    let [rule, file] =
        ["rule.yaml", "node.yaml"].map(|name| folder.join(name).display().to_string());
    std::fs::write(&rule, agent_rule("agent", "continuous")).unwrap();
    let longest = "k".repeat(63);
    for (metadata, status, sound) in [
        (
            format!("name: a.b-c.9, labels: {{example.com/A_b.c: '', {longest}: {longest}}}"),
            "'Maybe'",
            true,
        ),
        ("name: Worker".to_owned(), "'True'", false),
        ("name: a..b".to_owned(), "'True'", false),
        ("name: 12".to_owned(), "'True'", false),
        ("name: a, labels: {a b: c}".to_owned(), "'True'", false),
        ("name: a, labels: {Ex.com/b: c}".to_owned(), "'True'", false),
        ("name: a, labels: {a: -b}".to_owned(), "'True'", false),
        (
            format!("name: a, labels: {{a: {longest}k}}"),
            "'True'",
            false,
        ),
        ("name: a, labels: {a: true}".to_owned(), "'True'", false),
        ("name: a".to_owned(), "True", false),
    ] {
        let node = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{{metadata}}}\nstatus: {{conditions: [{{type: A, status: {status}}}]}}\n"
        );
        std::fs::write(&file, &node).unwrap();
        let kubectl = cluster
            .plane
            .kubectl(&["create", "--dry-run=server", "-f", &file])
            .unwrap();
        assert_eq!(
            kubectl.status.success(),
            sound,
            "{node}{}",
            String::from_utf8_lossy(&kubectl.stderr)
        );
        let eval = cli_tests::program::host(["eval", "--rule", &rule, "--node", &file]).unwrap();
        assert_eq!(
            eval.status,
            if sound { 0 } else { 2 },
            "{node}{}",
            eval.stderr
        );
    }
}
