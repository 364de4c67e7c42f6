//! Nodes from files, as `kubectl get nodes -o yaml` or `-o json` saves them.
//!
//! Decoded straight into the slim type: images and managed fields are never in memory.

mod document;

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use self::document::{Document, Object};
use super::yaml::{self, place};
use super::{BadInput, Source};

const KIND: &str = "Node";

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

/// Every node in these sources, in their order.
pub fn nodes(sources: &[Source]) -> Result<Vec<GivenNode>, BadInput> {
    let mut nodes = Vec::new();
    let mut problems = Vec::new();
    for source in sources {
        match documents::<Spanned<Document>>(source) {
            Ok(documents) => {
                for (index, document) in documents.into_iter().enumerate() {
                    take(source, index, document, &mut nodes, &mut problems);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(duplicates(&nodes));
    if nodes.is_empty() && problems.is_empty() {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        problems.push(format!("there is no {KIND} in {}", names.join(", ")));
    }
    if problems.is_empty() {
        Ok(nodes)
    } else {
        Err(BadInput(problems))
    }
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

fn take(
    source: &Source,
    index: usize,
    document: Spanned<Document>,
    nodes: &mut Vec<GivenNode>,
    problems: &mut Vec<String>,
) {
    let Spanned {
        value: document,
        referenced,
        ..
    } = document;
    let list = document.object.kind.as_deref().unwrap_or_default();
    // Only in a list of their own may items go without a kind.
    let inherited = (list == "NodeList").then_some(KIND);
    let Some(items) = document.items else {
        let at = position(place(&source.name, Some(referenced)), "document", index);
        match node(document.object, None, at) {
            Ok(node) => nodes.push(node),
            Err(problem) => problems.push(problem),
        }
        return;
    };
    if !matches!(list, "List" | "NodeList") {
        let at = place(&source.name, Some(referenced));
        problems.push(format!(
            "{at}: this is {}: only a List or a NodeList has items",
            article(list)
        ));
        return;
    }
    for (index, item) in items.into_iter().enumerate() {
        let at = position(place(&source.name, Some(item.referenced)), "item", index);
        match node(item.value, inherited, at) {
            Ok(node) => nodes.push(node),
            Err(problem) => problems.push(problem),
        }
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

fn node(object: Object, inherited: Option<&str>, at: String) -> Result<GivenNode, String> {
    let Object {
        api_version,
        kind,
        has_name,
        has_status,
        node,
    } = object;
    let expected = "a node has `apiVersion: v1` and `kind: Node`";
    match kind.as_deref().or(inherited) {
        Some(KIND) => {}
        Some(kind) => return Err(format!("{at}: this is {}: {expected}", article(kind))),
        None => return Err(format!("{at}: the document has no kind: {expected}")),
    }
    match api_version.as_deref() {
        Some("v1") => {}
        None if inherited.is_some() => {}
        Some(found) => {
            return Err(format!(
                "{at}: this Node has apiVersion {found}: {expected}"
            ));
        }
        None => return Err(format!("{at}: this Node has no apiVersion: {expected}")),
    }
    if !has_name {
        return Err(format!("{at}: this Node has no metadata.name"));
    }
    let node = node.map_err(|problem| format!("{at}: this Node cannot be read: {problem}"))?;
    Ok(GivenNode {
        node,
        place: at,
        has_status,
    })
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
