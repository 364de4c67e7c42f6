use planner::rule::TaintPrefixes;
use serde_json::{Value, json};

use super::*;
use crate::NodeReadinessRule;

/// A rule that waits for the condition of its name; its taint has that name too.
fn rule(name: &str, more: Value) -> NodeReadinessRule {
    let mut rule = json!({
        "metadata": {"name": name},
        "spec": {
            "conditions": [{"type": name, "requiredStatus": "True"}],
            "enforcementMode": "continuous",
            "taint": {"key": format!("readiness.k8s.io/{name}"), "effect": "NoSchedule"},
            "nodeSelector": {"matchLabels": {"pool": "blue"}}}});
    let spec = rule["spec"].as_object_mut().unwrap();
    spec.extend(more.as_object().unwrap().clone());
    serde_json::from_value(rule).unwrap()
}

fn rules(names: &[&str]) -> Vec<NodeReadinessRule> {
    names.iter().map(|name| rule(name, json!({}))).collect()
}

/// Reports these conditions, and tolerates the taints of these rules.
fn set(name: &str, reports: &str, tolerates: &[&str], pod: Value) -> DaemonSet {
    let tolerations: Vec<_> = tolerates
        .iter()
        .map(|rule| json!({"key": format!("readiness.k8s.io/{rule}"), "operator": "Exists"}))
        .collect();
    let mut spec = json!({ "tolerations": tolerations });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(pod.as_object().unwrap().clone());
    let object = json!({
        "metadata": {"name": name, "annotations": {crate::daemon_set::REPORTS: reports}},
        "spec": {"template": {"spec": spec}}});
    serde_json::from_value(object).unwrap()
}

/// Each of these tolerates the taint of its own rule, and those of these.
fn sets(of: &[(&str, &[&str])]) -> Vec<DaemonSet> {
    of.iter()
        .map(|(name, more)| set(name, name, &[&[*name], *more].concat(), json!({})))
        .collect()
}

/// What is told of each rule.
fn told(rules: &[NodeReadinessRule], sets: &[DaemonSet]) -> Vec<Vec<String>> {
    let parsed = rules.iter().map(|rule| {
        let planned = rule.to_rule(&TaintPrefixes::default()).unwrap();
        (planned, rule.selector().unwrap())
    });
    let parsed: Vec<_> = parsed.collect();
    let pairs: Vec<_> = parsed
        .iter()
        .map(|(rule, selector)| (rule, selector))
        .collect();
    let found = rings(&pairs, sets).into_iter();
    found
        .map(|rings| rings.iter().map(ToString::to_string).collect())
        .collect()
}

/// Of how many rings each rule is told.
fn counts(rules: &[NodeReadinessRule], sets: &[DaemonSet]) -> Vec<usize> {
    told(rules, sets).iter().map(Vec::len).collect()
}

#[test]
fn two_that_keep_each_other_away_are_told_of_both() {
    let told = told(
        &rules(&["net", "disk"]),
        &sets(&[("net", &[]), ("disk", &[])]),
    );
    assert_eq!(
        told,
        [
            [
                "DaemonSet net reports net, but its pods do not tolerate the taint of rule 'disk', which waits for \
              DaemonSet disk, whose pods do not tolerate the taint of rule 'net': they keep each other away for ever; \
              give the pods of net the toleration {key: readiness.k8s.io/disk, operator: Exists, effect: NoSchedule}"
            ],
            [
                "DaemonSet disk reports disk, but its pods do not tolerate the taint of rule 'net', which waits for \
              DaemonSet net, whose pods do not tolerate the taint of rule 'disk': they keep each other away for ever; \
              give the pods of disk the toleration {key: readiness.k8s.io/net, operator: Exists, effect: NoSchedule}"
            ],
        ]
    );
}

#[test]
fn an_order_is_no_ring() {
    let two = rules(&["net", "disk"]);
    assert_eq!(
        counts(&two, &sets(&[("net", &[]), ("disk", &["net"])])),
        [0, 0]
    );
    // Whose reporter nobody knows waits for nobody.
    assert_eq!(counts(&two, &sets(&[("net", &[])])), [0, 0]);
    let three = rules(&["a", "b", "c"]);
    let line = sets(&[("a", &["c"]), ("b", &["a", "c"]), ("c", &["a", "b"])]);
    assert_eq!(counts(&three, &line), [0, 0, 0]);
    // Whoever waits for a ring is not in it.
    let behind = sets(&[("a", &["c"]), ("b", &["a"]), ("c", &["a"])]);
    assert_eq!(counts(&three, &behind), [0, 1, 1]);
}

#[test]
fn a_longer_ring_is_told_as_a_whole() {
    let ring = sets(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])]);
    let told = told(&rules(&["a", "b", "c"]), &ring);
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(
        told[0],
        [
            "DaemonSet a reports a, but its pods do not tolerate the taint of rule 'b', which waits for DaemonSet b, \
          whose pods do not tolerate the taint of rule 'c', which waits for DaemonSet c, whose pods do not tolerate \
          the taint of rule 'a': they keep each other away for ever; give the pods of a the toleration \
          {key: readiness.k8s.io/b, operator: Exists, effect: NoSchedule}"
        ]
    );
    // Of two ways back the short one is told, and one for each rule that is waited for.
    let all = sets(&[("a", &[]), ("b", &[]), ("c", &[])]);
    assert_eq!(counts(&rules(&["a", "b", "c"]), &all), [2, 2, 2]);
}

#[test]
fn only_on_a_node_that_all_of_them_can_have() {
    let pools = |pools: Value| json!({"nodeSelector": {"matchExpressions": [{"key": "pool", "operator": "In", "values": pools}]}});
    let ring = sets(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])]);
    let of = |c: Value| {
        let a = rule("a", pools(json!(["blue", "red"])));
        let b = rule("b", pools(json!(["red", "green"])));
        [a, b, rule("c", pools(c))]
    };
    assert_eq!(counts(&of(json!(["red"])), &ring), [1, 1, 1]);
    // Two and two have a pool in common, and all three have none.
    assert_eq!(counts(&of(json!(["green", "blue"])), &ring), [0, 0, 0]);
    // Nor is there a ring where one of the DaemonSets is not.
    let placed = |pool: &str| {
        let here = json!({"nodeSelector": {"pool": pool}});
        [
            set("net", "net", &["net"], here),
            sets(&[("disk", &[])]).remove(0),
        ]
    };
    assert_eq!(counts(&rules(&["net", "disk"]), &placed("blue")), [1, 1]);
    assert_eq!(counts(&rules(&["net", "disk"]), &placed("red")), [0, 0]);
}

#[test]
fn what_is_told_of_one_rule_alone_is_no_ring() {
    // Neither tolerates its own.
    let both = [set("one", "net,disk", &[], json!({}))];
    assert_eq!(counts(&rules(&["net", "disk"]), &both), [0, 0]);
    // Two rules with one taint.
    let taint = json!({"taint": {"key": "readiness.k8s.io/same", "effect": "NoSchedule"}});
    let same = [rule("net", taint.clone()), rule("disk", taint)];
    assert_eq!(counts(&same, &sets(&[("net", &[]), ("disk", &[])])), [0, 0]);
}

#[test]
fn a_taint_that_is_not_there_keeps_nobody_away() {
    let sets = sets(&[("net", &[]), ("disk", &[])]);
    let with = |more: Value| counts(&[rule("net", json!({})), rule("disk", more)], &sets);
    assert_eq!(with(json!({})), [1, 1]);
    let mild = json!({"taint": {"key": "readiness.k8s.io/disk", "effect": "PreferNoSchedule"}});
    assert_eq!(with(mild), [0, 0]);
    // What it would do is what a dry run is asked for; the other rule loses nothing by it.
    assert_eq!(with(json!({"dryRun": true})), [0, 1]);
}

/// Each of so many waits for all after it, and the last for the first. The first and the last run in these zones.
fn crowd(number: usize, zones: [&str; 2]) -> (Vec<NodeReadinessRule>, Vec<DaemonSet>) {
    let names: Vec<_> = (0..number).map(|number| format!("r{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let before = &names[..=index];
        let (tolerated, pod) = if index == 0 {
            (before, json!({"nodeSelector": {"zone": zones[0]}}))
        } else if index + 1 == number {
            (&before[1..], json!({"nodeSelector": {"zone": zones[1]}}))
        } else {
            (before, json!({}))
        };
        all.push(set(name, name, tolerated, pod));
    }
    (rules(&names), all)
}

#[test]
fn of_very_many_ways_from_rule_to_rule_not_all_are_followed() {
    let (rules, sets) = crowd(30, ["a", "a"]);
    let found = counts(&rules, &sets);
    assert_eq!(found[0], rules.len() - 1);
    assert!(found.iter().all(|rings| *rings > 0), "{found:?}");
    // Of the hundreds of millions of ways back none is on one node. Who follows them all does not come to an end.
    let (rules, sets) = crowd(30, ["a", "b"]);
    assert!(counts(&rules, &sets).iter().all(|rings| *rings == 0));
}

#[test]
fn a_ring_in_several_places_is_told_once() {
    let pools = ["blue", "green"].map(
        |pool| json!({"matchExpressions": [{"key": "pool", "operator": "In", "values": [pool]}]}),
    );
    let place = json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": pools}}}});
    let everywhere = json!({"nodeSelector": {}});
    let two = [rule("net", everywhere.clone()), rule("disk", everywhere)];
    let sets = ["net", "disk"].map(|name| set(name, name, &[name], place.clone()));
    assert_eq!(counts(&two, &sets), [1, 1]);
}
