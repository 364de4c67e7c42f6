//! The policy selects nodes as the host does.

use std::collections::{BTreeMap, BTreeSet};

use api::{NodeReadinessRule, Selector};
use cluster_tests::Cluster;
use kube::ResourceExt;
use planner::facts::Texts;
use serde_json::json;

use crate::{create, install, rule, taints, until_born_with};

/// As they stand in rules.
const SELECTORS: [&str; 14] = [
    "{}",
    "{matchLabels: {pool: a}}",
    "{matchLabels: {pool: ''}}",
    "{matchLabels: {pool: a, example.com/zone: z}}",
    "{matchLabels: {}, matchExpressions: []}",
    "{matchExpressions: [{key: pool, operator: In, values: [a, b]}]}",
    "{matchExpressions: [{key: pool, operator: In, values: ['']}]}",
    "{matchExpressions: [{key: pool, operator: NotIn, values: [a]}]}",
    "{matchExpressions: [{key: pool, operator: NotIn, values: ['', b]}]}",
    "{matchExpressions: [{key: example.com/zone, operator: Exists}]}",
    "{matchExpressions: [{key: example.com/zone, operator: DoesNotExist}]}",
    "{matchLabels: {pool: a}, matchExpressions: [{key: pool, operator: NotIn, values: [a]}]}",
    "{matchLabels: {pool: a}, matchExpressions: [{key: example.com/zone, operator: In, values: [z]}]}",
    "{matchExpressions: [{key: pool, operator: Exists}, {key: example.com/zone, operator: DoesNotExist}]}",
];

#[tokio::test]
async fn a_gate_selects_just_the_nodes_that_its_rule_selects() {
    let cluster = Cluster::start().await.unwrap();
    let rules: Vec<_> = (0..)
        .zip(SELECTORS)
        .map(|(index, selector)| {
            let name = format!("s{index:02}");
            rule(&name, "a", "").replace("{matchLabels: {pool: a}}", selector)
        })
        .collect();
    let rules = rules.join("---");
    cluster.apply(&rules).unwrap();
    install(&cluster, Some(&rules));
    let stored = cluster.rules().list(&Default::default()).await.unwrap();
    let selected = |labels: &Texts| -> BTreeSet<String> {
        let selects = |rule: &&NodeReadinessRule| {
            let selector = Selector::parse(&rule.spec.node_selector).unwrap();
            selector.matches(labels)
        };
        stored
            .iter()
            .filter(selects)
            .map(ResourceExt::name_any)
            .collect()
    };
    let of_a: Vec<String> = selected(&[("pool", "a")].into()).into_iter().collect();
    let of_a: Vec<&str> = of_a.iter().map(String::as_str).collect();
    until_born_with(&cluster, "a", &of_a).await;

    let mut all = BTreeSet::new();
    let pools = [None, Some(""), Some("a"), Some("b"), Some("c")];
    let zones = [None, Some(""), Some("z")];
    for (number, (pool, zone)) in pools
        .iter()
        .flat_map(|pool| zones.map(|zone| (*pool, zone)))
        .enumerate()
    {
        let labels = [("pool", pool), ("example.com/zone", zone)];
        let labels = labels
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let texts: Texts = labels.clone().collect();
        let labels: BTreeMap<&str, &str> = labels.collect();
        let node = json!({ "metadata": { "name": format!("node-{number}"), "labels": labels } });
        let born = taints(&create(&cluster, node).await.unwrap());
        assert_eq!(born, selected(&texts), "{labels:?}");
        all.extend(born);
    }
    // Each had its node, but for the one that contradicts itself.
    assert_eq!(all.len(), SELECTORS.len() - 1, "{all:?}");
    let bare = create(&cluster, json!({ "metadata": { "name": "bare" } }))
        .await
        .unwrap();
    assert_eq!(taints(&bare), selected(&Texts::default()));
}
