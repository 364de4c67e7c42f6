//! Nodes from files, as `kubectl get nodes -o yaml` or `-o json` saves them; and DaemonSets, pods,
//! leases, CSINodes and ResourceSlices, where they are among them.
//!
//! Decoded straight into the slim type: images and managed fields are never in memory. Only to say
//! where a mistake is, a file is read once more, with the place of every field.

mod document;

use std::collections::HashMap;
use std::sync::Arc;

use api::check;
use planner::devices::Slice;
use planner::lease::Lease;
use planner::related::Related;
use planner::rule::TaintPrefixes;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use self::document::{CSI_NODE, DAEMON_SET, Document, LEASE, Object, POD, RESOURCE_SLICE};
use super::tree::Tree;
use super::yaml::{self, place};
use super::{BadInput, Source};

const KIND: &str = "Node";
const LIST: &str = "NodeList";

/// A node with the place where it was read.
#[derive(Debug)]
pub struct GivenNode {
    /// The node.
    pub node: api::Node,
    /// `file:line:column`
    pub place: String,
    /// Has it a `status`?
    pub has_status: bool,
}

/// What rules are evaluated on.
#[derive(Debug, Default)]
pub struct Given {
    /// At least one, each with another name.
    pub nodes: Vec<GivenNode>,
    /// Whose pods may report conditions, and should run on nodes.
    pub daemon_sets: Vec<api::DaemonSet>,
    /// What runs on the nodes.
    pub pods: Vec<api::Pod>,
    /// Leases, those of nodes among them.
    pub leases: Vec<api::NodeLease>,
    /// The drivers of nodes.
    pub csi_nodes: Vec<api::CsiNode>,
    /// The devices of nodes.
    pub resource_slices: Vec<api::ResourceSlice>,
}

impl Given {
    /// What belongs to each node.
    pub fn related(&mut self, prefixes: &TaintPrefixes) -> HashMap<String, Related> {
        let mut pods: HashMap<String, Vec<planner::pods::Pod>> = HashMap::new();
        let there = |pod: &api::Pod| !pod.node.is_empty() && !pod.terminating;
        for pod in std::mem::take(&mut self.pods).into_iter().filter(there) {
            pods.entry(pod.node).or_default().push(pod.facts);
        }
        let mut all: HashMap<String, Related> = HashMap::new();
        for (node, pods) in pods {
            all.entry(node).or_insert_with(Related::nothing).pods = Some(pods.into());
        }
        let of_node = |lease: &api::NodeLease| {
            lease.metadata.namespace.as_deref() == Some(api::lease::NODE_LEASES)
        };
        for lease in std::mem::take(&mut self.leases).into_iter().filter(of_node) {
            let node = lease.metadata.name.unwrap_or_default();
            let lease = Lease::renewed(lease.renewed);
            all.entry(node).or_insert_with(Related::nothing).lease = Some(lease);
        }
        for csi_node in std::mem::take(&mut self.csi_nodes) {
            let node = csi_node.metadata.name.unwrap_or_default();
            let related = all.entry(node).or_insert_with(Related::nothing);
            related.drivers = Some(csi_node.drivers);
        }
        let mut slices: HashMap<String, Vec<Slice>> = HashMap::new();
        let of_node = |slice: &api::ResourceSlice| !slice.node.is_empty();
        let given = std::mem::take(&mut self.resource_slices).into_iter();
        for slice in given.filter(of_node) {
            slices.entry(slice.node).or_default().push(slice.facts);
        }
        for (node, slices) in slices {
            let related = all.entry(node).or_insert_with(Related::nothing);
            related.slices = Some(slices.into_iter().collect());
        }
        let there = |set: &&api::DaemonSet| set.metadata.deletion_timestamp.is_none();
        for node in self.nodes.iter().map(|given| &given.node.facts) {
            let sets = self.daemon_sets.iter().filter(there);
            let here = sets.filter(|set| set.placed.should_run_on(node, prefixes));
            let here = here.map(|set| Arc::clone(&set.placed.facts));
            let related = all.entry(node.name.clone());
            let related = related.or_insert_with(Related::nothing);
            related.daemon_sets = Some(here.collect());
        }
        all
    }
}

/// Every node, and every object beside one, in these sources, in their order.
pub fn nodes(sources: &[Source]) -> Result<Given, BadInput> {
    let Given {
        mut nodes,
        mut daemon_sets,
        mut pods,
        mut leases,
        mut csi_nodes,
        mut resource_slices,
    } = Given::default();
    let mut problems = Vec::new();
    for source in sources {
        let mut found = Found::default();
        match documents::<Spanned<Document>>(source) {
            Ok(documents) => {
                for (index, document) in documents.into_iter().enumerate() {
                    take(source, index, document, &mut found);
                }
            }
            Err(problem) => found.in_fields.push(problem),
        }
        nodes.append(&mut found.given.nodes);
        daemon_sets.append(&mut found.given.daemon_sets);
        pods.append(&mut found.given.pods);
        leases.append(&mut found.given.leases);
        csi_nodes.append(&mut found.given.csi_nodes);
        resource_slices.append(&mut found.given.resource_slices);
        problems.append(&mut found.problems);
        if !found.in_fields.is_empty() {
            let located = located(source);
            problems.extend(if located.is_empty() {
                found.in_fields
            } else {
                located
            });
        }
    }
    problems.extend(duplicates(&nodes));
    if nodes.is_empty() && problems.is_empty() {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        problems.push(format!("there is no {KIND} in {}", names.join(", ")));
    }
    if problems.is_empty() {
        Ok(Given {
            nodes,
            daemon_sets,
            pods,
            leases,
            csi_nodes,
            resource_slices,
        })
    } else {
        Err(BadInput(problems))
    }
}

/// What a source has in it.
#[derive(Default)]
struct Found {
    given: Given,
    problems: Vec<String>,
    /// Problems of single fields, with a place that is not the field's.
    in_fields: Vec<String>,
}

/// The problems of single fields with the place of each. Empty if the source is not even YAML.
fn located(source: &Source) -> Vec<String> {
    let documents = yaml::documents::<Tree>(source).unwrap_or_default();
    let kind = |object: &Tree| object.get("kind").and_then(Tree::text).map(str::to_owned);
    let mut problems = Vec::new();
    for document in &documents {
        let inherited = (kind(document).as_deref() == Some(LIST)).then_some(KIND);
        for object in document.objects(LIST) {
            if kind(object).as_deref().or(inherited) != Some(KIND) {
                continue;
            }
            let raw = object.to_value();
            let name = raw["metadata"]["name"].as_str();
            let name = name.map_or_else(String::new, |name| format!("node '{name}': "));
            problems.extend(check::check_node(&raw).iter().map(|problem| {
                let at = place(&source.name, Some(object.locate(&problem.field)));
                format!("{at}: {name}{problem}")
            }));
        }
    }
    problems
}

/// All documents of a source. JSON is read as such: ten times faster.
fn documents<T: DeserializeOwned>(source: &Source) -> Result<Vec<T>, String> {
    if !source.looks_like_json() {
        return yaml::documents(source);
    }
    let stream = serde_json::Deserializer::from_slice(&source.bytes).into_iter();
    match stream.collect::<Result<Vec<T>, _>>() {
        Ok(documents) => Ok(documents),
        Err(error) if source.is_json_file() => Err(json_sentence(source, &error)),
        // YAML in flow style may begin like JSON.
        Err(error) => yaml::documents(source).map_err(|_| json_sentence(source, &error)),
    }
}

fn json_sentence(source: &Source, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!(
        "{}:{}:{}: {what}",
        source.name,
        error.line(),
        error.column()
    )
}

fn take(source: &Source, index: usize, document: Spanned<Document>, found: &mut Found) {
    let Spanned {
        value: document,
        referenced,
        ..
    } = document;
    let list = document.object.kind.as_deref().unwrap_or_default();
    // Only in a list of their own may items go without a kind.
    let inherited = (list == LIST).then_some(KIND);
    let Some(items) = document.items else {
        let at = position(place(&source.name, Some(referenced)), "document", index);
        found.add(document.object, None, at);
        return;
    };
    if !matches!(list, "List" | LIST) {
        let at = place(&source.name, Some(referenced));
        found.problems.push(format!(
            "{at}: this is {}: only a List or a NodeList has items",
            article(list)
        ));
        return;
    }
    for (index, item) in items.into_iter().enumerate() {
        let at = position(place(&source.name, Some(item.referenced)), "item", index);
        found.add(item.value, inherited, at);
    }
}

/// Where lines are not known (JSON), the number must do.
fn position(place: String, what: &str, index: usize) -> String {
    if place.ends_with(|last: char| last.is_ascii_digit()) && place.contains(':') {
        place
    } else {
        format!("{place}, {what} {}", index + 1)
    }
}

/// An object beside the nodes, of this kind and version, or what is wrong with it.
fn beside<T>(
    kind: &str,
    version: &str,
    is: Option<&str>,
    read: Result<T, String>,
) -> Result<T, String> {
    if is != Some(version) {
        return Err(format!("a {kind} has `apiVersion: {version}`"));
    }
    read.map_err(|problem| format!("this {kind} cannot be read: {problem}"))
}

impl Found {
    fn add(&mut self, object: Object, inherited: Option<&str>, at: String) {
        let version = object.api_version.as_deref();
        let given = &mut self.given;
        let beside = if let Some(daemon_set) = object.daemon_set {
            beside(DAEMON_SET, "apps/v1", version, daemon_set).map(|it| given.daemon_sets.push(it))
        } else if let Some(pod) = object.pod {
            beside(POD, "v1", version, pod).map(|pod| given.pods.push(pod))
        } else if let Some(lease) = object.lease {
            beside(LEASE, "coordination.k8s.io/v1", version, lease)
                .map(|lease| given.leases.push(lease))
        } else if let Some(csi_node) = object.csi_node {
            beside(CSI_NODE, "storage.k8s.io/v1", version, csi_node)
                .map(|csi_node| given.csi_nodes.push(csi_node))
        } else if let Some(slice) = object.resource_slice {
            beside(RESOURCE_SLICE, "resource.k8s.io/v1", version, slice)
                .map(|slice| given.resource_slices.push(slice))
        } else {
            return self.add_node(object, inherited, at);
        };
        if let Err(problem) = beside {
            self.problems.push(format!("{at}: {problem}"));
        }
    }

    fn add_node(&mut self, object: Object, inherited: Option<&str>, at: String) {
        if let Err(problem) = is_node(&object, inherited) {
            self.problems.push(format!("{at}: {problem}"));
            return;
        }
        match object.node {
            Err(problem) => self
                .in_fields
                .push(format!("{at}: this Node cannot be read: {problem}")),
            Ok(node) => {
                let facts = &node.facts;
                let problems = check::check_node_metadata(&facts.name, facts.labels.iter());
                let sentence =
                    |problem: &check::Problem| format!("{at}: node '{}': {problem}", facts.name);
                self.in_fields.extend(problems.iter().map(sentence));
                self.given.nodes.push(GivenNode {
                    node,
                    place: at,
                    has_status: object.has_status,
                });
            }
        }
    }
}

/// Does it say that it is a node, and which?
fn is_node(object: &Object, inherited: Option<&str>) -> Result<(), String> {
    let expected = "a node has `apiVersion: v1` and `kind: Node`";
    match object.kind.as_deref().or(inherited) {
        Some(KIND) => {}
        Some(kind) => return Err(format!("this is {}: {expected}", article(kind))),
        None => return Err(format!("the document has no kind: {expected}")),
    }
    match object.api_version.as_deref() {
        Some("v1") => {}
        None if inherited.is_some() => {}
        Some(found) => return Err(format!("this Node has apiVersion {found}: {expected}")),
        None => return Err(format!("this Node has no apiVersion: {expected}")),
    }
    if object.has_name {
        Ok(())
    } else {
        Err("this Node has no metadata.name".to_owned())
    }
}

fn article(kind: &str) -> String {
    match kind {
        "" => "a document without a kind".to_owned(),
        kind => format!("a {kind}"),
    }
}

fn duplicates(nodes: &[GivenNode]) -> Vec<String> {
    let mut places: HashMap<&str, &str> = HashMap::new();
    let mut problems = Vec::new();
    for given in nodes {
        let name = given.node.facts.name.as_str();
        if let Some(first) = places.get(name) {
            problems.push(format!(
                "{}: node '{name}' was given already: {first}",
                given.place
            ));
        } else {
            places.insert(name, &given.place);
        }
    }
    problems
}
