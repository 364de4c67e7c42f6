//! The cases of the default policy through `host run` on a real API server: the very files that
//! `host eval` passes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cli_tests::cases::{
    Document, Executor, Expectation, Kind, Observed, ObservedResult, compare, load_all, play,
};
use cluster_tests::{Cluster, Host, NodeSpec, wait};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// A node that no case knows: what happens to it tells that the host has done what came before.
const SENTINEL: &str = "zz-sentinel";

#[tokio::test(flavor = "multi_thread")]
async fn compat_012_to_022_every_case_passes_through_run() {
    let cluster = Cluster::start().await.unwrap();
    let mut failures = Vec::new();
    for (number, case) in load_all().unwrap().iter().enumerate() {
        let played = tokio::task::block_in_place(|| {
            let mut executor = InCluster::new(&cluster, number)?;
            let played = play(case, &mut executor);
            executor.clean_up()?;
            played
        });
        if let Err(error) = played {
            failures.push(format!("{error:#}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An executor whose objects are in a cluster and whose host is a process.
struct InCluster<'a> {
    cluster: &'a Cluster,
    number: usize,
    host: Option<Host>,
    barriers: usize,
    uids: BTreeMap<String, String>,
    /// The nodes before the host could act on this step.
    before: BTreeMap<String, Value>,
}

impl<'a> InCluster<'a> {
    fn new(cluster: &'a Cluster, number: usize) -> Result<Self> {
        let (uids, before) = Default::default();
        Ok(Self {
            cluster,
            number,
            host: None,
            barriers: 0,
            uids,
            before,
        })
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = match kind {
            Kind::Rule => ApiResource::erase::<api::NodeReadinessRule>(&()),
            Kind::Node => ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&()),
            Kind::Related => ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        };
        Api::all_with(self.cluster.client.clone(), &resource)
    }

    /// Returns when the host has done all that the objects, as they are now, ask for: a rule that is
    /// made now has had its effect, and so has a change of a node made after that.
    async fn barrier(&mut self) -> Result<()> {
        self.barriers += 1;
        let name = format!("barrier-{}-{}", self.number, self.barriers);
        let key = format!("readiness.k8s.io/{name}");
        let condition = format!("example.com/{name}");
        let rule = json!({
            "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
            "metadata": { "name": name },
            "spec": {
                "conditions": [{ "type": condition, "requiredStatus": "True" }],
                "taint": { "key": key, "effect": "NoSchedule" }, "enforcementMode": "continuous",
                "nodeSelector": { "matchLabels": { "sentinel": "true" } },
            },
        });
        self.api(Kind::Rule)
            .create(&PostParams::default(), &serde_json::from_value(rule)?)
            .await?;
        self.cluster.until_tainted(SENTINEL, &key, true).await?;
        self.cluster
            .set_condition(SENTINEL, &condition, "True")
            .await?;
        self.cluster.until_tainted(SENTINEL, &key, false).await?;
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        let labels = vec![("sentinel".to_owned(), "true".to_owned())];
        let sentinel = NodeSpec {
            name: SENTINEL.to_owned(),
            labels,
            taints: vec![],
        };
        self.cluster.create_node(&sentinel).await?;
        let log = self
            .cluster
            .plane
            .folder()
            .join(format!("case-{}.log", self.number));
        self.host = Some(Host::start(&self.cluster.kubeconfig(), &log, &[]).await?);
        Ok(())
    }

    async fn look(&self, expected: &Expectation) -> Result<Observed> {
        let by_name = |list: Vec<DynamicObject>| -> Result<BTreeMap<String, Value>> {
            list.into_iter()
                .map(|object| Ok((object.name_any(), serde_json::to_value(object)?)))
                .collect()
        };
        let nodes = by_name(self.api(Kind::Node).list(&Default::default()).await?.items)?;
        let mut rules = by_name(self.api(Kind::Rule).list(&Default::default()).await?.items)?;
        rules.retain(|name, _| self.uids.contains_key(name));
        let mut pairs: Vec<(String, String)> = expected
            .results
            .iter()
            .map(|result| (result.rule.clone(), result.node.clone()))
            .collect();
        for (name, rule) in &rules {
            for evaluation in rule["status"]["nodeEvaluations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                pairs.push((
                    name.clone(),
                    evaluation["nodeName"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                ));
            }
        }
        pairs.sort();
        pairs.dedup();
        let results = pairs
            .into_iter()
            .map(|(rule, node)| self.result(&rules, &nodes, &rule, &node))
            .collect();
        Ok(Observed {
            results,
            nodes,
            rules: Some(rules),
        })
    }

    /// What came of a rule on a node, by what the API server has of both.
    fn result(
        &self,
        rules: &BTreeMap<String, Value>,
        nodes: &BTreeMap<String, Value>,
        rule: &str,
        node: &str,
    ) -> ObservedResult {
        let stored = &rules.get(rule).cloned().unwrap_or_default();
        let taint = &stored["spec"]["taint"];
        let carries = |node: Option<&Value>| {
            let taints = node.and_then(|node| node["spec"]["taints"].as_array());
            let same =
                |one: &&Value| one["key"] == taint["key"] && one["effect"] == taint["effect"];
            taints.into_iter().flatten().any(|one| same(&one))
        };
        let uid = self.uids.get(rule).map_or("", String::as_str);
        let key = format!("readiness.k8s.io/bootstrap-completed-{uid}");
        let completed = |node: Option<&Value>| {
            let record = node.and_then(|node| node["metadata"]["annotations"][&key].as_str());
            // After a reboot it has to be completed anew.
            record.is_some_and(|record| !record.contains("rebooted"))
        };
        let (before, after) = (self.before.get(node), nodes.get(node));
        let completes = completed(after) && !completed(before);
        let action = match (carries(before), carries(after)) {
            (false, true) => "AddTaint",
            (true, false) => "RemoveTaint",
            _ if completes => "CompleteBootstrap",
            _ => "None",
        };
        let evaluations = stored["status"]["nodeEvaluations"].as_array();
        let mut evaluation = evaluations
            .into_iter()
            .flatten()
            .filter(|one| one["nodeName"] == *node);
        ObservedResult {
            node: node.to_owned(),
            rule: rule.to_owned(),
            taint: if carries(after) { "Present" } else { "Absent" }.to_owned(),
            action: Some(action.to_owned()),
            complete_bootstrap: Some(completes),
            reason: None,
            dry_run_action: None,
            conditions: evaluation
                .next()
                .and_then(|one| one["conditionResults"].as_array().cloned()),
        }
    }

    /// Leaves the cluster as it was.
    fn clean_up(self) -> Result<()> {
        let (rules, nodes) = (self.api(Kind::Rule), self.api(Kind::Node));
        Handle::current().block_on(async {
            if let Some(host) = self.host {
                host.kill().await?;
            }
            let force = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            for rule in rules.list(&Default::default()).await? {
                rules
                    .patch(&rule.name_any(), &PatchParams::default(), &force)
                    .await?;
                rules.delete(&rule.name_any(), &Default::default()).await?;
            }
            for node in nodes.list(&Default::default()).await? {
                nodes.delete(&node.name_any(), &Default::default()).await?;
            }
            Ok(())
        })
    }
}

impl Executor for InCluster<'_> {
    fn apply(&mut self, document: &Document) -> Result<()> {
        let api = self.api(document.kind);
        let (name, mut value) = (document.name.as_str(), document.value.clone());
        let status = value.as_object_mut().context("no object")?.remove("status");
        let stored = Handle::current().block_on(async {
            let exists = api.get_opt(name).await?.is_some();
            let mut stored = if exists {
                api.patch(name, &PatchParams::default(), &Patch::Merge(value))
                    .await?
            } else {
                api.create(&PostParams::default(), &serde_json::from_value(value)?)
                    .await?
            };
            if let Some(status) = status {
                let patch = Patch::Merge(json!({ "status": status }));
                stored = api
                    .patch_status(name, &PatchParams::default(), &patch)
                    .await?;
            }
            anyhow::Ok(stored)
        })?;
        match document.kind {
            Kind::Rule => self.uids.insert(
                name.to_owned(),
                stored.meta().uid.clone().context("no UID")?,
            ),
            Kind::Node => {
                self.before
                    .insert(name.to_owned(), serde_json::to_value(&stored)?);
                None
            }
            Kind::Related => None,
        };
        Ok(())
    }

    fn uid(&self, rule: &str) -> Option<String> {
        self.uids.get(rule).cloned()
    }

    fn observe(&mut self, expected: &Expectation) -> Result<Observed> {
        Handle::current().block_on(async {
            if self.host.is_none() {
                self.start().await?;
            }
            self.barrier().await?;
            let completed = expected
                .nodes
                .iter()
                .flat_map(|node| node.completed.iter().flatten());
            let uids = completed
                .filter_map(|rule| Some((rule.clone(), self.uids.get(rule)?.clone())))
                .collect();
            // The nodes are done; a status may follow within a second.
            let seen = wait::until("the status follows", || async {
                let observed = self.look(expected).await?;
                let differences = compare(expected, &observed, &uids);
                Ok(if differences.is_empty() {
                    Ok(observed)
                } else {
                    Err(differences.join("; "))
                })
            })
            .await;
            let observed = match seen {
                Ok(observed) => observed,
                Err(_) => self.look(expected).await?, // the difference is the caller's to tell
            };
            self.before = observed.nodes.clone();
            Ok(observed)
        })
    }
}
