//! Does a status say what is so?

use std::collections::BTreeMap;

use api::NodeReadinessRule;
use api::rule::status::TaintStatus;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::core::SelectorExt;
use serde_json::json;

use crate::{Cluster, wait};

impl Cluster {
    /// Waits until a rule's status says what is true of the nodes: counts, lists and conditions.
    ///
    /// # Errors
    /// It did not within a minute; with what it says and what is so.
    pub async fn until_status_is_true(&self, rule: &str) -> anyhow::Result<NodeReadinessRule> {
        wait::until(&format!("the status of rule {rule} is true"), || async {
            let nodes = self.nodes().list(&Default::default()).await?.items;
            let stored = self.rules().get(rule).await?;
            let difference = difference(&stored, &nodes)?;
            Ok(difference.map_or(Ok(stored), Err))
        })
        .await
    }
}

/// What the status of an enforcing rule says and is not so.
fn difference(rule: &NodeReadinessRule, nodes: &[Node]) -> anyhow::Result<Option<String>> {
    // Not ours.
    let selector = kube::core::Selector::try_from(rule.spec.node_selector.clone())?;
    let Some(status) = &rule.status else {
        return Ok(Some("there is none".to_owned()));
    };
    let taint = &rule.spec.taint;
    let key = format!(
        "readiness.k8s.io/bootstrap-completed-{}",
        rule.uid().unwrap_or_default()
    );
    let (mut held, mut completed, mut evaluations) = (0, 0, BTreeMap::new());
    for node in nodes {
        let labels = node.labels();
        if !selector.matches(labels) {
            continue;
        }
        let mut taints = (node.spec.iter()).flat_map(|spec| spec.taints.iter().flatten());
        let present = taints.any(|one| one.key == taint.key && one.effect == taint.effect);
        held += i32::from(present);
        completed += i32::from(node.annotations().contains_key(&key));
        let current = rule.spec.conditions.iter().map(|wanted| {
            let conditions = node
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            let mut same = conditions.filter(|one| one.type_ == wanted.r#type);
            same.next()
                .map_or("Unknown".to_owned(), |one| one.status.clone())
        });
        evaluations.insert(node.name_any(), (present, current.collect::<Vec<_>>()));
    }
    let listed: BTreeMap<_, _> = (status.node_evaluations.iter())
        .map(|node| {
            let current = node.condition_results.iter();
            let current: Vec<_> = current
                .map(|one| one.current_status.as_str().to_owned())
                .collect();
            let present = node.taint_status == TaintStatus::Present;
            (node.node_name.clone(), (present, current))
        })
        .collect();
    let counts = status.nodes.unwrap_or_default();
    let matched = i32::try_from(evaluations.len())?;
    let bootstrap = rule.spec.enforcement_mode == "bootstrap-only";
    let says = json!({
        "generation": status.observed_generation,
        "counts": [counts.matched, counts.held, counts.released, counts.failed, counts.pending],
        "completed": counts.completed, "listed": listed, "applied": status.applied_nodes,
        "failed": status.failed_nodes.len(),
    });
    let is = json!({
        "generation": rule.metadata.generation,
        "counts": [matched, held, matched - held, 0, 0],
        "completed": bootstrap.then_some(completed), "listed": evaluations,
        "applied": evaluations.keys().collect::<Vec<_>>(), "failed": 0,
    });
    Ok((says != is).then(|| format!("it says {says}, and {is} is so")))
}
