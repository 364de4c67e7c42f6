//! Names, columns, selectors, and what may change in a rule that is stored.

use cluster_tests::Cluster;
use http::Method;
use serde_json::{Value, json};

use crate::wire::{Answer, PATH, Server, rule, set};

pub(crate) async fn compat_001_names_and_scope(server: &mut Server) {
    let case = "compat_001_names_and_scope";
    let group = server.get("/apis/readiness.node.x-k8s.io/v1alpha1").await;
    let resources = group["resources"].as_array().unwrap();
    let find = |name: &str| resources.iter().find(|resource| resource["name"] == name);
    let rules = find("nodereadinessrules").cloned().unwrap_or_default();
    for (field, value) in [
        ("kind", json!("NodeReadinessRule")),
        ("namespaced", json!(false)),
        ("shortNames", json!(["nrr"])),
        ("singularName", json!("nodereadinessrule")),
    ] {
        server.expect(rules[field] == value, || {
            format!("{case}: {field} is {}", rules[field])
        });
    }
    let status = find("nodereadinessrules/status").is_some();
    server.expect(status, || format!("{case}: there is no status subresource"));
}

pub(crate) async fn compat_002_columns(server: &mut Server, cluster: &Cluster) {
    let case = "compat_002_columns";
    let mut dry = rule("/spec/dryRun", json!(true));
    dry["spec"]["policy"] = json!({"name": "steady"});
    server.create(&dry).await;
    let print = |args: &[&str]| {
        let text = cluster.plane.kubectl_ok(args).unwrap();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        text.lines().map(words).collect::<Vec<_>>()
    };
    let table = print(&["get", "nrr"]);
    server.expect(
        table[0] == ["NAME", "MODE", "TAINT", "EFFECT", "DRYRUN", "AGE"],
        || format!("{case}: {:?}", table[0]),
    );
    let row = [
        "case",
        "continuous",
        "readiness.k8s.io/case",
        "NoSchedule",
        "true",
    ];
    server.expect(table[1][..5] == row, || format!("{case}: {:?}", table[1]));

    let mut stored = server.get(&format!("{PATH}/case")).await;
    stored["status"] = json!({"nodes": {"matched": 7, "held": 3}, "conditions": [{"type": "Ready",
        "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    server
        .send(Method::PUT, &format!("{PATH}/case/status"), &stored)
        .await;
    let table = print(&["get", "nrr", "-o", "wide"]);
    server.expect(
        table[0][6..] == ["READY", "NODES", "HELD", "POLICY"]
            && table[1][6..] == ["True", "7", "3", "steady"],
        || format!("{case}: {table:?}"),
    );
    server.delete("case").await;
}

pub(crate) async fn compat_003_field_selectors(server: &mut Server) {
    let case = "compat_003_field_selectors";
    let rules = [
        ("a", "continuous", "readiness.k8s.io/one", json!(true)),
        ("b", "bootstrap-only", "readiness.k8s.io/one", json!(false)),
        ("c", "continuous", "readiness.k8s.io/two", Value::Null),
    ];
    for (name, mode, key, dry_run) in rules {
        let mut object = rule("/spec/dryRun", dry_run);
        object["metadata"]["name"] = json!(name);
        object["spec"]["enforcementMode"] = json!(mode);
        object["spec"]["taint"]["key"] = json!(key);
        server.create(&object).await;
    }
    for (selector, expected) in [
        ("spec.enforcementMode=continuous", vec!["a", "c"]),
        ("spec.enforcementMode=bootstrap-only", vec!["b"]),
        ("spec.taint.key=readiness.k8s.io/one", vec!["a", "b"]),
        ("spec.dryRun=true", vec!["a"]),
        // Only where it is set.
        ("spec.dryRun=false", vec!["b"]),
    ] {
        let encoded = selector.replace('=', "%3D").replace('/', "%2F");
        let list = server.get(&format!("{PATH}?fieldSelector={encoded}")).await;
        let items = list["items"].as_array().unwrap();
        let found: Vec<_> = items
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        server.expect(found == expected, || {
            format!("{case}: {selector} finds {found:?}")
        });
    }
    for name in ["a", "b", "c"] {
        server.delete(name).await;
    }
}

/// Changes one field of a stored rule, without keeping it.
async fn change(server: &Server, stored: &Value, place: &str, value: Value) -> Answer {
    let mut object = stored.clone();
    set(&mut object, place, value);
    let path = format!("{PATH}/case?dryRun=All&fieldValidation=Strict");
    server.send(Method::PUT, &path, &object).await
}

pub(crate) async fn compat_008_immutable(server: &mut Server) {
    let case = "compat_008_immutable";
    let two =
        json!([{"type": "A", "requiredStatus": "True"}, {"type": "B", "requiredStatus": "True"}]);
    let reversed =
        json!([{"type": "B", "requiredStatus": "True"}, {"type": "A", "requiredStatus": "True"}]);
    let conditions = "spec.conditions: Invalid value: conditions is immutable";
    let selector = "spec.nodeSelector: Invalid value: nodeSelector is immutable";
    let policy = "spec: Invalid value: conditionPolicy is immutable";
    let value = "spec.taint: Invalid value: taint value is immutable";
    let no_value = "spec.taint: Invalid value: \"object\": no such key: value evaluating rule: taint value is immutable";
    // What is stored, what is written over it, and why that is refused.
    let cases = [
        (
            ("", json!(null)),
            ("/metadata/labels", json!({"a": "b"})),
            None,
        ),
        (("", json!(null)), ("/spec/dryRun", json!(true)), None),
        (
            ("/spec/dryRun", json!(true)),
            ("/spec/dryRun", json!(false)),
            None,
        ),
        (
            ("/spec/dryRun", json!(true)),
            ("/spec/dryRun", json!(null)),
            None,
        ),
        (
            ("/spec/conditions", two.clone()),
            ("/spec/conditions", json!([two[0]])),
            Some(conditions),
        ),
        (
            ("", json!(null)),
            ("/spec/conditions", two.clone()),
            Some(conditions),
        ),
        (
            ("", json!(null)),
            ("/spec/conditions/0/requiredStatus", json!("False")),
            Some(conditions),
        ),
        (
            ("", json!(null)),
            ("/spec/conditions/0/defaultStatus", json!("Unknown")),
            Some(conditions),
        ),
        // A list of type map has no order.
        (
            ("/spec/conditions", two),
            ("/spec/conditions", reversed),
            None,
        ),
        (
            ("", json!(null)),
            ("/spec/enforcementMode", json!("bootstrap-only")),
            Some(
                "spec.enforcementMode: Invalid value: \"bootstrap-only\": enforcementMode is immutable",
            ),
        ),
        (
            ("", json!(null)),
            ("/spec/nodeSelector", json!({})),
            Some(selector),
        ),
        (
            ("/spec/nodeSelector", json!({})),
            ("/spec/nodeSelector", json!({"matchLabels": {"a": "b"}})),
            Some(selector),
        ),
        (
            ("", json!(null)),
            ("/spec/taint/key", json!("readiness.k8s.io/other")),
            Some("spec.taint: Invalid value: taint key is immutable"),
        ),
        (
            ("", json!(null)),
            ("/spec/taint/effect", json!("NoExecute")),
            Some("spec.taint: Invalid value: taint effect is immutable"),
        ),
        (("", json!(null)), ("/spec/taint/value", json!("set")), None),
        (("", json!(null)), ("/spec/taint/value", json!("")), None),
        (
            ("/spec/taint/value", json!("a")),
            ("/spec/taint/value", json!("b")),
            Some(value),
        ),
        (
            ("/spec/taint/value", json!("a")),
            ("/spec/taint/value", json!("")),
            Some(value),
        ),
        (
            ("/spec/taint/value", json!("a")),
            ("/spec/taint/value", json!(null)),
            Some(no_value),
        ),
        // Empty counts as set.
        (
            ("/spec/taint/value", json!("")),
            ("/spec/taint/value", json!("b")),
            Some(value),
        ),
        (
            ("/spec/taint/value", json!("")),
            ("/spec/taint/value", json!(null)),
            Some(no_value),
        ),
        (
            ("", json!(null)),
            ("/spec/taint/timeAdded", json!("2026-01-02T03:04:05Z")),
            None,
        ),
        (
            ("/spec/taint/timeAdded", json!("2026-01-02T03:04:05Z")),
            ("/spec/taint/timeAdded", json!(null)),
            None,
        ),
        // Not set is the same as allOf, in both directions.
        (
            ("", json!(null)),
            ("/spec/conditionPolicy", json!("allOf")),
            None,
        ),
        (
            ("/spec/conditionPolicy", json!("allOf")),
            ("/spec/conditionPolicy", json!(null)),
            None,
        ),
        (
            ("", json!(null)),
            ("/spec/conditionPolicy", json!("anyOf")),
            Some(policy),
        ),
        (
            ("/spec/conditionPolicy", json!("allOf")),
            ("/spec/conditionPolicy", json!("anyOf")),
            Some(policy),
        ),
        (
            ("/spec/conditionPolicy", json!("anyOf")),
            ("/spec/conditionPolicy", json!("allOf")),
            Some(policy),
        ),
        (
            ("/spec/conditionPolicy", json!("anyOf")),
            ("/spec/conditionPolicy", json!(null)),
            Some(policy),
        ),
    ];
    for ((place, before), (changed, after), reason) in cases {
        let stored = server.create(&rule(place, before.clone())).await;
        let answer = change(server, &stored, changed, after.clone()).await;
        let case = format!("{case}: {place}={before}, then {changed}={after}");
        match reason {
            Some(reason) => server.same(&case, &answer, &[reason]),
            None => server.expect(matches!(answer, Answer::Taken(_)), || {
                format!("{case}: {answer:?}")
            }),
        }
        server.delete("case").await;
    }
}

pub(crate) async fn compat_009_no_defaults(server: &mut Server) {
    let case = "compat_009_no_defaults";
    for object in [rule("", Value::Null), rule("/spec/nodeSelector", json!({}))] {
        let stored = server.create(&object).await;
        server.expect(stored["spec"] == object["spec"], || {
            format!("{case}: stored as {}", stored["spec"])
        });
        server.expect(stored.get("status").is_none(), || {
            format!("{case}: {}", stored["status"])
        });
        server.delete("case").await;
    }
}

/// The rules of the security agent guide, as it has them.
const GUIDE: &str = r#"
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata:
  name: security-agent-readiness-rule
spec:
  conditions:
    - type: "falco.org/FalcoReady"
      requiredStatus: "True"
  taint:
    key: "readiness.k8s.io/security-agent-ready"
    effect: "NoSchedule"
    value: "pending"
  enforcementMode: "bootstrap-only"
  nodeSelector:
    matchLabels:
      node-role.kubernetes.io/worker: ""
---
apiVersion: readiness.node.x-k8s.io/v1alpha1
kind: NodeReadinessRule
metadata:
  name: security-agent-readiness-rule-npd
spec:
  conditions:
    - type: "falco.org/FalcoNotReady"
      requiredStatus: "False"
  taint:
    key: "readiness.k8s.io/security-agent-ready"
    effect: "NoSchedule"
    value: "pending"
  enforcementMode: "continuous"
  nodeSelector:
    matchLabels:
      node-role.kubernetes.io/worker: ""
"#;

pub(crate) async fn compat_011_the_guide(server: &mut Server, cluster: &Cluster) {
    let case = "compat_011_the_guide";
    let names = [
        "security-agent-readiness-rule",
        "security-agent-readiness-rule-npd",
    ];
    for outcome in ["created", "unchanged"] {
        let said = cluster.apply(GUIDE).unwrap();
        for name in names {
            let line = format!("nodereadinessrule.readiness.node.x-k8s.io/{name} {outcome}");
            server.expect(said.lines().any(|said| said == line), || {
                format!("{case}: {said}")
            });
        }
    }
    for name in names {
        let decoded = cluster
            .rules()
            .get(name)
            .await
            .unwrap()
            .to_rule(&Default::default());
        server.expect(decoded.is_ok(), || format!("{case}: {decoded:?}"));
        server.delete(name).await;
    }
    // The same file as `kubectl apply -f crds/…` takes it.
    let yaml = api::crds::yaml(&api::crds::all(&Default::default())).unwrap();
    let said = cluster.apply(&yaml).unwrap();
    server.expect(said.contains("customresourcedefinition"), || {
        format!("{case}: {said}")
    });
}
