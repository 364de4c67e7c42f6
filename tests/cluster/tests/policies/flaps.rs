//! Rules whose answers turn with what the host writes because of them, by a way around the rule's own taint.

use std::sync::{Arc, Mutex};

use cluster_tests::{Cluster, GUIDE_TAINT, NodeSpec, agent_rule, wait, worker};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use planner::rule::Status;
use serde_json::json;

use crate::world::{POLICY, apply, rule, start, until};

const FIRST: (&str, &str) = ("first", "readiness.k8s.io/first");
const SECOND: (&str, &str) = ("second", "readiness.k8s.io/second");

const NODE: &str = "worker";

/// One that asks for what the host itself writes on the node, alone on a node of its own.
const RECORDS: (&str, &str) = ("records", "readiness.k8s.io/records");

/// So many changes of each of the two taints pass; one more is the last.
const CHANGES: usize = 20;

/// Which of the two taints the node had, at each change of that.
type Seen = Arc<Mutex<Vec<[bool; 2]>>>;

/// An annotation that says that the watch has shown all that was before.
const LAST: &str = "last";

/// Watches the node until the runtime ends. The second: has it the annotation?
fn watch(client: Client) -> (Seen, Arc<Mutex<bool>>) {
    let (seen, over) = <(Seen, Arc<Mutex<bool>>)>::default();
    let noted = (Arc::clone(&seen), Arc::clone(&over));
    tokio::spawn(async move {
        let events = watch_objects(Api::<Node>::all(client), watcher::Config::default());
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            let (Event::Apply(node) | Event::InitApply(node)) = event.unwrap() else {
                continue;
            };
            if node.name_any() != NODE {
                continue;
            }
            let carries = |key: &str| {
                let spec = node.spec.iter();
                let mut taints = spec.flat_map(|spec| spec.taints.iter().flatten());
                taints.any(|taint| taint.key == key)
            };
            let carried = [FIRST, SECOND].map(|(_, taint)| carries(taint));
            let mut seen = noted.0.lock().unwrap();
            if seen.last() != Some(&carried) {
                seen.push(carried);
            }
            *noted.1.lock().unwrap() = node.annotations().contains_key(LAST);
        }
    });
    (seen, over)
}

fn with((name, taint): (&str, &str), expression: &str) -> String {
    let named = format!("policy: {{name: {POLICY}}}");
    let policy =
        format!("policy: {{name: {POLICY}, parameters: {{expression: \"{expression}\"}}}}");
    rule(name, taint).replace(&named, &policy)
}

/// The other has nothing to follow any more then; it may have had too many changes itself.
async fn until_caught(cluster: &Cluster, rules: &[(&'static str, &str)]) -> &'static str {
    wait::until("one of the rules says TaintFlaps", || async {
        let mut seen = Vec::new();
        for (name, _) in rules {
            let stored = cluster.rules().get(name).await?;
            let failed = stored.status.iter().flat_map(|told| &told.failed_nodes);
            let said = format!("{:?}", failed.collect::<Vec<_>>());
            let told = said.contains("TaintFlaps: the rule's taint changed ");
            if told && said.contains("it is not asked before 2") {
                return Ok(Ok(*name));
            }
            seen.push(format!("{:?}", stored.status));
        }
        Ok(Err(format!("{seen:?}")))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn rules_that_turn_with_what_the_host_writes_are_stopped_and_others_go_on() {
    let cluster = start().await;
    cluster.create_node(&worker(NODE, false)).await.unwrap();
    let host = cluster.start_host().await.unwrap();
    let module = guest_builder::path("cel-policy").unwrap();
    apply(&cluster, json!({"module": {"file": {"path": module}}})).await;
    until(&cluster, "Ready", Status::True, "Decides").await;
    cluster.apply(&agent_rule("agent", "continuous")).unwrap();
    cluster.until_held(NODE).await;

    let (seen, over) = watch(cluster.client.clone());
    wait::until_true("the watch shows the node", || async {
        Ok(!seen.lock().unwrap().is_empty())
    })
    .await
    .unwrap();
    let has = |taint: &str| format!("hasTaint('{taint}', 'NoSchedule')");
    let rules = [
        with(FIRST, &has(SECOND.1)),
        with(SECOND, &format!("!{}", has(FIRST.1))),
    ];
    cluster.apply(&rules.join("---\n")).unwrap();
    let caught = until_caught(&cluster, &[FIRST, SECOND]).await;

    // Each change of the node has all rules asked again.
    for (status, held) in [("True", false), ("False", true), ("True", false)] {
        cluster.agent_reports(NODE, status).await;
        let followed = cluster.until_tainted(NODE, GUIDE_TAINT, held).await;
        followed.unwrap();
    }
    cluster.until_worked_off().await.unwrap();
    let notes = wait::until("the failure is told", || async {
        let notes = cluster.events(NODE, "PolicyFailed").await?;
        let told = |note: &String| {
            note.contains("TaintFlaps") && note.contains(&format!("of rule '{caught}'"))
        };
        Ok(if notes.iter().any(told) {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        })
    });
    notes.await.unwrap();

    cluster
        .annotate_node(NODE, json!({ LAST: "" }))
        .await
        .unwrap();
    wait::until_true("the watch shows the last change", || async {
        Ok(*over.lock().unwrap())
    })
    .await
    .unwrap();
    let seen = seen.lock().unwrap().clone();
    let turns = |(one, two): (&[bool; 2], &[bool; 2])| {
        let both = one.iter().zip(two);
        both.filter(|(one, two)| one != two).count()
    };
    let changes: usize = seen.iter().zip(&seen[1..]).map(turns).sum();
    assert!(
        (CHANGES..=2 * (CHANGES + 1)).contains(&changes),
        "{changes} changes"
    );

    let alone = NodeSpec {
        name: "alone".to_owned(),
        labels: vec![("alone".to_owned(), "true".to_owned())],
        taints: vec![],
    };
    cluster.create_node(&alone).await.unwrap();
    let records = with(
        RECORDS,
        "hasAnnotation('readiness.node.x-k8s.io/taint-owners')",
    );
    let records = records.replace("node-role.kubernetes.io/worker: ''", "alone: 'true'");
    cluster.apply(&records).unwrap();
    until_caught(&cluster, &[RECORDS]).await;
    host.terminate().await.unwrap();
}
