//! What may stand in a new rule.

use serde_json::{Value, json};

use crate::wire::{Answer, Server, rule};

const START: &str = "spec.taint: Invalid value: taint key must start with 'readiness.k8s.io/'";
const PARTS: &str =
    "spec.taint: Invalid value: taint key must have exactly one '/' separator (prefix/name format)";
const KEY_LENGTH: &str =
    "spec.taint: Invalid value: taint key length must be at most 253 characters";
const NAME_LENGTH: &str = "spec.taint: Invalid value: taint key name part must be 1-63 characters";
const NAME_SYNTAX: &str = "spec.taint: Invalid value: taint key name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const VALUE_LENGTH: &str =
    "spec.taint: Invalid value: taint value length must be at most 63 characters";
const EFFECT: &str = "spec.taint: Invalid value: taint effect must be one of 'NoSchedule', 'PreferNoSchedule', 'NoExecute'";

fn conditions(count: usize) -> Value {
    let condition = |index| json!({"type": format!("C{index}"), "requiredStatus": "True"});
    (0..count).map(condition).collect()
}

fn condition(field: &str, value: Value) -> Value {
    let mut condition = json!({"type": "A", "requiredStatus": "True", "defaultStatus": "False"});
    crate::wire::set(&mut condition, &format!("/{field}"), value);
    rule("/spec/conditions", json!([condition]))
}

pub(crate) async fn compat_004_conditions(server: &mut Server) {
    let case = "compat_004_conditions";
    let conditions_are = |value| rule("/spec/conditions", value);
    server.accepts(case, &conditions_are(conditions(1))).await;
    server.accepts(case, &conditions_are(conditions(32))).await;
    for status in ["True", "False", "Unknown"] {
        for field in ["requiredStatus", "defaultStatus"] {
            server.accepts(case, &condition(field, json!(status))).await;
        }
    }
    server
        .accepts(case, &condition("defaultStatus", Value::Null))
        .await;
    let longest = condition("type", json!("x".repeat(316)));
    server.accepts(case, &longest).await;

    let refused = [
        (Value::Null, "spec.conditions: Required value"),
        (
            json!([]),
            "spec.conditions: Invalid value: 0: spec.conditions in body should have at least 1 items",
        ),
        (
            conditions(33),
            "spec.conditions: Too many: 33: must have at most 32 items",
        ),
        (
            json!([{"type": "A", "requiredStatus": "True"}, {"type": "A", "requiredStatus": "False"}]),
            "spec.conditions[1]: Duplicate value: {\"type\":\"A\"}",
        ),
    ];
    for (value, reason) in refused {
        server
            .refuses(case, &conditions_are(value), &[reason])
            .await;
    }
    let refused = [
        (
            "type",
            Value::Null,
            "spec.conditions[0].type: Required value",
        ),
        (
            "type",
            json!(""),
            "spec.conditions[0].type: Invalid value: \"\": spec.conditions[0].type in body should be at least 1 chars long",
        ),
        (
            "type",
            json!("x".repeat(317)),
            "spec.conditions[0].type: Too long: may not be more than 316 bytes",
        ),
        (
            "requiredStatus",
            Value::Null,
            "spec.conditions[0].requiredStatus: Required value",
        ),
        (
            "requiredStatus",
            json!("true"),
            "spec.conditions[0].requiredStatus: Unsupported value: \"true\": supported values: \"True\", \"False\", \"Unknown\"",
        ),
        (
            "defaultStatus",
            json!(""),
            "spec.conditions[0].defaultStatus: Unsupported value: \"\": supported values: \"True\", \"False\", \"Unknown\"",
        ),
    ];
    for (field, value, reason) in refused {
        server
            .refuses(case, &condition(field, value), &[reason])
            .await;
    }
}

pub(crate) async fn compat_005_enforcement_mode(server: &mut Server) {
    let case = "compat_005_enforcement_mode";
    let mode = |value| rule("/spec/enforcementMode", value);
    server.accepts(case, &mode(json!("bootstrap-only"))).await;
    server.accepts(case, &mode(json!("continuous"))).await;
    server
        .refuses(
            case,
            &mode(Value::Null),
            &["spec.enforcementMode: Required value"],
        )
        .await;
    server
        .refuses(
            case,
            &mode(json!("once")),
            &["spec.enforcementMode: Unsupported value: \"once\": supported values: \"bootstrap-only\", \"continuous\""],
        )
        .await;
}

pub(crate) async fn compat_006_required_and_typed(server: &mut Server) {
    let case = "compat_006_required_and_typed";
    let refused = [
        ("/spec", Value::Null, "spec: Required value"),
        ("/spec/taint", Value::Null, "spec.taint: Required value"),
        (
            "/spec/taint/key",
            Value::Null,
            "spec.taint.key: Required value",
        ),
        (
            "/spec/taint/effect",
            Value::Null,
            "spec.taint.effect: Required value",
        ),
        (
            "/spec/taint/value",
            json!(1),
            "spec.taint.value: Invalid value: \"integer\": spec.taint.value in body must be of type string: \"integer\"",
        ),
        (
            "/spec/taint/timeAdded",
            json!("yesterday"),
            "spec.taint.timeAdded: Invalid value: \"yesterday\": spec.taint.timeAdded in body must be of type date-time: \"yesterday\"",
        ),
    ];
    for (place, value, reason) in refused {
        server.refuses(case, &rule(place, value), &[reason]).await;
    }
    // Where null is not allowed it counts as absent.
    let null = |place: &str| {
        let mut object = rule("", Value::Null);
        let (parent, field) = place.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = Value::Null;
        object
    };
    for place in [
        "/spec/taint/value",
        "/spec/dryRun",
        "/spec/nodeSelector/matchLabels/x",
    ] {
        let object = null(place);
        server.accepts(case, &object).await;
        if let Answer::Taken(stored) = server.would_create(&object).await {
            let kept = stored.pointer(place).is_some();
            server.expect(!kept, || format!("{case}: {place} is stored as null"));
        }
        let decoded = api::check::decode(object, &Default::default());
        server.expect(decoded.is_ok(), || format!("{case}: {place}: {decoded:?}"));
    }
    let object = null("/spec/taint/key");
    server
        .refuses(case, &object, &["spec.taint.key: Required value"])
        .await;
    for effect in ["NoSchedule", "PreferNoSchedule", "NoExecute"] {
        server
            .accepts(case, &rule("/spec/taint/effect", json!(effect)))
            .await;
    }
    let time = rule("/spec/taint/timeAdded", json!("2026-01-02T03:04:05Z"));
    server.accepts(case, &time).await;
}

pub(crate) async fn compat_007_taint_messages(server: &mut Server) {
    let case = "compat_007_taint_messages";
    let key = |key: &str| rule("/spec/taint/key", json!(key));
    let named = |name: &str| key(&format!("readiness.k8s.io/{name}"));
    for name in ["a", "A", "9", "a-b_c.D9", &"x".repeat(63)] {
        server.accepts(case, &named(name)).await;
    }
    let cases: [(Value, &[&str]); 15] = [
        (key(""), &[START, PARTS]),
        (key("agent"), &[START, PARTS]),
        (key("readiness.k8s.io"), &[START, PARTS]),
        (key("other.k8s.io/agent"), &[START]),
        (key("x.readiness.k8s.io/agent"), &[START]),
        (key("READINESS.k8s.io/agent"), &[START]),
        (key("/agent"), &[START]),
        (named("a/b"), &[PARTS]),
        (named("a/"), &[PARTS]),
        (named(""), &[NAME_LENGTH, NAME_SYNTAX]),
        (named(&"x".repeat(64)), &[NAME_LENGTH]),
        // 17 characters of prefix.
        (named(&"x".repeat(236)), &[NAME_LENGTH]),
        (named(&"x".repeat(237)), &[KEY_LENGTH, NAME_LENGTH]),
        (named("-a"), &[NAME_SYNTAX]),
        (named("a b"), &[NAME_SYNTAX]),
    ];
    for (object, reasons) in cases {
        server.refuses(case, &object, reasons).await;
    }
    for name in ["a-", "a.", "_a", "ä", "a:b"] {
        server.refuses(case, &named(name), &[NAME_SYNTAX]).await;
    }
    let value = |value: &str| rule("/spec/taint/value", json!(value));
    // The last passes here and is refused on a node: such a rule is Stalled.
    for good in ["", "pending", &"x".repeat(63), &"ä".repeat(63), "not ok!"] {
        server.accepts(case, &value(good)).await;
    }
    for bad in ["x", "ä"] {
        server
            .refuses(case, &value(&bad.repeat(64)), &[VALUE_LENGTH])
            .await;
    }
    for effect in ["", "noschedule", "Evict"] {
        let object = rule("/spec/taint/effect", json!(effect));
        server.refuses(case, &object, &[EFFECT]).await;
    }
}

pub(crate) async fn compat_009_selector_and_options(server: &mut Server) {
    let case = "compat_009_selector_and_options";
    let selector = |value| rule("/spec/nodeSelector", value);
    let accepted = [
        json!({}),
        json!({"matchLabels": {}}),
        json!({"matchLabels": {"a": "", "b/c": "d"}, "matchExpressions": [
            {"key": "k", "operator": "In", "values": ["a", "b"]},
            {"key": "k", "operator": "DoesNotExist"}]}),
        // It passes, and selects nothing.
        json!({"matchExpressions": [{"key": "k", "operator": "Gt", "values": ["1"]}]}),
        json!({"matchLabels": {"not ok!": "not ok!"}}),
    ];
    for value in accepted {
        server.accepts(case, &selector(value)).await;
    }
    let refused = [
        (Value::Null, "spec.nodeSelector: Required value"),
        (
            json!({"matchLabels": {"a": 1}}),
            "spec.nodeSelector.matchLabels.a: Invalid value: \"integer\": spec.nodeSelector.matchLabels.a in body must be of type string: \"integer\"",
        ),
        (
            json!({"matchExpressions": [{"key": "a"}]}),
            "spec.nodeSelector.matchExpressions[0].operator: Required value",
        ),
        (
            json!({"matchExpressions": [{"operator": "Exists"}]}),
            "spec.nodeSelector.matchExpressions[0].key: Required value",
        ),
    ];
    for (value, reason) in refused {
        server.refuses(case, &selector(value), &[reason]).await;
    }
    for policy in ["allOf", "anyOf"] {
        server
            .accepts(case, &rule("/spec/conditionPolicy", json!(policy)))
            .await;
    }
    server
        .refuses(
            case,
            &rule("/spec/conditionPolicy", json!("noneOf")),
            &["spec.conditionPolicy: Unsupported value: \"noneOf\": supported values: \"allOf\", \"anyOf\""],
        )
        .await;
    for dry_run in [true, false] {
        server
            .accepts(case, &rule("/spec/dryRun", json!(dry_run)))
            .await;
    }
    server
        .refuses(
            case,
            &rule("/spec/dryRun", json!("yes")),
            &["spec.dryRun: Invalid value: \"string\": spec.dryRun in body must be of type boolean: \"string\""],
        )
        .await;
}

/// The server has one sentence for all of them, so the offline check is compared by hand.
pub(crate) async fn unknown_fields(server: &mut Server) {
    let case = "unknown_fields";
    for (place, field) in [
        ("/specs", "specs"),
        ("/spec/conditons", "spec.conditons"),
        ("/spec/taint/effekt", "spec.taint.effekt"),
        ("/spec/conditions/0/status", "spec.conditions[0].status"),
        ("/spec/nodeSelector/labels", "spec.nodeSelector.labels"),
    ] {
        let object = rule(place, json!({}));
        let answer = server.would_create(&object).await;
        let sentence = format!("strict decoding error: unknown field \"{field}\"");
        let said = matches!(&answer, Answer::Refused(reasons) if reasons[0].contains(&sentence));
        server.expect(said, || format!("{case}: {sentence}: {answer:?}"));
        let offline: Vec<_> = api::check::check(&object, &Default::default())
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = format!("{field}: unknown field");
        server.expect(offline == [expected], || {
            format!("{case}: {field}: {offline:?}")
        });
    }
}

pub(crate) async fn names(server: &mut Server) {
    let case = "names";
    // Longer than a label may be: the completion annotation's key must cope.
    for name in ["a", &"n".repeat(71), &"n".repeat(253), "a.b-c.9"] {
        server
            .accepts(case, &rule("/metadata/name", json!(name)))
            .await;
    }
    server
        .refuses(
            case,
            &rule("/metadata/name", Value::Null),
            &["metadata.name: Required value: name or generateName is required"],
        )
        .await;
    for name in ["A", "a_b", "a.", &"n".repeat(254)] {
        let object = rule("/metadata/name", json!(name));
        let answer = format!("{:?}", server.would_create(&object).await);
        server.expect(answer.contains("metadata.name: Invalid value"), || {
            format!("{case}: {answer}")
        });
        let offline = api::check::check(&object, &Default::default());
        server.expect(
            offline.len() == 1 && offline[0].field == "metadata.name",
            || format!("{case}: {offline:?}"),
        );
    }
}
