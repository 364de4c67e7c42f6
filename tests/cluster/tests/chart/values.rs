//! What the schema of the chart's values refuses, and that it knows every value and every field of a rule.

use std::collections::BTreeSet;
use std::path::Path;

use cluster_tests::Cluster;
use cluster_tests::helm::Helm;
use serde_json::{Map, Value, json};

use crate::{RELEASE, file};

/// The message of both commands, which have to refuse these values.
fn refused(helm: &Helm, folder: &Path, values: &Value) -> String {
    let path = folder.join("bad.yaml");
    std::fs::write(&path, values.to_string()).unwrap();
    let (chart, path) = (Helm::chart().display().to_string(), path.display());
    let values = format!("--values={path}");
    let template = helm.ask(&["template", RELEASE, &chart, &values]);
    let template = template.unwrap_err().to_string();
    let lint = helm.ask(&["lint", &chart, &values]);
    let lint = lint.unwrap_err().to_string();
    for at in places(&template) {
        // The rest may be a list, in any order.
        let (place, _) = at.split_once(": ").unwrap();
        assert!(
            places(&lint).any(|other| other.starts_with(place)),
            "{at}\n{lint}"
        );
    }
    template
}

/// What helm says is wrong, each after its place.
fn places(said: &str) -> impl Iterator<Item = &str> {
    said.lines()
        .filter_map(|line| line.trim_start().strip_prefix("- at "))
}

fn parsed(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every value of `values.yaml` by its path, without those below keys that people choose.
fn leaves(value: &Value, path: &str, all: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() && !OPEN.contains(&path) => {
            for (key, value) in map {
                leaves(value, &format!("{path}/{key}"), all);
            }
        }
        _ => all.push(path.to_owned()),
    }
}

/// Where keys are whatever people choose, or fields of Kubernetes.
const OPEN: [&str; 6] = [
    "/podAnnotations",
    "/podSecurityContext",
    "/securityContext",
    "/resources/requests",
    "/resources/limits",
    "/certManager/certificateSubject",
];

/// The same tree, with `change` made of each value at these paths.
fn with(paths: &[String], change: impl Fn(&str) -> (String, Value)) -> Value {
    let mut root = json!({});
    for path in paths {
        let (path, value) = change(path);
        let mut place = &mut root;
        for key in path.split('/').skip(1) {
            let map = place.as_object_mut().unwrap();
            place = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value;
    }
    root
}

#[tokio::test]
async fn every_value_that_is_misspelt_or_of_another_type_is_refused_at_its_place() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let values = parsed(&Helm::chart().join("values.yaml"));
    let mut paths = Vec::new();
    leaves(&values, "", &mut paths);
    assert!(paths.len() > 90, "{paths:?}");

    // No value is a list in a list.
    let ill_typed = with(&paths, |path| (path.to_owned(), json!([[]])));
    let said = refused(&helm, folder.path(), &ill_typed);
    for path in &paths {
        let place = |path: &str| places(&said).any(|at| at.starts_with(&format!("'{path}': ")));
        assert!(place(path) || place(&format!("{path}/0")), "{path}: {said}");
    }
    let misspelt = with(&paths, |path| (format!("{path}x"), json!(true)));
    let said = refused(&helm, folder.path(), &misspelt);
    for path in &paths {
        let (parent, key) = path.rsplit_once('/').unwrap();
        let start = format!("'{parent}': additional properties ");
        let named =
            places(&said).any(|at| at.starts_with(&start) && at.contains(&format!("'{key}x'")));
        assert!(named, "{path}: {said}");
    }
}

#[tokio::test]
async fn a_value_that_only_looks_right_is_refused_with_what_is_wrong() {
    let cluster = Cluster::start().await.unwrap();
    let helm = Helm::new(&cluster).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rule = |more: Value| {
        let mut rule = parsed(&file("values/release.yaml"))["nodeReadinessRules"][0].clone();
        let map = rule.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        rule
    };
    let condition = json!([{ "type": "a", "requiredStatus": true }]);
    let values = json!({
        "replicaCount": "2",
        "terminationGracePeriodSeconds": -1,
        "metrics": { "enabled": "true", "bindAddress": "8443" },
        "healthProbeBindAddress": 8081,
        "image": { "pullPolicy": "always", "tag": 1.3 },
        "webhook": { "port": 70000, "service": { "targetPort": 0 } },
        "validatingWebhook": { "caBundle": "-----BEGIN CERTIFICATE-----" },
        "gateAtBirth": { "failurePolicy": "Fails" },
        "podDisruptionBudget": { "minAvailable": "half" },
        "podAnnotations": { "a": true },
        "resources": { "limit": {} },
        "imagePullSecrets": ["registry"],
        "tolerations": [{ "operater": "Exists" }],
        "certManager": { "certificateSubject": { "organization": [] } },
        "controller": { "extraArgs": ["freeze"] },
        "nodeReadinessRules": [
            rule(json!({ "conditions": condition })),
            rule(json!({ "enforcement": "continuous" })),
            { "name": "a" },
        ],
    });
    let said = refused(&helm, folder.path(), &values);
    let expected = [
        "'/replicaCount': got string, want integer",
        "'/terminationGracePeriodSeconds': minimum: ",
        "'/metrics/enabled': got string, want boolean",
        "'/metrics/bindAddress': '8443' does not match pattern",
        "'/healthProbeBindAddress': maximum: ",
        "'/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        "'/image/tag': got number, want string",
        "'/webhook/port': maximum: ",
        "'/webhook/service/targetPort': minimum: ",
        "'/validatingWebhook/caBundle': '-----BEGIN CERTIFICATE-----' does not match pattern",
        "'/gateAtBirth/failurePolicy': value must be one of 'Fail', 'Ignore'",
        "'/podDisruptionBudget/minAvailable': 'half' does not match pattern",
        "'/podAnnotations/a': got boolean, want string",
        "'/resources': additional properties 'limit' not allowed",
        "'/imagePullSecrets/0': got string, want object",
        "'/tolerations/0': additional properties 'operater' not allowed",
        "'/certManager/certificateSubject': additional properties 'organization' not allowed",
        "'/controller/extraArgs/0': 'freeze' does not match pattern",
        "'/nodeReadinessRules/0/conditions/0/requiredStatus': value must be one of 'True', 'False', 'Unknown'",
        "'/nodeReadinessRules/1': additional properties 'enforcement' not allowed",
        "'/nodeReadinessRules/2': missing properties",
    ];
    for says in expected {
        assert!(
            places(&said).any(|at| at.starts_with(says)),
            "{says}\n{said}"
        );
    }
    let found = places(&said).filter(|at| !at.ends_with(": validation failed"));
    assert_eq!(found.count(), expected.len(), "{said}");
    // What is unusual and right.
    let right = json!({
        "global": { "region": "north" }, "enabled": true,
        "healthProbeBindAddress": 0, "metrics": { "enabled": true, "bindAddress": "[::1]:8443", "service": { "targetPort": "metrics" } },
        "crds": { "preInstallCheck": true }, "podDisruptionBudget": { "enabled": true, "maxUnavailable": "50%" },
        "resources": { "limits": { "cpu": 1 } }, "priorityClassName": null,
    });
    let path = folder.path().join("right.yaml");
    std::fs::write(&path, right.to_string()).unwrap();
    let values = format!("--values={}", path.display());
    let chart = Helm::chart().display().to_string();
    helm.ask(&["template", RELEASE, &chart, &values]).unwrap();
}

/// Else a rule that the cluster would take is refused by helm.
#[test]
fn the_schema_knows_the_fields_of_a_rule() {
    let schema = parsed(&Helm::chart().join("values.schema.json"));
    let definition = parsed(&Helm::chart().join("crds/nodereadinessrules.yaml"));
    let spec =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut rule = schema["definitions"]["rule"].clone();
    rule["properties"]
        .as_object_mut()
        .unwrap()
        .remove("name")
        .unwrap();
    assert!(same_fields(&schema, &rule, spec, "spec") > 20);
}

/// How many fields two schemas have: below each object that ours describes they are the same.
fn same_fields(root: &Value, ours: &Value, theirs: &Value, path: &str) -> usize {
    let ours = match ours["$ref"].as_str() {
        Some(place) => root.pointer(place.trim_start_matches('#')).unwrap(),
        None => ours,
    };
    if let Some(items) = ours.get("items") {
        return same_fields(root, items, &theirs["items"], path);
    }
    if let Some(words) = ours.get("enum") {
        if let Some(known) = theirs.get("enum") {
            assert_eq!(words, known, "{path}");
        }
        return 0;
    }
    let Some(properties) = ours["properties"].as_object() else {
        return 0;
    };
    let names = |of: &Value| -> BTreeSet<String> {
        of["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(names(ours), names(theirs), "{path}");
    let below = properties.iter().map(|(name, field)| {
        same_fields(
            root,
            field,
            &theirs["properties"][name],
            &format!("{path}.{name}"),
        )
    });
    properties.len() + below.sum::<usize>()
}
