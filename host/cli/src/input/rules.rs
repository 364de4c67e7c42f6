//! Rules from files: as strict as the API server.

use std::collections::HashMap;

use api::{NodeReadinessRule, check};
use planner::rule::TaintPrefixes;

use super::tree::Tree;
use super::yaml::{self, place};
use super::{BadInput, Source};

/// What a rule calls itself.
const API_VERSION: &str = "readiness.node.x-k8s.io/v1alpha1";
const KIND: &str = "NodeReadinessRule";

/// A rule with the place where it was read.
#[derive(Debug)]
pub struct GivenRule {
    /// The rule.
    pub object: NodeReadinessRule,
    /// `file:line:column`
    pub place: String,
    file: String,
    tree: Tree,
}

impl GivenRule {
    /// `file:line:column` of a field, or of what is nearest above it.
    pub fn place_of(&self, field: &str) -> String {
        place(&self.file, Some(self.tree.locate(field)))
    }
}

/// Every rule in these sources, in their order.
pub fn rules(sources: &[Source], prefixes: &TaintPrefixes) -> Result<Vec<GivenRule>, BadInput> {
    let mut rules = Vec::new();
    let mut problems = Vec::new();
    for source in sources {
        // JSON is YAML, and this way its errors have a place too.
        match yaml::documents::<Tree>(source) {
            Ok(documents) => {
                for document in documents {
                    for object in document.objects("NodeReadinessRuleList") {
                        match decode(source, object, prefixes) {
                            Ok(rule) => rules.push(rule),
                            Err(found) => problems.extend(found),
                        }
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(duplicates(&rules));
    if rules.is_empty() && problems.is_empty() {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        problems.push(format!("there is no {KIND} in {}", names.join(", ")));
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(BadInput(problems))
    }
}

fn decode(
    source: &Source,
    tree: &Tree,
    prefixes: &TaintPrefixes,
) -> Result<GivenRule, Vec<String>> {
    let at = |field: &str| place(&source.name, Some(tree.locate(field)));
    let word = |field: &str| tree.get(field).and_then(Tree::text);
    let expected = format!("a rule has `apiVersion: {API_VERSION}` and `kind: {KIND}`");
    match (word("apiVersion"), word("kind")) {
        (Some(API_VERSION), Some(KIND)) => {}
        (_, None) => {
            return Err(vec![format!(
                "{}: the document has no kind: {expected}",
                at("")
            )]);
        }
        (_, Some(kind)) if kind != KIND => {
            return Err(vec![format!(
                "{}: this is a {kind}: {expected}",
                at("kind")
            )]);
        }
        (found, Some(_)) => {
            let found = found.map_or_else(
                || "no apiVersion".to_owned(),
                |found| format!("apiVersion {found}"),
            );
            return Err(vec![format!(
                "{}: this {KIND} has {found}: {expected}",
                at("apiVersion")
            )]);
        }
    }
    let value = tree.to_value();
    let name = value["metadata"]["name"]
        .as_str()
        .map_or_else(String::new, |name| format!("rule '{name}': "));
    let object = check::decode(value, prefixes).map_err(|problems| {
        let sentence =
            |problem: &check::Problem| format!("{}: {name}{problem}", at(&problem.field));
        problems.iter().map(sentence).collect::<Vec<_>>()
    })?;
    // What the schema lets pass and no node can be given.
    if let Err(error) = object.to_rule(prefixes) {
        let error = error.to_string();
        let field = error.split(": ").next().unwrap_or_default();
        return Err(vec![format!("{}: {name}{error}", at(field))]);
    }
    Ok(GivenRule {
        object,
        place: at(""),
        file: source.name.clone(),
        tree: tree.clone(),
    })
}

fn duplicates(rules: &[GivenRule]) -> Vec<String> {
    let mut places: HashMap<&str, &str> = HashMap::new();
    let mut problems = Vec::new();
    for rule in rules {
        let name = rule.object.metadata.name.as_deref().unwrap_or_default();
        if let Some(first) = places.get(name) {
            problems.push(format!(
                "{}: rule '{name}' was given already: {first}",
                rule.place
            ));
        } else {
            places.insert(name, &rule.place);
        }
    }
    problems
}
