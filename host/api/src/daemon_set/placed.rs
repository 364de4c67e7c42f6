//! On which nodes a DaemonSet should run a pod: what its controller decides by, as exactly as Kubernetes does.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use planner::daemon_sets;
use planner::facts::{self, Node};
use planner::rule::{Effect, TaintPrefixes};

use crate::selector::Selector;
use crate::toleration::{Taint, tolerates};

/// Taints that a node has while it begins or is lost, whatever their effect. They go by themselves, and then a pod
/// comes that does not tolerate them: it should run.
const PASSING: [&str; 4] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
];

/// Taints that every pod of a DaemonSet tolerates, with effect `NoSchedule`: its controller sees to that.
const TOLERATED: [&str; 4] = [
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
];

/// A DaemonSet, with what its pods ask of a node. Nothing of it changes while a rollout goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placed {
    /// What the planner knows.
    pub facts: Arc<daemon_sets::DaemonSet>,
    /// Of its template: `spec.nodeName`, empty where any will do.
    pub(super) node_name: String,
    /// `spec.nodeSelector`
    pub(super) node_selector: BTreeMap<String, String>,
    /// What `spec.affinity.nodeAffinity` requires.
    pub(super) affinity: Option<NodeSelector>,
    /// `spec.tolerations`
    pub(super) tolerations: Vec<Toleration>,
}

impl Placed {
    /// Should a pod of it run on this node? The taints of rules are not looked at, which begin with one of these
    /// prefixes: what waits for the pod must not be the reason not to wait for it.
    pub fn should_run_on(&self, node: &Node, prefixes: &TaintPrefixes) -> bool {
        let mut labels = self.node_selector.iter();
        let fits = |affinity: &NodeSelector| {
            let mut terms = affinity.node_selector_terms.iter();
            terms.any(|term| matches(term, node))
        };
        (self.node_name.is_empty() || self.node_name == node.name)
            && labels.all(|(key, value)| node.labels.get(key) == Some(value))
            && self.affinity.as_ref().is_none_or(fits)
            && node
                .taints
                .iter()
                .all(|taint| prefixes.allow(&taint.key) || !self.is_kept_away_by(taint))
    }

    fn is_kept_away_by(&self, taint: &facts::Taint) -> bool {
        let Some(effect @ (Effect::NoSchedule | Effect::NoExecute)) = taint.effect else {
            return false;
        };
        let key = taint.key.as_str();
        let by_itself = effect == Effect::NoSchedule && TOLERATED.contains(&key);
        let taint = Taint {
            key,
            value: &taint.value,
            effect: effect.as_str(),
        };
        !(by_itself || PASSING.contains(&key) || tolerates(&self.tolerations, taint))
    }

    /// The nodes where it can run by their labels, as selectors that overlap with others: one of them selects each.
    /// Of a comparison of numbers only that the label is there; and nothing of fields: which node has which name is
    /// not known here.
    pub(super) fn places(&self) -> Vec<Selector> {
        let place = |expressions| {
            let labels = self.node_selector.clone();
            let selector = LabelSelector {
                match_labels: Some(labels),
                match_expressions: expressions,
            };
            // Where it cannot be told which nodes are meant, it may be any.
            Selector::parse(&selector).unwrap_or_default()
        };
        match &self.affinity {
            None => vec![place(None)],
            Some(affinity) => {
                let terms = affinity.node_selector_terms.iter();
                let terms = terms.filter(|term| !is_empty(term));
                terms.map(|term| place(Some(demands(term)))).collect()
            }
        }
    }
}

/// A term without demands selects no node.
fn is_empty(term: &NodeSelectorTerm) -> bool {
    let expressions = [&term.match_expressions, &term.match_fields];
    expressions
        .into_iter()
        .flatten()
        .all(|expressions| expressions.is_empty())
}

fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let mut labels = term.match_expressions.iter().flatten();
    let mut fields = term.match_fields.iter().flatten();
    // There are no other fields.
    let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
    !is_empty(term)
        && labels.all(|demand| is_met(demand, node.labels.get(&demand.key)))
        && fields.all(|demand| is_met(demand, field(&demand.key)))
}

/// Does a node do whose label or field has this value? One that cannot be read is met by none.
fn is_met(demand: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = demand.values.as_deref().unwrap_or_default();
    let is_among = value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    let numbers = || {
        let [limit] = values else { return None };
        value?.parse::<i64>().ok().zip(limit.parse::<i64>().ok())
    };
    match demand.operator.as_str() {
        "In" => is_among,
        "NotIn" => !values.is_empty() && !is_among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, limit)| value > limit),
        "Lt" => numbers().is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

/// What a term asks of labels, without numbers.
fn demands(term: &NodeSelectorTerm) -> Vec<LabelSelectorRequirement> {
    let expressions = term.match_expressions.iter().flatten();
    expressions
        .map(|expression| {
            let compares = matches!(expression.operator.as_str(), "Gt" | "Lt");
            let operator = match compares {
                true => "Exists",
                false => &expression.operator,
            };
            LabelSelectorRequirement {
                key: expression.key.clone(),
                operator: operator.to_owned(),
                values: expression.values.clone().filter(|_| !compares),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::DaemonSet;

    fn placed(pod: Value) -> Arc<Placed> {
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {"tier": "node"}},
            "spec": {"template": {"spec": pod}}}))
        .unwrap();
        set.placed
    }

    fn worker(spec: Value) -> crate::Node {
        serde_json::from_value(json!({
            "metadata": {"name": "worker-1", "labels": {"disk": "ssd", "cores": "8", "odd": "many"}},
            "spec": spec}))
        .unwrap()
    }

    /// Should it run on `worker-1` without taints?
    fn runs(pod: Value) -> bool {
        placed(pod).should_run_on(&worker(json!({})).facts, &TaintPrefixes::default())
    }

    fn runs_by(term: Value) -> bool {
        runs(
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": term}}}}),
        )
    }

    fn runs_by_label(key: &str, operator: &str, values: &[&str]) -> bool {
        runs_by(
            json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]),
        )
    }

    #[test]
    fn a_node_has_to_have_the_name_and_the_labels() {
        assert!(runs(json!({})) && runs(json!({"nodeName": "worker-1"})));
        assert!(!runs(json!({"nodeName": "worker-2"})));
        assert!(runs(json!({"nodeSelector": {"disk": "ssd", "cores": "8"}})));
        assert!(!runs(
            json!({"nodeSelector": {"disk": "ssd", "cores": "9"}})
        ));
        assert!(!runs(json!({"nodeSelector": {"zone": ""}})));
    }

    #[test]
    fn each_operator_of_an_affinity_counts_as_in_kubernetes() {
        for (key, operator, values, expected) in [
            ("disk", "In", &["hdd", "ssd"] as &[_], true),
            ("disk", "In", &["hdd"], false),
            ("zone", "In", &["a"], false),
            ("disk", "NotIn", &["hdd"], true),
            ("disk", "NotIn", &["hdd", "ssd"], false),
            ("zone", "NotIn", &["a"], true),
            ("disk", "NotIn", &[], false),
            ("disk", "Exists", &[], true),
            ("zone", "Exists", &[], false),
            ("disk", "DoesNotExist", &[], false),
            ("zone", "DoesNotExist", &[], true),
            ("cores", "Gt", &["7"], true),
            ("cores", "Gt", &["8"], false),
            // As numbers: as texts 10 comes before 8.
            ("cores", "Lt", &["10"], true),
            ("cores", "Lt", &["8"], false),
            ("odd", "Gt", &["7"], false),
            ("zone", "Lt", &["7"], false),
            ("cores", "Gt", &["7", "6"], false),
            ("disk", "Maybe", &["ssd"], false),
        ] {
            let runs = runs_by_label(key, operator, values);
            assert_eq!(runs, expected, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn one_term_is_enough_with_all_that_it_demands_and_an_empty_one_is_none() {
        let label = |value: &str| json!({"key": "disk", "operator": "In", "values": [value]});
        let name = |operator: &str, value: &str| json!({"key": "metadata.name", "operator": operator, "values": [value]});
        for (terms, expected) in [
            (json!([]), false),
            (json!([{}]), false),
            (
                json!([{"matchExpressions": [], "matchFields": null}]),
                false,
            ),
            (
                json!([{"matchExpressions": [label("hdd")]}, {"matchExpressions": [label("ssd")]}]),
                true,
            ),
            (
                json!([{"matchExpressions": [label("hdd"), label("ssd")]}]),
                false,
            ),
            (json!([{"matchFields": [name("In", "worker-1")]}]), true),
            (json!([{"matchFields": [name("In", "worker-2")]}]), false),
            (json!([{"matchFields": [name("NotIn", "worker-1")]}]), false),
            (json!([{"matchFields": [name("NotIn", "worker-2")]}]), true),
            (
                json!([{"matchFields": [name("In", "worker-1")], "matchExpressions": [label("hdd")]}]),
                false,
            ),
            // A label of that name is no field.
            (
                json!([{"matchExpressions": [name("In", "worker-1")]}]),
                false,
            ),
        ] {
            assert_eq!(runs_by(terms.clone()), expected, "{terms}");
        }
        // The selector counts beside the affinity.
        let both = json!({"nodeSelector": {"zone": "a"}, "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [label("ssd")]}]}}}});
        assert!(!runs(both));
        // What is merely preferred, or about other pods, demands nothing.
        assert!(runs(
            json!({"affinity": {"podAntiAffinity": {}, "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [label("hdd")]}}]}}})
        ));
    }

    #[test]
    fn a_taint_that_it_does_not_tolerate_keeps_it_away_unless_it_is_of_a_rule_or_passes() {
        let prefixes = TaintPrefixes::with(["example.com/".to_owned()]);
        let with = |tolerations: Value, key: &str, value: &str, effect: &str| {
            let taint = json!({"key": key, "value": value, "effect": effect});
            let node = worker(json!({ "taints": [taint] }));
            placed(json!({ "tolerations": tolerations })).should_run_on(&node.facts, &prefixes)
        };
        let alone = |key: &str, effect: &str| with(json!(null), key, "", effect);
        assert!(!alone("dedicated", "NoSchedule") && !alone("dedicated", "NoExecute"));
        assert!(alone("dedicated", "PreferNoSchedule") && alone("dedicated", "Another"));
        let gpu = json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]);
        assert!(with(gpu.clone(), "dedicated", "gpu", "NoSchedule"));
        assert!(!with(gpu.clone(), "dedicated", "db", "NoSchedule"));
        assert!(!with(gpu, "dedicated", "gpu", "NoExecute"));
        for effect in ["NoSchedule", "NoExecute"] {
            for rules in ["readiness.k8s.io/agent", "example.com/agent"] {
                assert!(alone(rules, effect), "{rules}");
            }
            for passing in PASSING {
                assert!(alone(passing, effect), "{passing}");
            }
        }
        for tolerated in TOLERATED {
            assert!(alone(tolerated, "NoSchedule"), "{tolerated}");
            assert!(!alone(tolerated, "NoExecute"), "{tolerated}");
        }
        assert!(!alone("node.kubernetes.io/out-of-service", "NoExecute"));
    }

    #[test]
    fn a_rollout_changes_nothing_of_it_and_where_it_runs_does() {
        let set = |image: &str, ready: u32, disk: &str| -> DaemonSet {
            serde_json::from_value(json!({
                "metadata": {"name": "a", "namespace": "n", "uid": "00000000-0000-0000-0000-000000000007",
                             "labels": {"tier": "node"}, "generation": ready, "resourceVersion": image},
                "spec": {"template": {"metadata": {"labels": {"x": image}}, "spec": {
                    "containers": [{"name": "a", "image": image}], "nodeSelector": {"disk": disk}}}},
                "status": {"numberReady": ready}}))
            .unwrap()
        };
        let old = set("1", 1, "ssd");
        assert_eq!(old.metadata.resource_version.as_deref(), Some("1"));
        let facts = daemon_sets::DaemonSet {
            namespace: "n".into(),
            name: "a".into(),
            uid: Some([0, 7]),
            labels: [("tier", "node")].into(),
        };
        assert_eq!(*old.placed.facts, facts);
        assert_eq!(old.placed, set("2", 2, "ssd").placed);
        assert_ne!(old.placed, set("2", 2, "hdd").placed);
    }
}
