//! Which rules hold a node from its first moment, and the gate in a cluster: see [`api::birth`].

use std::path::Path;
use std::sync::Arc;

use api::Selector;
use api::birth::{Gate, NAME, not_by_kubelet};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource};
use planner::Timestamp;
use planner::facts::Node;
use planner::plan::{Action, State};
use planner::rule::TaintPrefixes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{RequestError, timely};
use crate::connect::{ConnectError, connect};
use crate::crds::FIELD_MANAGER;
use crate::decide::{ActiveRule, Rules, Seats, decide};

/// Does a rule hold a node that shows nothing yet?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNodes {
    /// Does it?
    pub held: bool,
    /// CamelCase word.
    pub reason: String,
    /// Sentence.
    pub message: String,
}

impl NewNodes {
    /// Also says where a kubelet cannot create a node that the rule selects, and a gate so cannot hold it.
    #[must_use]
    pub(crate) fn with_what_kubelets_may_not(mut self, selector: &LabelSelector) -> Self {
        if self.held
            && let Some(limit) = what_kubelets_may_not(selector)
        {
            self.message.push_str(&format!("; {limit}"));
        }
        self
    }
}

/// Where a gate cannot hold a node that the rule selects, since the kubelet that creates it may not set the label;
/// none if it may.
pub fn what_kubelets_may_not(selector: &LabelSelector) -> Option<String> {
    let label = not_by_kubelet(selector)?;
    Some(format!(
        "not where the kubelet itself creates the node: it may not set label {label}, by which the rule selects \
         (give such kubelets --register-with-taints, or select by a label that they may set)"
    ))
}

/// What would be decided about a node of the rule that was created just now, without conditions. Among `all` rules
/// those matter that are about the same taint on every such node. `frozen`: every rule is.
pub fn new_nodes(
    active: &ActiveRule,
    all: &[ActiveRule],
    prefixes: &TaintPrefixes,
    frozen: bool,
    now: Timestamp,
) -> NewNodes {
    let node = Arc::new(Node {
        created: Some(now),
        ..Node::default()
    });
    // Whatever they select, they select this one.
    let of_this_node = |rule: &ActiveRule| ActiveRule {
        selector: Arc::new(Selector::default()),
        seen_present: Arc::default(),
        ..rule.clone()
    };
    let others = all.iter().filter(|other| {
        let (one, other_rule) = (&active.rule, &other.rule);
        one.uid != other_rule.uid
            && one.taint == other_rule.taint
            && !other.stalled
            && !other_rule.terminating
            && other.selector.covers(&active.selector)
    });
    let competing: Vec<_> = std::iter::once(active)
        .chain(others)
        .map(of_this_node)
        .collect();
    let seats = Seats::new(Vec::new);
    let rules = Rules {
        active: &competing,
        stalled: &Default::default(),
        gone: &Default::default(),
        prefixes,
        frozen,
        seats: &seats,
        // Nothing runs on it yet.
        related: &(),
    };
    let decided = decide(&node, rules, None, now);
    // This rule comes first there too.
    let Some(outcome) = decided.plan.outcomes.first() else {
        return no("NotDecided", "nothing was decided");
    };
    let counts = active.rule.budget.is_some() && outcome.counts;
    match &outcome.state {
        // A gate would give a node this rule's taint, and the next plan would go by the other rule.
        State::Conflict { winner } => no(
            "OtherRuleDecides",
            &format!(
                "rule {winner} comes first, and decides about the same taint on every node that this one selects"
            ),
        ),
        State::OverBudget => no(BUDGET.0, BUDGET.1),
        State::DryRun { .. } => no("DryRun", "the rule changes no node"),
        _ if outcome.action == Action::AddTaint && counts => no(BUDGET.0, BUDGET.1),
        _ => NewNodes {
            held: outcome.action == Action::AddTaint,
            reason: outcome.reason.clone(),
            message: outcome.message.clone(),
        },
    }
}

/// An admission policy cannot count.
const BUDGET: (&str, &str) = (
    "BudgetCountsNewNodes",
    "spec.budget.exemptYoungerThan is 0: the budget has to be asked about each node",
);

fn no(reason: &str, message: &str) -> NewNodes {
    NewNodes {
        held: false,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// Why the gate is not in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is too old.
    #[error(
        "the API server ({0}) does not serve MutatingAdmissionPolicy in admissionregistration.k8s.io/v1, which is there \
         from Kubernetes 1.36 on"
    )]
    NotServed(String),
    /// Others own fields that it would change.
    #[error(
        "{object} is not applied: {why}; --force-conflicts takes these fields over, as in kubectl"
    )]
    Conflict {
        /// Kind and name.
        object: String,
        /// Who, and which fields.
        why: String,
    },
    /// The API server is against it, or does not answer.
    #[error("{object} is not applied: {why}")]
    Refused {
        /// Kind and name.
        object: String,
        /// What it says.
        why: String,
    },
}

/// Applies a gate on the server's side.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply(
    kubeconfig: Option<&Path>,
    gate: &Gate,
    force_conflicts: bool,
) -> Result<(), ApplyError> {
    let client = connect(kubeconfig).await?;
    if let Some(version) = is_too_old(&client).await? {
        return Err(ApplyError::NotServed(version));
    }
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    parameters.force = force_conflicts;
    // Without its binding a policy does nothing.
    apply_one(&client, &gate.policy, &parameters).await?;
    apply_one(&client, &gate.binding, &parameters).await
}

/// The version of an API server that cannot have a gate.
async fn is_too_old(client: &Client) -> Result<Option<String>, ApplyError> {
    let refused = |error: RequestError| ApplyError::Refused {
        object: "the gate".to_owned(),
        why: error.to_string(),
    };
    let version = MutatingAdmissionPolicy::api_version(&());
    let resources = timely(client.list_api_group_resources(&version));
    let resources = resources.await.map_err(refused)?.resources;
    let plural = MutatingAdmissionPolicy::plural(&());
    if resources.iter().any(|resource| resource.name == plural) {
        return Ok(None);
    }
    let version = timely(client.apiserver_version()).await.map_err(refused)?;
    Ok(Some(version.git_version))
}

async fn apply_one<K>(
    client: &Client,
    object: &K,
    parameters: &PatchParams,
) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::<K>::all(client.clone());
    let applied = timely(api.patch(NAME, parameters, &Patch::Apply(object))).await;
    let object = format!("{} {NAME}", K::kind(&()));
    match applied {
        Ok(_) => Ok(()),
        Err(RequestError::Conflict(why)) => Err(ApplyError::Conflict { object, why }),
        Err(error) => {
            let why = error.to_string();
            Err(ApplyError::Refused { object, why })
        }
    }
}

/// What became of the gate, or of one of its objects. The later one counts more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deleted {
    /// There is none.
    NotThere,
    /// It is, or would be, deleted.
    Yes,
    /// It is there, or may be.
    No,
}

/// Deletes the gate, where there is one; `say` is called with a line for each object.
pub(crate) async fn delete(client: &Client, dry_run: bool, say: &mut dyn FnMut(&str)) -> Deleted {
    // Without its binding the policy does nothing.
    let binding = delete_one::<MutatingAdmissionPolicyBinding>(client, dry_run, say).await;
    let policy = delete_one::<MutatingAdmissionPolicy>(client, dry_run, say).await;
    binding.max(policy)
}

async fn delete_one<K>(client: &Client, dry_run: bool, say: &mut dyn FnMut(&str)) -> Deleted
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = Api::<K>::all(client.clone());
    let parameters = DeleteParams {
        dry_run,
        ..DeleteParams::default()
    };
    let object = format!("{}/{NAME}", K::kind(&()).to_lowercase());
    match timely(api.delete(NAME, &parameters)).await {
        Ok(_) if dry_run => say(&format!("{object}: would be deleted")),
        Ok(_) => say(&format!("{object}: deleted")),
        // Nor is there one where the API server knows no such kind.
        Err(RequestError::NotFound(_)) => return Deleted::NotThere,
        Err(error) => {
            say(&format!(
                "{object}: not deleted, and if it is there it goes on to taint new nodes: {error}"
            ));
            return Deleted::No;
        }
    }
    Deleted::Yes
}
