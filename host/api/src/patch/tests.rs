use planner::rule::Effect;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn node(json: &Value) -> Node {
    serde_json::from_value(json.clone()).unwrap()
}

fn id(key: &str, effect: Effect) -> TaintId {
    TaintId {
        key: key.to_owned(),
        effect,
    }
}

fn add(key: &str, value: Option<&str>) -> NewTaint {
    NewTaint {
        id: id(key, Effect::NoSchedule),
        value: value.map(str::to_owned),
    }
}

/// Applies as the API server does: an absent field tests equal to null.
fn apply(json: &Value, patch: &Patch) -> Result<Value, json_patch::PatchError> {
    let mut json = json.clone();
    let is_null_test =
        |test: &TestOperation| test.value.is_null() && test.path.resolve(&json).is_err();
    let operations = patch
        .0
        .iter()
        .filter(|operation| !matches!(operation, PatchOperation::Test(test) if is_null_test(test)));
    let patch = Patch(operations.cloned().collect());
    json_patch::patch(&mut json, &patch).map(|()| json)
}

#[test]
fn nothing_to_change_is_no_patch() {
    let json = json!({"metadata": {"name": "n", "uid": "u", "annotations": {"a": "1"}},
        "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    let node = node(&json);
    assert_eq!(node_patch(&node, &Changes::default()), None);
    let already = Changes {
        add: vec![add("k", Some("other"))],
        remove: vec![id("k", Effect::NoExecute), id("x", Effect::NoSchedule)],
        annotations: BTreeMap::from([("a".into(), Some("1".into())), ("b".into(), None)]),
    };
    assert_eq!(node_patch(&node, &already), None);
}

#[test]
fn a_node_without_taints_and_annotations() {
    let json = json!({"metadata": {"name": "n", "uid": "u"}, "spec": {}});
    let changes = Changes {
        add: vec![add("readiness.k8s.io/a", Some("pending")), add("b", None)],
        remove: vec![],
        annotations: BTreeMap::from([("e.x/a~b".into(), Some("1".into())), ("gone".into(), None)]),
    };
    let patch = node_patch(&node(&json), &changes).unwrap();
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "test", "path": "/spec/taints", "value": null},
            {"op": "test", "path": "/metadata/annotations", "value": null},
            {"op": "add", "path": "/spec/taints", "value": [
                {"key": "readiness.k8s.io/a", "value": "pending", "effect": "NoSchedule"},
                {"key": "b", "effect": "NoSchedule"}]},
            {"op": "add", "path": "/metadata/annotations", "value": {"e.x/a~b": "1"}},
        ])
    );
    assert_eq!(
        apply(&json, &patch).unwrap(),
        json!({"metadata": {"name": "n", "uid": "u", "annotations": {"e.x/a~b": "1"}},
            "spec": {"taints": [
                {"key": "readiness.k8s.io/a", "value": "pending", "effect": "NoSchedule"},
                {"key": "b", "effect": "NoSchedule"}]}})
    );
}

#[test]
fn annotations_are_set_changed_and_removed_one_by_one() {
    let json = json!({"metadata": {"name": "n", "uid": "u",
            "annotations": {"theirs": "x", "r/old": "1", "r/gone": "2"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let changes = Changes {
        annotations: BTreeMap::from([
            ("r/gone".into(), None),
            ("r/never".into(), None),
            ("r/new".into(), Some("3".into())),
            ("r/old".into(), Some("4".into())),
        ]),
        ..Changes::default()
    };
    let patch = node_patch(&node(&json), &changes).unwrap();
    assert_eq!(
        serde_json::to_value(&patch).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "test", "path": "/spec/taints", "value": [{"key": "k", "effect": "NoSchedule"}]},
            {"op": "test", "path": "/metadata/annotations/r~1gone", "value": "2"},
            {"op": "test", "path": "/metadata/annotations/r~1new", "value": null},
            {"op": "test", "path": "/metadata/annotations/r~1old", "value": "1"},
            {"op": "remove", "path": "/metadata/annotations/r~1gone"},
            {"op": "add", "path": "/metadata/annotations/r~1new", "value": "3"},
            {"op": "replace", "path": "/metadata/annotations/r~1old", "value": "4"},
        ])
    );
    let after = apply(&json, &patch).unwrap();
    assert_eq!(
        after["metadata"]["annotations"],
        json!({"theirs": "x", "r/old": "4", "r/new": "3"})
    );
    assert_eq!(after["spec"], json["spec"]);
}

#[test]
fn the_last_taint_takes_the_list_with_it() {
    let json = json!({"metadata": {"name": "n", "uid": "u"},
        "spec": {"podCIDR": "x", "taints": [{"key": "k", "value": "any", "effect": "NoSchedule"}]}});
    let changes = Changes {
        remove: vec![id("k", Effect::NoSchedule)],
        ..Changes::default()
    };
    let patch = node_patch(&node(&json), &changes).unwrap();
    assert_eq!(
        apply(&json, &patch).unwrap()["spec"],
        json!({"podCIDR": "x"})
    );
}

#[test]
fn a_taint_with_another_value_is_replaced_where_it_is_removed_and_added() {
    let json = json!({"metadata": {"name": "n", "uid": "u"},
        "spec": {"taints": [{"key": "k", "value": "1", "effect": "NoSchedule"}]}});
    let changes = Changes {
        remove: vec![id("k", Effect::NoSchedule)],
        add: vec![add("k", Some("2"))],
        ..Changes::default()
    };
    let patch = node_patch(&node(&json), &changes).unwrap();
    assert_eq!(
        apply(&json, &patch).unwrap()["spec"]["taints"],
        json!([{"key": "k", "value": "2", "effect": "NoSchedule"}])
    );
}

#[test]
fn what_changed_in_between_makes_the_patch_fail() {
    let json = json!({"metadata": {"name": "n", "uid": "u", "annotations": {"ours": "1", "theirs": "1"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let changes = Changes {
        add: vec![add("a", None)],
        remove: vec![],
        annotations: BTreeMap::from([("ours".into(), Some("2".into()))]),
    };
    let patch = node_patch(&node(&json), &changes).unwrap();
    let changed = |place: &str, value: Value| {
        let mut json = json.clone();
        *json.pointer_mut(place).unwrap() = value;
        apply(&json, &patch)
    };
    assert!(changed("/metadata/uid", json!("v")).is_err());
    assert!(changed("/metadata/annotations/ours", json!("3")).is_err());
    assert!(changed("/spec/taints", json!([])).is_err());
    assert!(
        changed(
            "/spec/taints/0",
            json!({"key": "k", "effect": "NoSchedule", "later": 1})
        )
        .is_err()
    );
    // A heartbeat, and annotations of others, do not matter.
    assert!(changed("/metadata/annotations/theirs", json!("3")).is_ok());
    assert!(changed("/metadata/name", json!("n")).is_ok());
}

fn effect() -> impl Strategy<Value = Effect> {
    prop::sample::select(Effect::ALL.to_vec())
}

fn key() -> impl Strategy<Value = String> {
    "(a|b|c|d~/e)"
}

fn taint_id() -> impl Strategy<Value = TaintId> {
    (key(), effect()).prop_map(|(key, effect)| TaintId { key, effect })
}

/// A taint as it may stand on a node, with whatever a later API adds to it.
fn raw_taint() -> impl Strategy<Value = Value> {
    let more = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(Value::from),
        ".{0,4}".prop_map(|text| json!({"x": [text, 1.5, null]})),
    ];
    let extra = btree_map("[xyz]", more, 0..3);
    let effect = prop_oneof![effect().prop_map(Effect::as_str), Just("Later")];
    (key(), effect, prop::option::of(".{0,3}"), extra).prop_map(|(key, effect, value, extra)| {
        let mut raw = json!({"key": key, "effect": effect});
        let map = raw.as_object_mut().unwrap();
        map.extend(extra);
        map.extend(value.map(|value| ("value".to_owned(), value.into())));
        raw
    })
}

prop_compose! {
    fn changes()(
        remove in vec(taint_id(), 0..3),
        add in vec((taint_id(), prop::option::of("[a-z]{0,3}")), 0..3),
        annotations in btree_map("(ours/[ab~]|theirs)", prop::option::of("[0-9]"), 0..4),
    ) -> Changes {
        let add = add.into_iter().map(|(id, value)| NewTaint { id, value }).collect();
        Changes { add, remove, annotations }
    }
}

proptest! {
    #[test]
    fn compat_030_everything_of_others_survives(
        taints in prop::option::of(vec(raw_taint(), 0..6)),
        annotations in btree_map("(ours/[ab~]|theirs|more)", "[0-9]", 0..4),
        changes in changes(),
    ) {
        let mut json = json!({"metadata": {"name": "n", "uid": "u", "x": 1}, "spec": {"y": [2]}, "status": {"z": 3}});
        if let Some(taints) = &taints {
            json["spec"]["taints"] = taints.clone().into();
        }
        if !annotations.is_empty() {
            json["metadata"]["annotations"] = json!(annotations);
        }
        let node = node(&json);
        let patch = node_patch(&node, &changes);
        let after = match &patch {
            Some(patch) => apply(&json, patch).unwrap(),
            None => json.clone(),
        };

        // Taints: others' entries first, byte for byte and in order; then what was added.
        let before = taints.unwrap_or_default();
        let after_taints = after["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let kept: Vec<_> = before.iter().filter(|raw| !changes.remove.iter().any(|id| is(raw, id))).collect();
        prop_assert!(after_taints.iter().take(kept.len()).map(Value::to_string).eq(kept.iter().map(|raw| raw.to_string())));
        for raw in &after_taints[kept.len()..] {
            prop_assert!(changes.add.iter().any(|taint| entry(taint) == *raw));
        }
        for taint in &changes.add {
            let count = after_taints.iter().filter(|raw| is(raw, &taint.id)).count();
            prop_assert!(count >= 1 && count <= before.iter().filter(|raw| is(raw, &taint.id)).count().max(1));
        }

        // Annotations: exactly the changes.
        let mut expected: BTreeMap<String, String> = annotations;
        for (key, value) in &changes.annotations {
            match value {
                Some(value) => { expected.insert(key.clone(), value.clone()); }
                None => { expected.remove(key); }
            }
        }
        let found: BTreeMap<String, String> = after["metadata"].get("annotations")
            .map(|map| serde_json::from_value(map.clone()).unwrap()).unwrap_or_default();
        prop_assert_eq!(found, expected);

        // The rest is untouched, and a second time there is nothing to do.
        prop_assert_eq!(&after["status"], &json["status"]);
        prop_assert_eq!(&after["spec"]["y"], &json["spec"]["y"]);
        prop_assert_eq!(&after["metadata"]["uid"], &json["metadata"]["uid"]);
        let again = Changes { remove: vec![], ..changes };
        prop_assert_eq!(node_patch(&self::node(&after), &again), None);
    }
}
