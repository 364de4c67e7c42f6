//! What a kubelet may say of its own node when it creates it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of Kubernetes that a kubelet may set, and beginnings of such: those that the admission plugin NodeRestriction
/// lets through. It also refuses `node-restriction.kubernetes.io/…`, which is in one of the domains.
const ALLOWED: [&str; 13] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const ALLOWED_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESERVED_DOMAINS: [&str; 2] = ["kubernetes.io", "k8s.io"];

/// A label without which the selector selects no node, and with which no kubelet can create its own: the gate
/// never sees such a node as one of the rule's.
pub fn not_by_kubelet(selector: &LabelSelector) -> Option<&str> {
    let labels = selector.match_labels.iter().flatten().map(|(key, _)| key);
    let expressions = selector.match_expressions.iter().flatten();
    let needed = expressions.filter(|one| matches!(one.operator.as_str(), "In" | "Exists"));
    labels
        .chain(needed.map(|one| &one.key))
        .map(String::as_str)
        .find(|key| is_refused(key))
}

fn is_refused(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    let is_in = |parent: &&str| {
        (domain.strip_suffix(*parent)).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    RESERVED_DOMAINS.iter().any(is_in)
        && !ALLOWED.contains(&key)
        && !ALLOWED_DOMAINS.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_no_kubelet_may_set_are_found() {
        for (key, refused) in [
            ("pool", false),
            ("example.com/agent", false),
            ("example-kubernetes.io/agent", false),
            ("kubernetes.io/os", false),
            ("topology.kubernetes.io/zone", false),
            ("node.kubernetes.io/pool", false),
            ("team.node.kubernetes.io/pool", false),
            ("kubelet.kubernetes.io/pool", false),
            ("node-role.kubernetes.io/worker", true),
            ("node-restriction.kubernetes.io/agent", true),
            ("kubernetes.io/role", true),
            ("x.k8s.io/pool", true),
        ] {
            assert_eq!(is_refused(key), refused, "{key}");
        }
    }

    #[test]
    fn what_a_node_must_not_carry_does_not_matter() {
        fn selector(text: &str) -> LabelSelector {
            serde_json::from_str(text).unwrap()
        }
        let worker = "node-role.kubernetes.io/worker";
        let of = |operator: &str| {
            format!(r#"{{"matchExpressions": [{{"key": "{worker}", "operator": "{operator}"}}]}}"#)
        };
        let (exists, absent) = (selector(&of("Exists")), selector(&of("DoesNotExist")));
        assert_eq!(not_by_kubelet(&exists), Some(worker));
        assert_eq!(not_by_kubelet(&absent), None);
        let labels = selector(&format!(
            r#"{{"matchLabels": {{"a": "b", "{worker}": ""}}}}"#
        ));
        assert_eq!(not_by_kubelet(&labels), Some(worker));
    }
}
