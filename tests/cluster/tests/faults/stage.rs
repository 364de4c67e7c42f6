//! One control plane for many stories at once: each sees its own nodes and rules alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::rule::status::NodeReadinessRuleStatus;
use cluster_tests::{Cluster, NodeSpec, worker};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

/// The label by which it is told whose a node or a rule is.
const LABEL: &str = "play";

/// What the admission policy says.
pub const AGAINST: &str = "this taint stays";

/// Nobody takes this taint off a node with this label, as an operator's own admission may have it.
const ADMISSION: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: kept}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: [nodes]}]
  variables:
    - {name: before, expression: \"has(oldObject.spec.taints) && oldObject.spec.taints.exists(taint, taint.key == 'readiness.k8s.io/kept')\"}
    - {name: after, expression: \"has(object.spec.taints) && object.spec.taints.exists(taint, taint.key == 'readiness.k8s.io/kept')\"}
  validations:
    - expression: \"!('guarded' in object.metadata.labels) || !variables.before || variables.after\"
      message: this taint stays
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: kept}
spec: {policyName: kept, validationActions: [Deny]}
";

/// The control plane.
pub struct Stage {
    pub cluster: Arc<Cluster>,
    parts: AtomicUsize,
}

/// What one story has of it.
pub struct Part {
    pub cluster: Arc<Cluster>,
    name: String,
}

impl Stage {
    pub async fn start() -> Self {
        let cluster = Arc::new(Cluster::start().await.unwrap());
        cluster.apply(ADMISSION).unwrap();
        let mut probe = worker("probe", false);
        probe.labels.push(("guarded".to_owned(), String::new()));
        let taint = ("readiness.k8s.io/kept".to_owned(), String::new());
        probe
            .taints
            .push((taint.0, taint.1, "NoSchedule".to_owned()));
        cluster.create_node(&probe).await.unwrap();
        let off = json!({ "spec": { "taints": null } });
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        cluster_tests::wait::until_true("the admission policy is in force", || async {
            let patch = Patch::Merge(&off);
            Ok(cluster
                .nodes()
                .patch("probe", &parameters, &patch)
                .await
                .is_err())
        })
        .await
        .unwrap();
        let delete = DeleteParams::default();
        cluster.nodes().delete("probe", &delete).await.unwrap();
        Self {
            cluster,
            parts: AtomicUsize::new(0),
        }
    }

    /// A part that nobody had before.
    pub fn part(&self) -> Part {
        let number = self.parts.fetch_add(1, Ordering::SeqCst);
        Part {
            cluster: Arc::clone(&self.cluster),
            name: format!("p{number}"),
        }
    }
}

impl Part {
    /// The name in the cluster of what has this name in a story.
    pub fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// What everything in it is labelled with.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.name.clone())])
    }

    /// Selects what is in it.
    pub fn selector(&self) -> String {
        format!("{LABEL}={}", self.name)
    }

    /// All that is in it. Many look at once: an answer from the server's cache will do.
    pub fn all(&self) -> ListParams {
        ListParams::default().labels(&self.selector()).match_any()
    }

    /// Returns when a host with one worker has seen and worked off all that is so now. A rule that is
    /// suspended makes every node due and takes no part; its status shows a change of a node that comes
    /// after all of them.
    pub async fn until_worked_off(&self) -> anyhow::Result<()> {
        const BARRIER: &str = "example.com/Barrier";
        let cluster = &self.cluster;
        let name = self.named("barrier");
        let mut node = NodeSpec {
            name: name.clone(),
            labels: vec![("barrier".to_owned(), name.clone())],
            taints: vec![],
        }
        .node();
        let labels = node.metadata.labels.get_or_insert_default();
        labels.extend(self.labels());
        let parameters = PostParams::default();
        cluster.nodes().create(&parameters, &node).await?;
        let rule = json!({
            "apiVersion": "readiness.node.x-k8s.io/v1alpha1", "kind": "NodeReadinessRule",
            "metadata": { "name": name, "labels": self.labels() },
            "spec": {
                "conditions": [{ "type": BARRIER, "requiredStatus": "True" }],
                "taint": { "key": "readiness.k8s.io/barrier", "effect": "NoSchedule" },
                "enforcementMode": "continuous", "suspend": true,
                "nodeSelector": { "matchLabels": { "barrier": name } },
            },
        });
        let rule = serde_json::from_value(rule)?;
        cluster.rules().create(&parameters, &rule).await?;
        for status in ["Unknown", "False"] {
            if status != "Unknown" {
                cluster.set_condition(&name, BARRIER, status).await?;
            }
            let shown = |shown: &NodeReadinessRuleStatus| {
                let nodes = shown.node_evaluations.iter();
                let mut results = nodes.flat_map(|node| &node.condition_results);
                results.any(|result| result.current_status.as_str() == status)
            };
            cluster.until_status(&name, status, shown).await?;
        }
        cluster.delete_rule(&name).await?;
        let delete = DeleteParams::default();
        cluster.nodes().delete(&name, &delete).await?;
        Ok(())
    }

    /// Removes what the story left behind: no rule.
    pub async fn clear(&self) -> anyhow::Result<()> {
        let (delete, all) = (DeleteParams::default(), self.all());
        self.cluster
            .nodes()
            .delete_collection(&delete, &all)
            .await?;
        let left = self.cluster.rules().list(&all).await?.items;
        anyhow::ensure!(left.is_empty(), "rules are left");
        Ok(())
    }
}
