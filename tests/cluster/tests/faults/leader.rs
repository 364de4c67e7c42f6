//! Two hosts of which one leads; the leader is killed after each of its writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use cluster_tests::proxy::Proxy;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::killed::{At, Write};
use crate::play::{self, Hosts, view};
use crate::scene::Scene;
use crate::stage::{Part, Stage};
use crate::stories;
use crate::story::Story;

/// A lease of their own needs a namespace of its own.
async fn namespace(part: &Part) -> anyhow::Result<String> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(part.named("lease")),
            labels: Some(BTreeMap::from_iter(part.labels())),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespaces = Api::all(part.cluster.client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(part.named("lease"))
}

async fn play(
    stage: &Stage,
    story: &Story,
    kill_after: Option<Write>,
    expected: Option<&[Scene]>,
) -> anyhow::Result<(Vec<Scene>, Vec<Write>, bool)> {
    let part = stage.part();
    let namespace = namespace(&part).await?;
    let at = Arc::new(At::new(&part, kill_after));
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let pid = Arc::new(AtomicU32::default());
        let client = stage.cluster.client.clone();
        let proxy = Proxy::start_view(client, at.hook(&pid), view(&part)).await?;
        let mut flags: Vec<String> = story.flags.iter().map(ToString::to_string).collect();
        flags.push("--leader-elect".to_owned());
        flags.push(format!("--leader-election-namespace={namespace}"));
        hosts.push(Hosts::start(Arc::clone(&stage.cluster), proxy, pid, flags));
    }
    let scenes = story.play(&part, expected, |step| at.step(step)).await;
    for host in hosts {
        host.stop().await?;
    }
    let scenes = scenes?;
    part.clear().await?;
    Ok((scenes, at.writes(), at.killed()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_converge_when_the_leader_is_killed_after_any_write() {
    let stage = Stage::start().await;
    let story = stories::continuous_rule();
    let (scenes, writes, _) = play(&stage, &story, None, None).await.unwrap();
    // Who takes the lease and dies has not begun yet.
    assert!(
        writes.iter().any(|write| write.what.contains("leases")),
        "{writes:?}"
    );
    let plays = writes.iter().map(|write| {
        let (stage, story, scenes) = (&stage, &story, &scenes);
        async move {
            let played = play(stage, story, Some(write.clone()), Some(scenes)).await;
            let (_, _, killed) =
                played.map_err(|error| format!("killed after {write}: {error:#}"))?;
            Ok(killed)
        }
    });
    let killed = play::all(plays).await;
    let killed = killed.into_iter().filter(|killed| *killed).count();
    println!("{killed} leaders killed after {} writes", writes.len());
    assert!(writes.len() > 10 && killed + 6 >= writes.len());
}
