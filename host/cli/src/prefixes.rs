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

fn prefix(text: &str) -> Result<String, String> {
    let domain = text
        .strip_suffix('/')
        .ok_or("it does not end in `/`, as in example.com/")?;
    if !api::names::is_subdomain(domain) {
        return Err("what stands before `/` is no DNS name, such as example.com".to_owned());
    }
    if domain == "node.kubernetes.io" {
        return Err("these taints belong to Kubernetes itself".to_owned());
    }
    Ok(text.to_owned())
}
