//! What the API server would say of a rule or a node, for where there is none.
//!
//! A rule's schema is that of the definition; only its CEL rules are written a second time here, since a
//! CEL engine would be larger than the rest of the program's offline half. A test on the real API
//! server compares both. Immutability needs an older object and is not checked.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

use planner::rule::TaintPrefixes;

use crate::rule::{NodeReadinessRule, messages};
use crate::{crds, names};

mod node;

pub use node::{check_node, check_node_metadata};

/// Something that the API server would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.conditions[0].type`.
    pub field: String,
    /// In the words of the API server.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Decodes a `NodeReadinessRule` as strictly as `kubectl apply` does. The status is not looked at.
///
/// # Errors
/// What is wrong, in the order of the fields; at least one problem.
pub fn decode(mut raw: Value, prefixes: &TaintPrefixes) -> Result<NodeReadinessRule, Vec<Problem>> {
    let problems = check(&raw, prefixes);
    if !problems.is_empty() {
        return Err(problems);
    }
    // Parameters are the policy's own: there a null is kept.
    let parameters = "/spec/policy/parameters";
    let kept = raw.pointer_mut(parameters).map(Value::take);
    drop_nulls(&mut raw["spec"]);
    if let Some(kept) = kept.filter(|kept| !kept.is_null()) {
        raw["spec"]["policy"]["parameters"] = kept;
    }
    serde_json::from_value(raw).map_err(|error| {
        // Metadata of a wrong shape: the only part that the schema does not describe.
        vec![Problem {
            field: "metadata".to_owned(),
            message: error.to_string(),
        }]
    })
}

/// The API server drops a null where the schema does not allow one, and no field of ours does.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// What the API server would refuse in a `NodeReadinessRule`: unknown fields, the schema, the CEL
/// rules about its taint, and its name. Empty: it would be stored.
pub fn check(raw: &Value, prefixes: &TaintPrefixes) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    let definition = crds::node_readiness_rule(prefixes);
    let schema = definition.spec.versions.into_iter().next();
    let schema = schema.and_then(|version| version.schema?.open_api_v3_schema);
    let Some(root) = raw.as_object() else {
        problems.add("", "not an object".to_owned());
        return problems.0;
    };
    name(raw["metadata"]["name"].as_str(), &mut problems);
    if let Some(mut schema) = schema {
        let properties = schema.properties.get_or_insert_default();
        for standard in ["apiVersion", "kind", "metadata", "status"] {
            properties.insert(standard.to_owned(), JSONSchemaProps::default());
        }
        problems.object(&schema, root, "");
    }
    taint(&raw["spec"]["taint"], prefixes, &mut problems);
    problems.0
}

fn name(name: Option<&str>, problems: &mut Problems) {
    let field = "metadata.name";
    match name {
        None | Some("") => problems.add(
            field,
            "Required value: name or generateName is required".to_owned(),
        ),
        Some(name) if !names::is_subdomain(name) => problems.add(
            field,
            format!(
                "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            ),
        ),
        Some(_) => {}
    }
}

/// The CEL rules of `spec.taint`, each with the same meaning as the one with its message.
fn taint(taint: &Value, prefixes: &TaintPrefixes, problems: &mut Problems) {
    let field = "spec.taint";
    let mut require = |met: bool, message: &str| {
        if !met {
            problems.add(field, message.to_owned());
        }
    };
    let size = |text: &str| text.chars().count();
    if let Some(key) = taint["key"].as_str() {
        require(size(key) <= 253, messages::KEY_LENGTH);
        require(prefixes.allow(key), &messages::key_prefix(prefixes));
        let parts: Vec<_> = key.split('/').collect();
        require(parts.len() == 2, messages::KEY_PARTS);
        if let [_, name] = parts[..] {
            require((1..=63).contains(&size(name)), messages::NAME_LENGTH);
            require(names::is_word(name), messages::NAME_SYNTAX);
        }
    }
    if let Some(value) = taint["value"].as_str() {
        require(size(value) <= 63, messages::VALUE_LENGTH);
    }
    if let Some(effect) = taint["effect"].as_str() {
        require(
            planner::rule::Effect::parse(effect).is_some(),
            messages::EFFECT,
        );
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: String) {
        self.0.push(Problem {
            field: field.to_owned(),
            message,
        });
    }

    /// `path in body` is how the API server's schema validation begins such a sentence.
    fn invalid(&mut self, path: &str, value: &str, message: &str) {
        self.add(
            path,
            format!("Invalid value: {value}: {path} in body {message}"),
        );
    }

    fn value(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str) {
        match (schema.type_.as_deref(), value) {
            (Some("object"), Value::Object(map)) => self.object(schema, map, path),
            (Some("array"), Value::Array(list)) => self.array(schema, list, path),
            (Some("string"), Value::String(text)) => self.string(schema, text, path),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {}
            (Some(expected), _) => {
                let found = json!(kind(value)).to_string();
                self.invalid(
                    path,
                    &found,
                    &format!("must be of type {expected}: {found}"),
                );
            }
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, map: &Map<String, Value>, path: &str) {
        let child = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        for name in schema.required.iter().flatten() {
            if map.get(name).is_none_or(Value::is_null) {
                self.add(&child(name), "Required value".to_owned());
            }
        }
        if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            return;
        }
        for (name, value) in map {
            let known = (schema.properties.as_ref()).and_then(|properties| properties.get(name));
            match (known, &schema.additional_properties) {
                // Dropped, see above.
                (Some(_), _) | (_, Some(_)) if value.is_null() => {}
                (Some(known), _) => self.value(known, value, &child(name)),
                (None, Some(JSONSchemaPropsOrBool::Schema(values))) => {
                    self.value(values, value, &child(name));
                }
                (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                (None, _) => self.add(&child(name), "unknown field".to_owned()),
            }
        }
    }

    fn array(&mut self, schema: &JSONSchemaProps, list: &[Value], path: &str) {
        let count = i64::try_from(list.len()).unwrap_or(i64::MAX);
        if let Some(most) = schema.max_items.filter(|most| count > *most) {
            self.add(
                path,
                format!("Too many: {count}: must have at most {most} items"),
            );
        }
        if let Some(least) = schema.min_items.filter(|least| count < *least) {
            let message = format!("should have at least {least} items");
            self.invalid(path, &count.to_string(), &message);
        }
        let keys = schema.x_kubernetes_list_map_keys.as_deref();
        let mut seen = HashSet::new();
        for (index, value) in list.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                self.value(items, value, &path);
            }
            if let Some(keys) = keys {
                let identity: Map<_, _> = (keys.iter())
                    .filter_map(|key| Some((key.clone(), value.get(key)?.clone())))
                    .collect();
                let identity = Value::from(identity).to_string();
                if !seen.insert(identity.clone()) {
                    self.add(&path, format!("Duplicate value: {identity}"));
                }
            }
        }
    }

    fn string(&mut self, schema: &JSONSchemaProps, text: &str, path: &str) {
        let size = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let quoted = json!(text).to_string();
        if let Some(most) = schema.max_length.filter(|most| size > *most) {
            self.add(path, format!("Too long: may not be more than {most} bytes"));
        }
        if let Some(least) = schema.min_length.filter(|least| size < *least) {
            let message = format!("should be at least {least} chars long");
            self.invalid(path, &quoted, &message);
        }
        if let Some(values) = &schema.enum_
            && !values.iter().any(|value| value.0 == text)
        {
            let known: Vec<_> = values.iter().map(|value| value.0.to_string()).collect();
            let known = known.join(", ");
            self.add(
                path,
                format!("Unsupported value: {quoted}: supported values: {known}"),
            );
        }
        if schema.format.as_deref() == Some("date-time") && text.parse::<Timestamp>().is_err() {
            self.invalid(
                path,
                &quoted,
                &format!("must be of type date-time: {quoted}"),
            );
        }
    }
}

/// The API server's word for the type of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
