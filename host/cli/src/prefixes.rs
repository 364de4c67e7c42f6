//! The taints that rules may manage.

use planner::rule::TaintPrefixes;

/// Further prefixes of taint keys.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// A further prefix that the taint keys of rules may begin with, beside readiness.k8s.io/, such
    /// as startup-taint.cluster-autoscaler.kubernetes.io/; may be given several times
    ///
    /// Give the same to `host crd`, which prints the definition that lets such rules pass, and to
    /// `host run`: there a rule with another prefix is Stalled.
    #[arg(long = "taint-key-prefix", value_name = "PREFIX", value_delimiter = ',', value_parser = prefix)]
    further: Vec<String>,
}

impl Options {
    /// All prefixes.
    pub fn prefixes(&self) -> TaintPrefixes {
        TaintPrefixes::with(self.further.iter().cloned())
    }
}

/// Whose taints are not for rules, and whose they are.
const RESERVED: [(&str, &str); 7] = [
    (
        "node.kubernetes.io",
        "those of Kubernetes itself, about what is wrong with a node",
    ),
    (
        "node-role.kubernetes.io",
        "the roles of nodes, such as the one of the control plane",
    ),
    (
        "node-restriction.kubernetes.io",
        "a namespace of labels that a kubelet may not write",
    ),
    ("kubelet.kubernetes.io", "the kubelet's own"),
    (
        "node.cloudprovider.kubernetes.io",
        "those of cloud providers, for nodes that they know nothing of yet",
    ),
    ("node.cluster.x-k8s.io", "those of the Cluster API"),
    ("node.k8s.io", "those of Kubernetes itself"),
];
/// Of these, the domain alone: those below it are given to others as well.
const BARE: [&str; 2] = ["kubernetes.io", "k8s.io"];

/// Is it this domain, or below it?
fn is_under(domain: &str, reserved: &str) -> bool {
    domain == reserved || (domain.strip_suffix(reserved)).is_some_and(|front| front.ends_with('.'))
}

fn prefix(text: &str) -> Result<String, String> {
    let domain = text
        .strip_suffix('/')
        .ok_or("it does not end in `/`, as in example.com/")?;
    if !api::names::is_subdomain(domain) {
        return Err("what stands before `/` is no DNS name, such as example.com".to_owned());
    }
    if let Some((_, whose)) = (RESERVED.iter()).find(|(reserved, _)| is_under(domain, reserved)) {
        return Err(format!(
            "these taints are {whose}: a rule would take them off, or fight over them"
        ));
    }
    if BARE.contains(&domain) {
        return Err("these taints are reserved for Kubernetes itself".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_others_is_refused_and_says_whose_it_is() {
        for (text, whose) in [
            ("node.kubernetes.io/", "of Kubernetes itself"),
            ("x.node.kubernetes.io/", "of Kubernetes itself"),
            ("node-role.kubernetes.io/", "the roles of nodes"),
            ("node-restriction.kubernetes.io/", "may not write"),
            ("kubelet.kubernetes.io/", "the kubelet's own"),
            ("node.cloudprovider.kubernetes.io/", "cloud providers"),
            ("node.cluster.x-k8s.io/", "Cluster API"),
            ("kubernetes.io/", "reserved for Kubernetes itself"),
            ("k8s.io/", "reserved for Kubernetes itself"),
            ("example.com", "does not end in `/`"),
            ("-/", "no DNS name"),
        ] {
            let refused = prefix(text).unwrap_err();
            assert!(refused.contains(whose), "{text}: {refused}");
        }
        for text in [
            "example.com/",
            "readiness.k8s.io/",
            "startup-taint.cluster-autoscaler.kubernetes.io/",
            "ignore-taint.cluster-autoscaler.kubernetes.io/",
            "karpenter.sh/",
            "my-node.kubernetes.io/",
            "node.cilium.io/",
        ] {
            assert_eq!(prefix(text).as_deref(), Ok(text));
        }
    }
}
