//! Takes back what hosts put on the nodes of a cluster, before the last of them goes for good.
//!
//! What is ours is what the planner says when a rule is gone: its records on the nodes. A taint of
//! which there is no record stays. While this runs nobody else may write: it holds the lease.

mod deployment;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::NodeReadinessRule;
use api::node::Node;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt};
use planner::Timestamp;
use planner::plan::{Candidate, Input, Plan, plan};
use planner::rule::{DEFAULT_POLICY, Rule, TaintId, TaintPrefixes};
use tokio::time::timeout;

use crate::birth::{self, Deleted};
use crate::client::{RequestError, TIMEOUT, patch_metadata, timely};
use crate::connect::{ConnectError, connect, connect_apart};
use crate::lease::{self, Election, NoNamespace};
use crate::metrics::Metrics;

/// The API server hands objects out in pages of so many.
const PAGE: u32 = 500;
/// How often a node is planned for again where somebody else changed it meanwhile.
const ATTEMPTS: usize = 4;
/// A lease of somebody who is gone is over after 15 s.
const LEASE: Duration = Duration::from_secs(45);

/// What is taken back, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of a kubeconfig; none: as for the control loop.
    pub kubeconfig: Option<PathBuf>,
    /// What the keys of rules' taints may begin with.
    pub prefixes: TaintPrefixes,
    /// Label selector of rules that are deleted too; none: every rule stays.
    pub delete_rules: Option<String>,
    /// Namespace and name of a Deployment that is scaled to zero first.
    pub deployment: Option<(String, String)>,
    /// Namespace of the lease; none: that of the pod.
    pub lease_namespace: Option<String>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Why not everything was taken back.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is not known where the lease is.
    #[error(transparent)]
    Namespace(#[from] NoNamespace),
    /// A metric has a name that Prometheus refuses: a defect.
    #[error("the metrics cannot be made: {0}; please report this")]
    Names(#[from] prometheus::Error),
    /// Somebody else holds the lease, or it cannot be read.
    #[error(
        "lease {namespace}/{name} could not be taken within 45 s{why}: while another host or controller \
         runs it would put everything back; end it, and try again"
    )]
    Lease {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: &'static str,
        /// Who holds it.
        why: String,
    },
    /// There is no place for the lease, and waiting does not help.
    #[error(
        "namespace {namespace} does not exist, and lease {name} would be in it: if what ran there was deleted together with \
         its namespace, give another one that exists, as --leader-election-namespace=default; else give that of the hosts"
    )]
    NoPlace {
        /// The namespace that is not there.
        namespace: String,
        /// Name of the lease.
        name: &'static str,
    },
    /// The Deployment's pods do not end.
    #[error("Deployment {name}: {why}")]
    Deployment {
        /// Namespace and name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Something cannot be read or written.
    #[error("{what}: {why}")]
    Request {
        /// What was asked for.
        what: String,
        /// What the API server said.
        why: String,
    },
    /// A host is running all the same.
    #[error(
        "rule {rule} has its finalizer again: a host or controller runs that holds no lease, or one in \
         another namespace, and puts everything back; end it, and try again"
    )]
    PutBack {
        /// One of the rules.
        rule: String,
    },
    /// Some taints are nobody's that is known.
    #[error(
        "{taints} taints stay that are recorded as those of rules that do not exist, with keys that no rule may have: give \
         their prefixes by --taint-key-prefix and try again, or remove the annotation of a node that nobody may believe"
    )]
    Left {
        /// How many.
        taints: usize,
    },
    /// It may still be there.
    #[error(
        "the gate at birth is not deleted, and while it is there new nodes get taints that nobody takes off; what was \
         said above must be put right, then try again"
    )]
    Gate,
    /// Some nodes are not free.
    #[error(
        "{failed} of {all} nodes are not free, and so every finalizer stays; what was said above must be \
         put right, then try again"
    )]
    Nodes {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

/// How much was, or would be, done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes that were patched.
    pub nodes: usize,
    /// Taints that were removed.
    pub taints: usize,
    /// Rules that were deleted.
    pub deleted: usize,
    /// Rules whose finalizer was removed.
    pub finalizers: usize,
}

/// Takes everything back. `say` is called with a line for each thing that is, or would be, done.
///
/// # Errors
/// See [`CleanupError`]. It can be run again at any time.
pub async fn run(options: Options, say: &mut dyn FnMut(&str)) -> Result<Summary, CleanupError> {
    let kubeconfig = options.kubeconfig.as_deref();
    let client = connect(kubeconfig).await?;
    if let Some((namespace, name)) = &options.deployment {
        deployment::stop(&client, namespace, name, options.dry_run, say).await?;
    }
    if options.dry_run {
        return Cleanup::new(client, options).run(say).await;
    }
    let namespace = lease::namespace(options.lease_namespace.clone())?;
    let apart = connect_apart(kubeconfig, &Metrics::new(false)?).await?;
    let (election, mut gate) = Election::start(apart, &namespace, std::future::ready(()));
    let no_place = election.until_complaint(|why| is_no_place(why, &namespace));
    let begun = tokio::select! {
        begun = timeout(LEASE, gate.begins()) => begun.is_ok(),
        () = no_place => {
            let name = lease::NAME;
            return Err(CleanupError::NoPlace { namespace, name });
        }
    };
    if !begun {
        return Err(CleanupError::Lease {
            why: match election.complaint() {
                Some(complaint) => format!(": {complaint}"),
                None => lease::holder(&client, &namespace).await,
            },
            name: lease::NAME,
            namespace,
        });
    }
    let done = Cleanup::new(gate.guard(client), options).run(say).await;
    election.release().await;
    done
}

struct Cleanup {
    client: Client,
    options: Options,
    summary: Summary,
    /// Nodes with taints about which nothing is known.
    left: BTreeSet<(String, TaintId)>,
}

impl Cleanup {
    fn new(client: Client, options: Options) -> Self {
        Self {
            client,
            options,
            summary: Summary::default(),
            left: BTreeSet::new(),
        }
    }

    async fn run(mut self, say: &mut dyn FnMut(&str)) -> Result<Summary, CleanupError> {
        let gate = birth::delete(&self.client, self.options.dry_run, say).await;
        let rules = self.rules(ListParams::default()).await?;
        let known: Vec<Rule> = rules.iter().map(NodeReadinessRule::to_last_rule).collect();
        self.options.prefixes = self.options.prefixes.beside(&known);
        let deleted = self.delete(say).await?;
        self.free_all(&deleted, say).await?;
        if gate == Deleted::Yes && !self.options.dry_run {
            // An API server may have used it for a moment longer.
            self.free_all(&deleted, say).await?;
        }
        let deleted: BTreeSet<&str> = deleted.iter().map(|(rule, _)| rule.uid.as_str()).collect();
        for rule in &rules {
            if !deleted.contains(rule.uid().unwrap_or_default().as_str()) {
                self.reset_status(rule, say).await?;
            }
            self.remove_finalizer(rule, say).await?;
        }
        if self.summary.finalizers > 0 && !self.options.dry_run {
            self.until_nobody_reacts(&rules).await?;
        }
        if gate == Deleted::No {
            return Err(CleanupError::Gate);
        }
        match self.left.len() {
            0 => Ok(self.summary),
            taints => Err(CleanupError::Left { taints }),
        }
    }

    async fn free_all(
        &mut self,
        deleted: &[(Rule, api::Selector)],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), CleanupError> {
        let nodes = self.nodes().await?;
        let all = nodes.len();
        let mut failed = 0;
        for node in nodes {
            let name = node.facts.name.clone();
            if let Err(why) = self.free(node, deleted, say).await {
                say(&format!("node/{name}: not free: {why}"));
                failed += 1;
            }
        }
        if failed > 0 {
            return Err(CleanupError::Nodes { failed, all });
        }
        Ok(())
    }

    /// All rules that a selector names; none where there is no definition of them.
    async fn rules(&self, which: ListParams) -> Result<Vec<NodeReadinessRule>, CleanupError> {
        let rules = Api::<NodeReadinessRule>::all(self.client.clone());
        match timely(rules.list(&which)).await {
            Ok(list) => Ok(list.items),
            Err(RequestError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(request("rules cannot be listed", &error)),
        }
    }

    async fn nodes(&self) -> Result<Vec<Node>, CleanupError> {
        let nodes = Api::<Node>::all(self.client.clone());
        let mut listed = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = timely(nodes.list(&page)).await;
            let list = list.map_err(|error| request("nodes cannot be listed", &error))?;
            listed.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(listed),
            }
        }
    }

    /// Deletes the rules that are to go; their finalizer keeps them until their nodes are free.
    async fn delete(
        &mut self,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<(Rule, api::Selector)>, CleanupError> {
        let Some(selector) = self.options.delete_rules.clone() else {
            return Ok(Vec::new());
        };
        let chosen = self.rules(ListParams::default().labels(&selector)).await?;
        let api = Api::<NodeReadinessRule>::all(self.client.clone());
        let mut deleted = Vec::new();
        for object in chosen {
            let name = object.name_any();
            if !self.options.dry_run {
                match timely(api.delete(&name, &DeleteParams::default())).await {
                    Ok(_) | Err(RequestError::NotFound(_)) => {}
                    Err(error) => {
                        return Err(request(&format!("rule {name} cannot be deleted"), &error));
                    }
                }
            }
            say(&format!("rule/{name}: {}", self.past("deleted")));
            self.summary.deleted += 1;
            let (mut rule, selector) =
                match (object.to_rule(&self.options.prefixes), object.selector()) {
                    // One with another policy was never in force.
                    (Ok(rule), Ok(selector)) if rule.policy == DEFAULT_POLICY => (rule, selector),
                    _ => (object.to_last_rule(), api::Selector::nothing()),
                };
            rule.terminating = true;
            deleted.push((rule, selector));
        }
        Ok(deleted)
    }

    /// Takes from a node what is recorded there, and what a rule that is deleted leaves.
    async fn free(
        &mut self,
        mut node: Node,
        deleted: &[(Rule, api::Selector)],
        say: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let api = Api::<Node>::all(self.client.clone());
        let name = node.facts.name.clone();
        let mut refused = String::new();
        for _ in 0..ATTEMPTS {
            self.tell_left(&node, say);
            let plan = self.plan(&node, deleted);
            let Some(patch) = api::patch::node_patch(&node, &plan.changes) else {
                return Ok(());
            };
            let answer = if self.options.dry_run {
                Ok(())
            } else {
                let answer = patch_metadata(&api, &name, patch, TIMEOUT).await;
                answer.map(drop)
            };
            match answer {
                Ok(()) => {
                    self.tell(&name, &plan, say);
                    return Ok(());
                }
                Err(RequestError::NotFound(_)) => return Ok(()),
                // It changed meanwhile, or the API server is against it: the next attempt tells.
                Err(RequestError::Conflict(why) | RequestError::Refused(why)) => refused = why,
                Err(error) => return Err(error.to_string()),
            }
            node = match timely(api.get(&name)).await {
                Ok(fresh) => fresh,
                Err(RequestError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
        }
        Err(format!(
            "its patch was refused {ATTEMPTS} times in a row, at last so: {refused}"
        ))
    }

    /// As if no rule were there but those that are being deleted: what others own is released as
    /// that of a rule that is gone.
    fn plan(&self, node: &Node, deleted: &[(Rule, api::Selector)]) -> Plan {
        let candidates: Vec<_> = deleted
            .iter()
            .map(|(rule, selector)| Candidate {
                rule,
                selected: selector.matches(&node.facts.labels),
                stalled: false,
                verdict: None,
                seen_present: false,
                replaces: None,
                within_budget: true,
            })
            .collect();
        plan(&Input {
            node: &Arc::clone(&node.facts),
            now: Timestamp::now(),
            rules: &candidates,
            stalled: &Default::default(),
            gone: &Default::default(),
            prefixes: &self.options.prefixes,
            frozen: false,
            only: None,
        })
    }

    /// Says which taints stay, as nobody is known whose they are.
    fn tell_left(&mut self, node: &Node, say: &mut dyn FnMut(&str)) {
        let node = &node.facts;
        for record in planner::ownership::unknown(node, &self.options.prefixes) {
            let (name, taint, rule) = (&node.name, record.id(), &record.rule);
            if self.left.insert((name.clone(), taint.clone())) {
                say(&format!(
                    "node/{name}: taint {taint} stays: it is recorded as that of rule {rule}, which does not exist, and no rule may have it without a further --taint-key-prefix"
                ));
            }
        }
    }

    fn tell(&mut self, node: &str, plan: &Plan, say: &mut dyn FnMut(&str)) {
        for taint in &plan.changes.remove {
            say(&format!(
                "node/{node}: taint {taint} {}",
                self.past("removed")
            ));
        }
        if plan.changes.remove.is_empty() {
            say(&format!("node/{node}: records {}", self.past("removed")));
        }
        self.summary.nodes += 1;
        self.summary.taints += plan.changes.remove.len();
    }

    fn past(&self, verb: &str) -> String {
        if self.options.dry_run {
            format!("would be {verb}")
        } else {
            verb.to_owned()
        }
    }
}

/// Does the API server say that there is no such namespace? In the words of its admission.
fn is_no_place(why: &str, namespace: &str) -> bool {
    why.contains(&format!("namespaces \"{namespace}\" not found"))
}

fn request(what: &str, error: &RequestError) -> CleanupError {
    CleanupError::Request {
        what: what.to_owned(),
        why: error.to_string(),
    }
}
