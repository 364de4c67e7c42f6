//! A story: what is done in a cluster, step by step, and what is so when each step has come to rest.

use std::time::{Duration, Instant};

use anyhow::Context;
use cluster_tests::{AGENT, GUIDE_TAINT, NodeSpec, worker};
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::killed::Write;
use crate::scene::{self, Scene};
use crate::stage::Part;

/// Longer than anything takes beside many others: a host that is killed while it leads is replaced
/// after 15 s, and a watch that breaks again and again is tried again after a minute at last.
const DEADLINE: Duration = Duration::from_secs(3 * 60);
/// Many stories are played at once, before one API server.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is told the same way every time. Names are those in the story; in a text, `$` stands before a
/// name, and `<3>` or `<-60>` is the time in so many seconds.
pub struct Story {
    pub name: &'static str,
    /// Of the host.
    pub flags: &'static [&'static str],
    /// What is there before any host is.
    pub before: Vec<Do>,
    pub steps: Vec<Step>,
    /// Writes that are told apart: to one object in one step, so many. The rest is tried again and again.
    pub repeats: usize,
    /// The writes after which a host is killed.
    pub killed: fn(&Write) -> bool,
}

/// Something is done, and then this is so.
pub struct Step {
    pub does: Vec<Do>,
    /// `node`: it carries the guide's taint; `node/other`: it carries `readiness.k8s.io/other`. Nobody
    /// else carries one.
    pub held: &'static [&'static str],
    /// All rules, with the reason of their `Ready`.
    pub rules: &'static [(&'static str, &'static str)],
}

/// What somebody does who is not the host.
pub enum Do {
    /// Creates a worker: its name, whether it is tainted from its first moment, what its agent reports.
    Node(&'static str, bool, Option<&'static str>),
    /// The agent of a node reports this.
    Report(&'static str, &'static str),
    /// Merges this into a node.
    ChangeNode(&'static str, Value),
    /// Merges this into a node's status.
    NodeStatus(&'static str, Value),
    /// Creates a rule, with this merged into it.
    Rule(&'static str, &'static str, Value),
    /// Merges this into a rule.
    ChangeRule(&'static str, Value),
    /// Writes a rule's status.
    RuleStatus(&'static str, Value),
    /// Deletes a rule.
    DeleteRule(&'static str),
}

impl Story {
    pub fn new(name: &'static str, steps: Vec<Step>) -> Self {
        Self {
            name,
            flags: &[],
            before: Vec::new(),
            steps,
            repeats: usize::MAX,
            killed: |_| true,
        }
    }

    /// Does what is there before any host is.
    pub async fn begin(&self, part: &Part) -> anyhow::Result<()> {
        for what in &self.before {
            what.done(part).await?;
        }
        Ok(())
    }

    /// Plays it, and returns what the cluster looked like after each step. Where it is known what it
    /// shall look like, waits for exactly that.
    pub async fn play(
        &self,
        part: &Part,
        expected: Option<&[Scene]>,
        mut next: impl FnMut(usize),
    ) -> anyhow::Result<Vec<Scene>> {
        let mut scenes = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            next(index);
            scenes.push(self.play_step(part, step, index, expected).await?);
        }
        Ok(scenes)
    }

    /// Plays one step of it.
    pub async fn play_step(
        &self,
        part: &Part,
        step: &Step,
        index: usize,
        expected: Option<&[Scene]>,
    ) -> anyhow::Result<Scene> {
        for what in &step.does {
            what.done(part).await?;
        }
        let end = Instant::now() + DEADLINE;
        loop {
            let scene = scene::look(part).await?;
            let wrong = match expected {
                Some(scenes) => scene::difference(&scenes[index], &scene),
                None => scene::unsettled(step, &scene),
            };
            let Some(wrong) = wrong else {
                return Ok(scene);
            };
            anyhow::ensure!(
                Instant::now() < end,
                "step {index} does not come to rest: {wrong}"
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Do {
    async fn done(&self, part: &Part) -> anyhow::Result<()> {
        let (nodes, rules) = (part.cluster.nodes(), part.cluster.rules());
        let (parameters, named) = (PatchParams::default(), |name: &str| part.named(name));
        match self {
            Self::Node(name, tainted, report) => {
                let spec = NodeSpec {
                    name: named(name),
                    ..worker(name, *tainted)
                };
                let mut node = spec.node();
                let labels = node.metadata.labels.get_or_insert_default();
                labels.extend(part.labels());
                nodes.create(&PostParams::default(), &node).await?;
                if let Some(status) = report {
                    let set = part.cluster.set_condition(&spec.name, AGENT, status);
                    set.await?;
                }
            }
            Self::Report(name, status) => {
                let name = named(name);
                part.cluster.set_condition(&name, AGENT, status).await?;
            }
            Self::ChangeNode(name, change) => {
                let patch = Patch::Merge(resolved(part, change)?);
                nodes.patch(&named(name), &parameters, &patch).await?;
            }
            Self::NodeStatus(name, change) => {
                let patch = Patch::Merge(json!({ "status": resolved(part, change)? }));
                nodes
                    .patch_status(&named(name), &parameters, &patch)
                    .await?;
            }
            Self::Rule(name, mode, more) => {
                let mut rule = json!({
                    "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
                    "metadata": { "name": named(name), "labels": part.labels() },
                    "spec": {
                        "conditions": [{ "type": AGENT, "requiredStatus": "True" }],
                        "taint": { "key": GUIDE_TAINT, "effect": "NoSchedule", "value": "pending" },
                        "enforcementMode": mode,
                        "nodeSelector": { "matchLabels": { "node-role.kubernetes.io/worker": "" } },
                    },
                });
                json_patch::merge(&mut rule, &resolved(part, more)?);
                let rule = serde_json::from_value(rule)?;
                rules.create(&PostParams::default(), &rule).await?;
            }
            Self::ChangeRule(name, change) => {
                let patch = Patch::Merge(resolved(part, change)?);
                rules.patch(&named(name), &parameters, &patch).await?;
            }
            Self::RuleStatus(name, status) => {
                let patch = Patch::Merge(json!({ "status": resolved(part, status)? }));
                rules
                    .patch_status(&named(name), &parameters, &patch)
                    .await?;
            }
            Self::DeleteRule(name) => {
                rules.delete(&named(name), &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }
}

/// With names and times in their places.
fn resolved(part: &Part, value: &Value) -> anyhow::Result<Value> {
    let text = value.to_string().replace('$', &part.named(""));
    let mut pieces = text.split('<');
    let mut resolved = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (seconds, rest) = piece.split_once('>').context("a time without an end")?;
        let at = Timestamp::now() + SignedDuration::from_secs(seconds.parse()?);
        resolved.push_str(&Timestamp::from_second(at.as_second())?.to_string());
        resolved.push_str(rest);
    }
    Ok(serde_json::from_str(&resolved)?)
}
