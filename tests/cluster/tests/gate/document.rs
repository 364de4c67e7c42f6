//! What docs/gate-at-birth.md tells a reader to type works, in its order.

use std::path::Path;

use cluster_tests::{Cluster, host_program};

use crate::{rule, until_born_with};

#[tokio::test]
async fn the_commands_of_the_page_work() {
    let cluster = Cluster::start().await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let rule = rule("agent", "a", "");
    cluster.apply(&rule).unwrap();
    let text = include_str!("../../../../docs/gate-at-birth.md");
    let blocks = text.split("```sh\n").skip(1);
    let lines = blocks.map(|block| block.split("```").next().unwrap());
    let mut said = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rule.yaml"), rule).unwrap();
    for line in lines {
        let line = format!("cd {} && {line}", folder.path().display());
        let program = host_program()
            .unwrap()
            .parent()
            .map(Path::to_owned)
            .unwrap();
        let output = cluster.plane.shell(&line, &[&program]).unwrap();
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {problems}");
        said.push(String::from_utf8(output.stdout).unwrap());
        let held: &[&str] = if said.len() < 4 { &["agent"] } else { &[] };
        until_born_with(&cluster, "a", held).await;
    }
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[1].contains(r#""status":"True","type":"HoldsNewNodes""#),
        "{}",
        said[1]
    );
    host.terminate().await.unwrap();
}
