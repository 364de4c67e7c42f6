use serde_json::{Value, json};

use super::*;

fn rule(name: &str, change: impl FnOnce(&mut Value)) -> NodeReadinessRule {
    let mut rule = json!({
        "metadata": {"name": name, "uid": name},
        "spec": {
            "conditions": [{"type": "example.com/A", "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": "readiness.k8s.io/agent", "effect": "NoSchedule"},
            "nodeSelector": {"matchLabels": {"env": "prod"}}}});
    change(&mut rule);
    serde_json::from_value(rule).unwrap()
}

fn plain(name: &str) -> NodeReadinessRule {
    rule(name, |_| ())
}

fn with(name: &str, place: &str, value: Value) -> NodeReadinessRule {
    let (parent, field) = place.rsplit_once('/').unwrap();
    rule(name, |rule| {
        rule.pointer_mut(parent).unwrap()[field] = value
    })
}

fn create(new: &NodeReadinessRule, others: &[NodeReadinessRule]) -> Review {
    reviewed(&Change::Create { new }, others)
}

fn reviewed(change: &Change<'_>, others: &[NodeReadinessRule]) -> Review {
    let others = others.iter().cloned().map(Arc::new).map(Existing::new);
    change.review(&others.collect::<Vec<_>>())
}

fn refusal(review: &Review) -> String {
    review.refusal().unwrap_or_default()
}

const CONFLICT: &str = "spec.taint.key: Invalid value: \"readiness.k8s.io/agent\": conflicts with existing rule 'other' - same taint key 'readiness.k8s.io/agent' and effect 'NoSchedule' with overlapping node selectors";

#[test]
fn compat_034_a_selector_must_select_and_be_readable() {
    let selector = |value| refusal(&create(&with("new", "/spec/nodeSelector", value), &[]));
    for empty in [
        json!({}),
        json!({"matchLabels": {}, "matchExpressions": []}),
    ] {
        assert_eq!(
            selector(empty),
            "validation failed: [spec.nodeSelector: Required value: nodeSelector must not be empty]"
        );
    }
    assert_eq!(
        selector(json!({"matchLabels": {"a/b/c": "x"}})),
        "validation failed: [spec.nodeSelector: Invalid value: {\"matchLabels\":{\"a/b/c\":\"x\"}}: matchLabels[\"a/b/c\"]: a key has at most one '/']"
    );
    let long = selector(json!({"matchLabels": {"a": "ü".repeat(1000)}}));
    assert!(long.chars().count() < 500, "{long}");
}

#[test]
fn compat_037_gt_and_lt_are_refused() {
    for operator in ["Gt", "Lt", "in"] {
        let selector =
            json!({"matchExpressions": [{"key": "a", "operator": operator, "values": ["1"]}]});
        let review = create(&with("new", "/spec/nodeSelector", selector), &[]);
        let text = refusal(&review);
        assert!(
            text.starts_with("validation failed: [spec.nodeSelector: Invalid value: {"),
            "{text}"
        );
        let message = format!("{operator:?} is not a valid label selector operator");
        assert!(text.contains(&message), "{text}");
    }
}

#[test]
fn compat_035_bootstrap_takes_no_default_and_no_any_of() {
    let bad = rule("new", |rule| {
        let spec = &mut rule["spec"];
        spec["enforcementMode"] = json!("bootstrap-only");
        spec["conditionPolicy"] = json!("anyOf");
        spec["conditions"] = json!([
            {"type": "A", "requiredStatus": "True"},
            {"type": "B", "requiredStatus": "True", "defaultStatus": "False"}]);
    });
    assert_eq!(
        refusal(&create(&bad, &[])),
        "validation failed: [spec.conditions[1].defaultStatus: Forbidden: defaultStatus should not be used with bootstrap-only enforcementMode \
         spec.conditionPolicy: Forbidden: anyOf conditionPolicy is not supported with bootstrap-only enforcementMode]"
    );
    // Stored before anybody was asked: it can be updated.
    let mut changed = bad.clone();
    changed.spec.taint.value = Some("v".to_owned());
    let update = Change::Update {
        old: &bad,
        new: &changed,
    };
    assert_eq!(
        reviewed(&update, std::slice::from_ref(&bad)),
        Review::default()
    );
    let mut continuous = bad.clone();
    continuous.spec.enforcement_mode = "continuous".to_owned();
    assert_eq!(create(&continuous, &[]).errors, []);
}

#[test]
fn compat_036_one_taint_on_one_node_has_one_rule() {
    let others = [plain("other")];
    assert_eq!(
        refusal(&create(&plain("new"), &others)),
        format!("validation failed: [{CONFLICT}]")
    );
    let passes = |new: &NodeReadinessRule| create(new, &others).errors.is_empty();
    assert!(passes(&plain("other")), "never with itself");
    assert!(passes(&with(
        "new",
        "/spec/taint/effect",
        json!("NoExecute")
    )));
    assert!(passes(&with(
        "new",
        "/spec/taint/key",
        json!("readiness.k8s.io/b")
    )));
    assert!(!passes(&with("new", "/spec/taint/value", json!("v"))));
    let dev = json!({"matchLabels": {"env": "dev"}});
    assert!(passes(&with("new", "/spec/nodeSelector", dev)));
    let unreadable = with(
        "other",
        "/spec/nodeSelector",
        json!({"matchLabels": {"-": ""}}),
    );
    assert!(!create(&plain("new"), &[unreadable]).errors.is_empty());
}

#[test]
fn compat_038_errors_are_in_the_order_of_the_fields_and_conflicts_last() {
    let bad = rule("new", |rule| {
        let spec = &mut rule["spec"];
        spec["enforcementMode"] = json!("bootstrap-only");
        spec["conditions"][0]["defaultStatus"] = json!("True");
        spec["nodeSelector"] = json!({});
    });
    let others = ["b", "new", "a"].map(plain);
    let review = create(&bad, &others);
    let fields: Vec<_> = review
        .errors
        .iter()
        .map(|error| error.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.conditions[0].defaultStatus",
            "spec.nodeSelector",
            "spec.taint.key",
            "spec.taint.key"
        ]
    );
    let named = ["'a'", "'b'"].map(|name| format!("conflicts with existing rule {name} - "));
    assert!(review.errors[2].detail.starts_with(&named[0]));
    assert!(review.errors[3].detail.starts_with(&named[1]));
}

#[test]
fn compat_039_warnings_on_create() {
    let no_execute = |mode: &str| {
        rule("new", |rule| {
            rule["spec"]["enforcementMode"] = json!(mode);
            rule["spec"]["taint"]["effect"] = json!("NoExecute");
        })
    };
    let continuous = no_execute("continuous");
    assert_eq!(
        create(&continuous, &[]).warnings,
        [
            "CAUTION: NoExecute with continuous mode evicts pods when conditions fail, risking workload disruption. Consider NoSchedule or bootstrap-only"
        ]
    );
    assert_eq!(
        create(&no_execute("bootstrap-only"), &[]).warnings,
        [
            "NOTE: NoExecute will evict existing pods without tolerations. Ensure critical system pods have appropriate tolerations"
        ]
    );
    assert_eq!(create(&plain("new"), &[]), Review::default());
    let mut changed = continuous.clone();
    changed.spec.taint.value = Some("v".to_owned());
    let update = Change::Update {
        old: &continuous,
        new: &changed,
    };
    assert_eq!(
        reviewed(&update, std::slice::from_ref(&continuous)),
        Review::default()
    );
}

#[test]
fn nrc_414_a_default_that_satisfies_any_of_is_warned_about() {
    let any_of = |default: &str| {
        rule("new", |rule| {
            rule["spec"]["conditionPolicy"] = json!("anyOf");
            rule["spec"]["conditions"][0]["defaultStatus"] = json!(default);
        })
    };
    assert_eq!(
        create(&any_of("True"), &[]).warnings,
        [
            "spec.conditions[0].defaultStatus: with anyOf it releases every node that does not have example.com/A yet"
        ]
    );
    assert_eq!(create(&any_of("False"), &[]), Review::default());
}

#[test]
fn compat_040_what_must_never_be_refused_is_not() {
    let others = [plain("other"), plain("new")];
    let review = |old: &NodeReadinessRule, new: &NodeReadinessRule| {
        let change = Change::Update { old, new };
        assert_eq!(
            change.wants_others(),
            !reviewed(&change, &others).errors.is_empty(),
            "the rules are needed exactly where they say something"
        );
        refusal(&reviewed(&change, &others))
    };
    // Both exist: a webhook was off.
    let stored = plain("new");
    let dry = with("new", "/spec/dryRun", json!(true));
    assert_eq!(reviewed(&Change::Delete, &others), Review::default());
    assert_eq!(
        review(&stored, &with("new", "/metadata/labels", json!({"a": "b"}))),
        ""
    );
    assert_eq!(review(&stored, &dry), "");
    assert_eq!(review(&dry, &with("new", "/spec/dryRun", json!(true))), "");
    let conflict = format!("validation failed: [{CONFLICT}]");
    assert_eq!(review(&dry, &stored), conflict);
    assert_eq!(
        review(&dry, &with("new", "/spec/dryRun", json!(false))),
        conflict
    );
    let mut going = stored.clone();
    going.metadata.deletion_timestamp = serde_json::from_str("\"2026-01-02T03:04:05Z\"").unwrap();
    assert_eq!(review(&dry, &going), "");
    assert_eq!(
        review(&stored, &with("new", "/spec/suspend", json!(true))),
        ""
    );
    // A rule that is stopped in an emergency is not told that its selector was never good.
    let all = with("new", "/spec/nodeSelector", json!({}));
    let mut stopped = all.clone();
    stopped.spec.dry_run = Some(true);
    assert_eq!(review(&all, &stopped), "");
    assert!(review(&stopped, &all).contains("nodeSelector must not be empty"));
}

#[test]
fn nrc_435_a_dry_run_does_not_conflict() {
    let dry = |name| with(name, "/spec/dryRun", json!(true));
    assert_eq!(create(&dry("new"), &[plain("other")]), Review::default());
    assert_eq!(create(&plain("new"), &[dry("other")]), Review::default());
    let mut going = plain("other");
    going.metadata.deletion_timestamp = serde_json::from_str("\"2026-01-02T03:04:05Z\"").unwrap();
    assert_eq!(create(&plain("new"), &[going]), Review::default());
}

#[test]
fn a_rule_stands_beside_the_one_that_it_replaces_and_no_other() {
    let successor = with("new", "/spec/replaces", json!("other"));
    assert_eq!(create(&successor, &[plain("other")]), Review::default());
    let review = create(&successor, &[plain("other"), plain("third")]);
    assert_eq!(review.errors.len(), 1);
    assert!(review.errors[0].detail.contains("'third'"));
    // From the other side, as while the one before is switched off and on again.
    let (off, on) = (with("other", "/spec/dryRun", json!(true)), plain("other"));
    let change = Change::Update {
        old: &off,
        new: &on,
    };
    assert_eq!(
        reviewed(&change, std::slice::from_ref(&successor)),
        Review::default()
    );
    // It replaces nothing any more.
    let alone = plain("new");
    let change = Change::Update {
        old: &successor,
        new: &alone,
    };
    assert_eq!(reviewed(&change, std::slice::from_ref(&on)).errors.len(), 1);
}

#[test]
fn replacing_itself_is_refused_and_replacing_nothing_is_warned_about() {
    let replaces = |name: &str| with("new", "/spec/replaces", json!(name));
    let itself =
        "validation failed: [spec.replaces: Invalid value: \"new\": a rule cannot replace itself]";
    let review = create(&replaces("new"), &[]);
    assert_eq!(refusal(&review), itself);
    let review = create(&replaces("othr"), &[plain("third")]);
    let warning = "spec.replaces: there is no rule 'othr', so nothing is taken over from it";
    assert_eq!(review.warnings, [warning]);
    assert_eq!(
        create(&replaces("other"), &[plain("other")]),
        Review::default()
    );
    // It is judged where it is said, also of a rule that only says what it would do, and never again.
    let update = |old: &NodeReadinessRule, new: &NodeReadinessRule| {
        let change = Change::Update { old, new };
        (change.wants_others(), reviewed(&change, &[]))
    };
    let dry = |mut rule: NodeReadinessRule| {
        rule.spec.dry_run = Some(true);
        rule
    };
    let (asks, review) = update(&dry(plain("new")), &dry(replaces("new")));
    assert!(asks && refusal(&review) == itself);
    let (asks, review) = update(&dry(plain("new")), &dry(replaces("othr")));
    assert!(asks && review.warnings == [warning]);
    for name in ["new", "othr"] {
        let mut suspended = dry(replaces(name));
        suspended.spec.suspend = Some(true);
        let (asks, review) = update(&dry(replaces(name)), &suspended);
        assert!(!asks && review == Review::default(), "{name}: {review:?}");
    }
}

/// Whoever relies on a replacement that is only tried deletes the old rule too early.
#[test]
fn a_dry_run_that_replaces_is_warned_about_where_it_begins() {
    let stored = [plain("other")];
    let dry = |mut rule: NodeReadinessRule| {
        rule.spec.dry_run = Some(true);
        rule
    };
    let replaces = || with("new", "/spec/replaces", json!("other"));
    let warned = |review: Review| {
        assert_eq!(review.errors, []);
        let is = |text: &String| text.contains("takes nothing over from rule 'other'");
        let warned = review.warnings.iter().any(is);
        assert_eq!(review.warnings.len(), usize::from(warned));
        warned
    };
    assert!(warned(create(&dry(replaces()), &stored)));
    assert!(!warned(create(&replaces(), &stored)));
    assert!(!warned(create(&dry(plain("new")), &stored)));
    let update = |old: NodeReadinessRule, new: NodeReadinessRule| {
        let (old, new) = (&old, &new);
        let change = Change::Update { old, new };
        let warned = warned(reviewed(&change, &stored));
        assert!(change.wants_others() || !warned, "it cannot know");
        warned
    };
    // Either may come second.
    assert!(update(replaces(), dry(replaces())));
    assert!(update(dry(plain("new")), dry(replaces())));
    // It ends, or something else changes.
    assert!(!update(dry(replaces()), replaces()));
    let mut suspended = dry(replaces());
    suspended.spec.suspend = Some(true);
    assert!(!update(dry(replaces()), suspended));
}
