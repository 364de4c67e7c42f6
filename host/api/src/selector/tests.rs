use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::core::SelectorExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(selector: Value) -> Result<Selector, InvalidSelector> {
    Selector::parse(&serde_json::from_value(selector).unwrap())
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
}

#[test]
fn compat_009_empty_selects_every_node() {
    let all = parse(json!({})).unwrap();
    assert!(all.selects_all());
    assert!(all.matches(&Texts::default()));
    assert!(all.matches(&[("a", "b")].into()));
}

#[test]
fn nothing_selects_nothing() {
    let named = [("readiness.node.x-k8s.io/none", "")];
    for labels in [Texts::default(), named.into()] {
        assert!(!Selector::nothing().matches(&labels));
    }
}

#[test]
fn operators_have_the_meaning_of_kubernetes() {
    let labels = |value: Option<&str>| {
        let mut labels = Texts::from([("other", "x")]);
        labels.set("zone", value);
        labels
    };
    // selector; matches where the label is absent, "", "a", "c"
    let cases = [
        (
            json!({"matchLabels": {"zone": "a"}}),
            [false, false, true, false],
        ),
        (
            json!({"matchLabels": {"zone": ""}}),
            [false, true, false, false],
        ),
        (
            expression("zone", "In", &["a", "b"]),
            [false, false, true, false],
        ),
        (
            expression("zone", "NotIn", &["a", "b"]),
            [true, true, false, true],
        ),
        (expression("zone", "Exists", &[]), [false, true, true, true]),
        (
            expression("zone", "DoesNotExist", &[]),
            [true, false, false, false],
        ),
        (
            json!({"matchLabels": {"other": "x"}, "matchExpressions": [
                {"key": "zone", "operator": "NotIn", "values": ["c"]},
                {"key": "zone", "operator": "Exists"}]}),
            [false, true, true, false],
        ),
    ];
    for (selector, expected) in cases {
        let parsed = parse(selector.clone()).unwrap();
        let found =
            [None, Some(""), Some("a"), Some("c")].map(|value| parsed.matches(&labels(value)));
        assert_eq!(found, expected, "{selector}");
    }
}

#[test]
fn compat_009_an_unparsable_selector_says_where() {
    let cases = [
        (
            expression("zone", "Gt", &["1"]),
            "matchExpressions[0].operator",
        ),
        (
            expression("zone", "in", &["a"]),
            "matchExpressions[0].operator",
        ),
        (expression("zone", "In", &[]), "matchExpressions[0].values"),
        (
            expression("zone", "NotIn", &["not ok!"]),
            "matchExpressions[0].values",
        ),
        (
            expression("zone", "Exists", &["a"]),
            "matchExpressions[0].values",
        ),
        (
            expression("a/b/c", "Exists", &[]),
            "matchExpressions[0].key",
        ),
        (json!({"matchLabels": {"-": "a"}}), "matchLabels[\"-\"]"),
        (json!({"matchLabels": {"a": "-"}}), "matchLabels[\"a\"]"),
    ];
    for (selector, field) in cases {
        assert_eq!(
            parse(selector.clone()).unwrap_err().field,
            field,
            "{selector}"
        );
    }
}

/// A selector that cannot be read overlaps with everything.
fn overlap(one: &LabelSelector, other: &LabelSelector) -> bool {
    match (Selector::parse(one), Selector::parse(other)) {
        (Ok(one), Ok(other)) => one.overlaps(&other),
        _ => true,
    }
}

fn selector(json: Value) -> LabelSelector {
    serde_json::from_value(json).unwrap()
}

#[test]
fn compat_037_the_named_cases() {
    let label = |value: &str| json!({"matchLabels": {"env": value}});
    let prod = || label("prod");
    let cases = [
        ("empty and any", json!({}), prod(), true),
        ("empty and empty", json!({}), json!({}), true),
        ("equal", prod(), prod(), true),
        (
            "subset",
            prod(),
            json!({"matchLabels": {"env": "prod", "zone": "a"}}),
            true,
        ),
        (
            "the same key and other keys",
            json!({"matchLabels": {"env": "prod", "a": "1"}}),
            json!({"matchLabels": {"env": "prod", "b": "2"}}),
            true,
        ),
        (
            "other keys",
            prod(),
            json!({"matchLabels": {"a": "1"}}),
            true,
        ),
        ("prod and dev", prod(), label("dev"), false),
        (
            "intersecting sets",
            expression("env", "In", &["prod", "test"]),
            expression("env", "In", &["dev", "test"]),
            true,
        ),
        (
            "disjoint sets",
            expression("env", "In", &["prod", "test"]),
            expression("env", "In", &["dev"]),
            false,
        ),
        (
            "Exists and DoesNotExist",
            expression("env", "Exists", &[]),
            expression("env", "DoesNotExist", &[]),
            false,
        ),
        (
            "DoesNotExist and NotIn",
            expression("env", "DoesNotExist", &[]),
            expression("env", "NotIn", &["prod"]),
            true,
        ),
        (
            "In and NotIn of the same",
            prod(),
            expression("env", "NotIn", &["prod", "dev"]),
            false,
        ),
        (
            "In and NotIn of another",
            prod(),
            expression("env", "NotIn", &["dev"]),
            true,
        ),
        (
            "Exists and NotIn",
            expression("env", "Exists", &[]),
            expression("env", "NotIn", &["dev"]),
            true,
        ),
        (
            "a contradiction and empty",
            json!({"matchLabels": {"env": "prod"},
                   "matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}),
            json!({}),
            false,
        ),
        ("Gt", expression("env", "Gt", &["1"]), label("dev"), true),
        (
            "a bad key",
            expression("a/b/c", "Exists", &[]),
            prod(),
            true,
        ),
    ];
    for (name, one, other, expected) in cases {
        let (one, other) = (selector(one), selector(other));
        assert_eq!(overlap(&one, &other), expected, "{name}");
        assert_eq!(overlap(&other, &one), expected, "{name}, the other way");
    }
}

#[test]
fn as_many_values_as_fit_into_an_object() {
    let values = |from: usize| {
        let values: Vec<_> = (from..from + 60_000).map(|n| n.to_string()).collect();
        json!({"matchExpressions": [{"key": "n", "operator": "In", "values": values}]})
    };
    let (one, two, three) = (values(0), values(59_999), values(60_000));
    assert!(overlap(&selector(one.clone()), &selector(two)));
    assert!(!overlap(&selector(one), &selector(three)));
}

/// Two keys and two values in the selectors. A third value is all that lies outside of them: any other
/// would be treated alike.
const KEYS: [&str; 2] = ["a", "b"];
const VALUES: [Option<&str>; 4] = [None, Some(""), Some("x"), Some("y")];

fn any_selector() -> impl Strategy<Value = LabelSelector> {
    let named = || prop::sample::select(vec!["", "x"]).prop_map(str::to_owned);
    let key = || prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
    let operator = prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    let expression = (key(), operator, prop::collection::vec(named(), 1..3)).prop_map(
        |(key, operator, values)| LabelSelectorRequirement {
            key,
            operator: operator.to_owned(),
            values: operator.ends_with("In").then_some(values),
        },
    );
    let labels = prop::collection::btree_map(key(), named(), 0..2);
    (labels, prop::collection::vec(expression, 0..4)).prop_map(|(labels, expressions)| {
        LabelSelector {
            match_labels: Some(labels),
            match_expressions: Some(expressions),
        }
    })
}

/// Every way in which a node can be labelled, as far as the selectors can tell.
fn label_sets() -> impl Iterator<Item = BTreeMap<String, String>> {
    VALUES.into_iter().flat_map(|first| {
        VALUES.into_iter().map(move |second| {
            let labels = KEYS.into_iter().zip([first, second]);
            labels
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn compat_037_it_is_what_trying_every_label_finds(one in any_selector(), other in any_selector()) {
        let parsed = [&one, &other].map(|selector| Selector::parse(selector).unwrap());
        let found = label_sets().any(|labels| {
            let labels = labels.into_iter().collect();
            parsed.iter().all(|parsed| parsed.matches(&labels))
        });
        prop_assert_eq!(overlap(&one, &other), found);
    }

    #[test]
    fn two_together_select_what_both_select(one in any_selector(), other in any_selector()) {
        let [one, other] = [&one, &other].map(|selector| Selector::parse(selector).unwrap());
        let both = one.and(&other);
        for labels in label_sets() {
            let labels = labels.into_iter().collect();
            prop_assert_eq!(both.matches(&labels), one.matches(&labels) && other.matches(&labels));
        }
        prop_assert_eq!(both.is_possible(), one.overlaps(&other));
    }

    #[test]
    fn it_covers_another_where_no_label_is_found_that_only_the_other_selects(
        one in any_selector(),
        other in any_selector(),
    ) {
        let [one, other] = [&one, &other].map(|selector| Selector::parse(selector).unwrap());
        let selected = |selector: &Selector| -> Vec<bool> {
            label_sets().map(|labels| selector.matches(&labels.into_iter().collect())).collect()
        };
        let (ours, theirs) = (selected(&one), selected(&other));
        let outside = ours.iter().zip(&theirs).any(|(ours, theirs)| *theirs && !ours);
        // Of one that selects nothing it is not asked.
        if theirs.contains(&true) {
            prop_assert_eq!(one.covers(&other), !outside);
        }
    }

    #[test]
    fn compat_009_it_matches_as_the_client_library_does(selector in any_selector()) {
        let parsed = Selector::parse(&selector).unwrap();
        let theirs = kube::core::Selector::try_from(selector).unwrap();
        for labels in label_sets() {
            let expected = theirs.matches(&labels);
            prop_assert_eq!(parsed.matches(&labels.into_iter().collect()), expected);
        }
    }
}
