//! An apps/v1 `DaemonSet`, as little of it as says where its pods run and which conditions of a node they
//! report.
//!
//! A rule whose taint keeps away the pods that report its condition waits for ever: on no node that
//! carries the taint can they begin. Everybody builds that once.

mod placed;
mod ring;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelector, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use planner::daemon_sets;
use planner::facts::Texts;
use planner::rule::{Effect, Rule, TaintId};
use serde::{Deserialize, Deserializer};

use crate::lenient;
use crate::selector::Selector;
use crate::slim::resource;
use crate::toleration::{Taint, tolerates};

pub use placed::Placed;
pub use ring::{Ring, rings};

/// What the pods of a DaemonSet report where no container says so: condition types, separated by
/// commas. On the DaemonSet or on its pods.
pub const REPORTS: &str = "readiness.node.x-k8s.io/reports";
/// The variables by which a reporter is told the type of its condition, or a list of checks with one each.
const CONDITION_TYPE: &str = "CONDITION_TYPE";
const CHECKS: &str = "CHECKS";

/// A DaemonSet as it was read.
#[derive(Debug, Clone)]
pub struct DaemonSet {
    /// Name, namespace, resource version, and whether it is being deleted.
    pub metadata: ObjectMeta,
    /// Condition types that its pods report, sorted.
    reports: Vec<String>,
    /// Where its pods should run.
    pub placed: Arc<Placed>,
    /// Its pods can run on the nodes that one of them selects.
    places: Vec<Selector>,
}

/// Pods that a rule's taint keeps from reporting what the rule waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocked {
    /// `namespace/name` of the DaemonSet.
    pub daemon_set: String,
    /// Condition types of the rule that its pods report.
    conditions: Vec<String>,
    toleration: String,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            daemon_set,
            conditions,
            toleration,
        } = self;
        let conditions = conditions.join(", ");
        write!(
            f,
            "DaemonSet {daemon_set} reports {conditions}, but its pods do not tolerate the taint that waits for it: \
             give them the toleration {toleration}"
        )
    }
}

impl DaemonSet {
    /// Does the taint of a rule, which selects these nodes, keep the pods from reporting what the rule waits
    /// for?
    pub fn blocked_by(&self, rule: &Rule, selector: &Selector) -> Option<Blocked> {
        let conditions = self.reported(rule);
        let blocked = !conditions.is_empty()
            && self.is_kept_away_by(rule)
            && self.places.iter().any(|place| place.overlaps(selector));
        blocked.then(|| Blocked {
            daemon_set: self.name(),
            conditions,
            toleration: toleration(rule),
        })
    }

    /// The conditions of a rule that its pods report.
    fn reported(&self, rule: &Rule) -> Vec<String> {
        let required = |name: &&String| {
            let mut all = rule.requirements.iter();
            all.any(|requirement| requirement.condition == **name)
        };
        self.reports.iter().filter(required).cloned().collect()
    }

    /// Is it one of which no pod begins where the taint of this rule is?
    fn is_kept_away_by(&self, rule: &Rule) -> bool {
        let taint = Taint {
            key: &rule.taint.key,
            value: rule.taint_value.as_deref().unwrap_or_default(),
            effect: rule.taint.effect.as_str(),
        };
        self.metadata.deletion_timestamp.is_none()
            && keeps_away(rule)
            && !tolerates(&self.placed.tolerations, taint)
    }

    /// `namespace/name`
    fn name(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}

/// What tolerates the taint of this rule.
fn toleration(rule: &Rule) -> String {
    let TaintId { key, effect } = &rule.taint;
    format!("{{key: {key}, operator: Exists, effect: {effect}}}")
}

/// Can the taint of this rule keep a pod away?
pub fn keeps_away(rule: &Rule) -> bool {
    !rule.terminating && rule.taint.effect != Effect::PreferNoSchedule
}

resource!(
    DaemonSet,
    NamespaceResourceScope,
    "apps",
    "v1",
    "DaemonSet",
    "daemonsets"
);

impl<'de> Deserialize<'de> for DaemonSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        WireDaemonSet::deserialize(from).map(Self::from)
    }
}

#[derive(Deserialize)]
struct WireDaemonSet {
    metadata: WireMeta,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WireSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMeta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "lenient::string")]
    uid: String,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    labels: Texts,
    #[serde(default, deserialize_with = "lenient::or_default")]
    annotations: Texts,
    #[serde(default, deserialize_with = "lenient::mark")]
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
struct WireSpec {
    #[serde(default, deserialize_with = "lenient::or_default")]
    template: WireTemplate,
}

#[derive(Default, Deserialize)]
struct WireTemplate {
    #[serde(default, deserialize_with = "lenient::or_default")]
    metadata: WireMeta,
    #[serde(default, deserialize_with = "lenient::or_default")]
    spec: WirePod,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePod {
    #[serde(default, deserialize_with = "lenient::or_default")]
    containers: Vec<WireContainer>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    init_containers: Vec<WireContainer>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    tolerations: Vec<Toleration>,
    #[serde(default, deserialize_with = "lenient::string")]
    node_name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    node_selector: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    affinity: WireAffinity,
}

#[derive(Default, Deserialize)]
struct WireContainer {
    #[serde(default, deserialize_with = "lenient::or_default")]
    env: Vec<WireVariable>,
}

#[derive(Deserialize)]
struct WireVariable {
    #[serde(default, deserialize_with = "lenient::string")]
    name: String,
    #[serde(default, deserialize_with = "lenient::string")]
    value: String,
}

/// An item of [`CHECKS`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    condition_type: String,
}

impl WireVariable {
    /// The types that it names.
    fn conditions(&self) -> Vec<String> {
        match self.name.as_str() {
            CONDITION_TYPE => vec![self.value.clone()],
            CHECKS => {
                // The reporter says what is wrong with it.
                let checks: Vec<Check> = serde_json::from_str(&self.value).unwrap_or_default();
                checks
                    .into_iter()
                    .map(|check| check.condition_type)
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAffinity {
    #[serde(default, deserialize_with = "lenient::or_default")]
    node_affinity: WireNodeAffinity,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireNodeAffinity {
    #[serde(default)]
    required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
}

impl From<WireDaemonSet> for DaemonSet {
    fn from(wire: WireDaemonSet) -> Self {
        let WireDaemonSet { metadata, spec } = wire;
        let WireTemplate {
            metadata: of_pods,
            spec: pod,
        } = spec.template;
        let annotated = [&metadata, &of_pods];
        let annotated = annotated
            .into_iter()
            .filter_map(|metadata| metadata.annotations.get(REPORTS));
        let annotated = annotated.flat_map(|text| text.split(',').map(str::to_owned));
        let containers = pod.containers.iter().chain(&pod.init_containers);
        let variables = containers.flat_map(|container| &container.env);
        let mut reports: Vec<String> = annotated
            .chain(variables.flat_map(WireVariable::conditions))
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        reports.sort();
        reports.dedup();
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let facts = daemon_sets::DaemonSet {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: crate::pod::uid(&metadata.uid),
            labels: metadata.labels,
        };
        let affinity = pod.affinity.node_affinity;
        let placed = Placed {
            facts: Arc::new(facts),
            node_name: pod.node_name,
            node_selector: pod.node_selector,
            affinity: affinity.required_during_scheduling_ignored_during_execution,
            tolerations: pod.tolerations,
        };
        Self {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                resource_version: metadata.resource_version,
                deletion_timestamp: metadata.deletion_timestamp.map(Time),
                ..ObjectMeta::default()
            },
            reports,
            places: placed.places(),
            placed: Arc::new(placed),
        }
    }
}

#[cfg(test)]
mod tests;
