use super::*;

/// A rule by its name, which is its UID as well: `+` carries the annotation, `-` is being deleted, `!` has
/// no finalizer yet, `=` carries it and says no.
fn rules(all: &[&str]) -> Vec<Arc<NodeReadinessRule>> {
    let rule = |(age, text): (usize, &&str)| {
        let name = text.trim_end_matches(['+', '-', '!', '=']);
        let mut metadata = json!({
            "name": name, "uid": name,
            "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z"),
        });
        if text.contains('+') {
            metadata["annotations"] = json!({ FREEZE: format!("why {name}") });
        }
        if text.contains('=') {
            metadata["annotations"] = json!({ FREEZE: "false" });
        }
        if text.contains('-') {
            metadata["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        }
        if !text.contains('!') {
            metadata["finalizers"] = json!([api::rule::FINALIZER]);
        }
        let rule = json!({ "metadata": metadata, "spec": {
            "conditions": [], "enforcementMode": "continuous", "nodeSelector": {},
            "taint": { "key": "readiness.k8s.io/a", "effect": "NoSchedule" } } });
        Arc::new(serde_json::from_value(rule).unwrap())
    };
    all.iter().enumerate().map(rule).collect()
}

/// Who carries it, why, and whether that has to be written, after each of these states.
fn told(states: &[&[&str]]) -> Vec<String> {
    let mut frozen: Option<Frozen> = None;
    let tell = |state: &&[&str]| {
        frozen = Frozen::find(&rules(state), frozen.as_ref());
        match &frozen {
            Some(Frozen {
                rule, why, written, ..
            }) if *written => format!("{rule}: {why}"),
            Some(Frozen { rule, why, .. }) => format!("{rule} is to: {why}"),
            None => "no".to_owned(),
        }
    };
    states.iter().map(tell).collect()
}

#[test]
fn it_is_on_while_a_rule_carries_it_and_off_when_it_is_taken_off() {
    let states: [&[&str]; 5] = [
        &["a", "b"],
        &["a", "b+"],
        &["a+", "b+"],
        &["a+", "b"],
        &["a", "b"],
    ];
    let expected = ["no", "b: why b", "a: why a", "a: why a", "no"];
    assert_eq!(told(&states), expected);
}

#[test]
fn the_oldest_that_has_begun_carries_it_on_where_the_carrier_goes() {
    let states: [&[&str]; 4] = [
        &["young!", "b", "c", "a+"],
        &["young!", "b", "c", "a+-"],
        &["young!", "b+", "c", "a+-"],
        &["young!", "b+", "c"],
    ];
    let expected = ["a: why a", "b is to: why a", "b: why b", "b: why b"];
    assert_eq!(told(&states), expected);
    assert_eq!(told(&[&["young!", "a+-"]]), ["young is to: why a"]);
}

/// Somebody took the finalizer off by force.
#[test]
fn one_that_is_gone_at_once_is_remembered() {
    let states: [&[&str]; 4] = [&["a+", "b", "c"], &["b", "c"], &["c"], &["c+"]];
    let expected = ["a: why a", "b is to: why a", "c is to: why a", "c: why c"];
    assert_eq!(told(&states), expected);
}

/// A host that starts, or takes over, knows only what the cluster shows.
#[test]
fn a_host_that_was_away_finds_the_one_that_goes() {
    assert_eq!(told(&[&["a+-", "b"]]), ["b is to: why a"]);
    assert_eq!(told(&[&["a-", "b"]]), ["no"]);
}

#[test]
fn taken_off_one_that_goes_it_is_released_as_well() {
    let states: [&[&str]; 3] = [&["a+", "b"], &["a+-", "b"], &["a-", "b"]];
    assert_eq!(told(&states), ["a: why a", "b is to: why a", "no"]);
    let states: [&[&str]; 2] = [&["a+", "b"], &["a-", "b"]];
    assert_eq!(told(&states), ["a: why a", "no"]);
}

#[test]
fn without_a_rule_nothing_is_frozen() {
    let states: [&[&str]; 4] = [&["a+"], &["a+-"], &[], &["b"]];
    assert_eq!(told(&states), ["a: why a", "no", "no", "no"]);
}

#[test]
fn an_alarm_is_on_until_it_stands_in_the_cluster_and_then_as_any_other() {
    let alarm = Frozen {
        why: "alarm".to_owned(),
        ..Frozen::by(&rules(&["a"])[0], "")
    };
    let find = |state: &[&str], before: &Frozen| Frozen::find(&rules(state), Some(before));
    assert_eq!(find(&["a", "b"], &alarm), Some(alarm.clone()));
    // Its rule goes before it could be written.
    let heir = find(&["a-", "b"], &alarm).unwrap();
    assert_eq!((heir.rule.as_str(), heir.why.as_str()), ("b", "alarm"));
    assert_eq!(find(&["a-", "b"], &heir), Some(heir.clone()));
    let written = find(&["a+", "b"], &alarm).unwrap();
    assert!(written.written);
    assert_eq!(find(&["a", "b"], &written), None);
}

#[test]
fn a_patch_touches_nothing_but_the_annotation() {
    let apply = |rule: &NodeReadinessRule, patch: Value| {
        let mut value = serde_json::to_value(rule).unwrap();
        if rule.meta().annotations.is_none() {
            // To the API server what is not there is null.
            value["metadata"]["annotations"] = Value::Null;
        }
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut value, &patch).map(|()| value["metadata"]["annotations"].take())
    };
    let bare = &rules(&["a"])[0];
    assert_eq!(apply(bare, put(bare, "x")).unwrap(), json!({ FREEZE: "x" }));
    let mut other = NodeReadinessRule::clone(bare);
    other.annotations_mut().insert("b".into(), "c".into());
    let both = json!({ "b": "c", FREEZE: "x" });
    assert_eq!(apply(&other, put(&other, "x")).unwrap(), both);
    // Somebody annotated it meanwhile: his is not lost.
    assert!(apply(&other, put(bare, "x")).is_err());
    other.annotations_mut().insert(FREEZE.into(), "x".into());
    assert_eq!(
        apply(&other, take_off(&other)).unwrap(),
        json!({ "b": "c" })
    );
}

#[test]
fn rules_of_files_are_frozen_as_those_of_a_cluster() {
    for (state, expected) in [
        (&["a", "b"][..], false),
        (&["a", "b+"], true),
        (&["a", "b+-"], true),
        (&["b+-"], false),
        (&["a", "b="], false),
    ] {
        let rules = rules(state);
        assert_eq!(is_frozen(rules.iter().map(AsRef::as_ref)), expected);
    }
}

#[test]
fn a_value_that_says_no_freezes_nothing_and_takes_a_freeze_off() {
    let states: [&[&str]; 4] = [&["a=", "b"], &["a+", "b"], &["a=", "b"], &["a=", "b+"]];
    assert_eq!(told(&states), ["no", "a: why a", "no", "b: why b"]);
    // It is no carrier: nothing waits for it when it goes.
    assert_eq!(told(&[&["a=-", "b"]]), ["no"]);
    let mut rule = NodeReadinessRule::clone(&rules(&["a"])[0]);
    for (text, freezes) in [
        ("False", false),
        (" no ", false),
        ("OFF", false),
        ("0", false),
        ("n", false),
        ("f", false),
        ("", true),
        ("true", true),
        ("no agent reports", true),
    ] {
        rule.annotations_mut().insert(FREEZE.into(), text.into());
        assert_eq!(carries(&rule), freezes, "{text:?}");
    }
}
