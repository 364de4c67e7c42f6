//! Stories that are told the same way every time, and what the cluster looks like after each scene.

use std::collections::BTreeMap;

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::{Cluster, GUIDE_TAINT, agent_rule, wait, worker};
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

/// What is in the cluster, without what differs each time: times, versions, UIDs.
pub type Scene = BTreeMap<String, Value>;

type Step = for<'a> fn(&'a Cluster) -> BoxFuture<'a, anyhow::Result<()>>;
type Settled = for<'a> fn(&'a Scene) -> bool;

/// Steps, each with what is true when it has come to rest.
pub struct Story(Vec<(Step, Settled)>);

impl Story {
    /// Plays it, and returns what the cluster looked like after each step. Where it is known what it
    /// shall look like, waits for exactly that.
    pub async fn play(
        &self,
        cluster: &Cluster,
        expected: Option<&Vec<Scene>>,
    ) -> anyhow::Result<Vec<Scene>> {
        let mut scenes = Vec::new();
        for (index, (step, settled)) in self.0.iter().enumerate() {
            step(cluster).await?;
            let wanted = expected.and_then(|scenes| scenes.get(index));
            let what = format!("scene {index}, expected {wanted:#?}");
            let scene = wait::until(&what, || async {
                let scene = scene(cluster).await?;
                let there = wanted.map_or_else(|| settled(&scene), |wanted| *wanted == scene);
                Ok(if there {
                    Ok(scene)
                } else {
                    Err(format!("{scene:#?}"))
                })
            });
            scenes.push(scene.await?);
        }
        Ok(scenes)
    }

    /// Removes what the story left behind.
    pub async fn clear(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for node in cluster.nodes().list(&Default::default()).await? {
            cluster
                .nodes()
                .delete(&node.name_any(), &DeleteParams::default())
                .await?;
        }
        anyhow::ensure!(
            cluster
                .rules()
                .list(&Default::default())
                .await?
                .items
                .is_empty()
        );
        Ok(())
    }
}

/// A node is held until it is ready once; one that is ready is only recorded; the rule goes.
pub fn bootstrap() -> Story {
    Story(vec![
        (
            |cluster| {
                Box::pin(async move {
                    for name in ["early", "late"] {
                        cluster.create_node(&worker(name, false)).await?;
                    }
                    cluster
                        .set_condition("early", "example.com/AgentReady", "True")
                        .await?;
                    cluster.apply(&agent_rule("agent", "bootstrap-only"))?;
                    Ok(())
                })
            },
            |scene| tainted(scene) == ["late"] && counts(scene, 1, 2),
        ),
        (
            |cluster| Box::pin(cluster.set_condition("late", "example.com/AgentReady", "True")),
            |scene| tainted(scene).is_empty() && counts(scene, 0, 2),
        ),
        (delete_rule, |scene| scene.len() == 2),
    ])
}

/// Nodes are held and released as they change; one leaves the rule while it is held; the rule goes
/// while it holds.
pub fn continuous() -> Story {
    Story(vec![
        (
            |cluster| {
                Box::pin(async move {
                    for name in ["one", "two"] {
                        cluster.create_node(&worker(name, false)).await?;
                    }
                    cluster.apply(&agent_rule("agent", "continuous"))?;
                    Ok(())
                })
            },
            |scene| tainted(scene) == ["one", "two"] && counts(scene, 2, 2),
        ),
        (
            |cluster| {
                Box::pin(async move {
                    cluster
                        .set_condition("one", "example.com/AgentReady", "True")
                        .await?;
                    let labels = json!({ "node-role.kubernetes.io/worker": null });
                    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
                    cluster
                        .nodes()
                        .patch("two", &PatchParams::default(), &patch)
                        .await?;
                    Ok(())
                })
            },
            |scene| tainted(scene).is_empty() && counts(scene, 0, 1),
        ),
        (
            |cluster| Box::pin(cluster.set_condition("one", "example.com/AgentReady", "False")),
            |scene| tainted(scene) == ["one"] && counts(scene, 1, 1),
        ),
        (delete_rule, |scene| {
            scene.len() == 2 && tainted(scene).is_empty()
        }),
    ])
}

fn delete_rule(cluster: &Cluster) -> BoxFuture<'_, anyhow::Result<()>> {
    Box::pin(async move {
        cluster
            .rules()
            .delete("agent", &DeleteParams::default())
            .await?;
        Ok(())
    })
}

/// The nodes that carry the guide's taint.
fn tainted(scene: &Scene) -> Vec<&str> {
    let carries = |node: &&String| scene[*node]["taints"].to_string().contains(GUIDE_TAINT);
    let nodes = scene.keys().filter(|name| !name.starts_with("rule/"));
    nodes.filter(carries).map(String::as_str).collect()
}

/// Does the rule's status hold so many of so many listed nodes?
fn counts(scene: &Scene, held: i64, listed: usize) -> bool {
    let status = &scene["rule/agent"]["status"];
    let ready = status["conditions"][0]["status"] == "True";
    let nodes = status["nodeEvaluations"].as_array().map_or(0, Vec::len);
    ready && status["nodes"]["held"] == held && nodes == listed
}

async fn scene(cluster: &Cluster) -> anyhow::Result<Scene> {
    let mut scene = Scene::new();
    let mut uids = BTreeMap::new();
    for mut rule in cluster.rules().list(&Default::default()).await? {
        uids.insert(rule.uid().unwrap_or_default(), rule.name_any());
        let status = rule.status.as_mut().map(timeless);
        let shown = json!({ "finalizers": rule.finalizers(), "status": status });
        scene.insert(format!("rule/{}", rule.name_any()), shown);
    }
    for node in cluster.nodes().list(&Default::default()).await? {
        let named = |text: &str| {
            let mut text = text.to_owned();
            for (uid, name) in &uids {
                text = text.replace(uid, name);
            }
            text
        };
        let annotations: BTreeMap<_, _> = (node.annotations().iter())
            .map(|(key, value)| (named(key), without_times(&named(value))))
            .collect();
        let mut taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        taints.sort_by(|one, two| one.key.cmp(&two.key));
        scene.insert(
            node.name_any(),
            json!({ "annotations": annotations, "taints": taints }),
        );
    }
    Ok(scene)
}

fn timeless(status: &mut NodeReadinessRuleStatus) -> Value {
    let mut value = json!(status);
    drop_times(&mut value);
    value
}

/// The records of owners say since when.
fn without_times(text: &str) -> Value {
    let Ok(mut value) = serde_json::from_str(text) else {
        return text.into();
    };
    drop_times(&mut value);
    value
}

fn drop_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !key.ends_with("Time") && key != "since");
            map.values_mut().for_each(drop_times);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_times),
        _ => {}
    }
}
