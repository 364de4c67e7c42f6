//! What the parameters can be, and what is said where they are something else.

use core::time::Duration;

use guest_sdk::fake::{Fake, Pod};
use guest_sdk::{Policy, Status, TaintAction};
use pods_ready_policy::PodsReady;

fn problems(json: &str) -> Vec<(String, String)> {
    let fake = Fake::new().parameters(json);
    let problems = PodsReady::check(&fake.facts().rule);
    problems.into_iter().map(|p| (p.path, p.message)).collect()
}

#[test]
fn each_problem_has_its_place() {
    for (json, path, says) in [
        ("", "/pods", "a list of 1 to 16"),
        ("[]", "", "not a JSON object"),
        ("{", "", "not a JSON object"),
        (r#"{"pods":[]}"#, "/pods", "a list of 1 to 16"),
        (r#"{"pods":{}}"#, "/pods", "a list of 1 to 16"),
        (r#"{"pods":["a"]}"#, "/pods/0", "an object"),
        (
            r#"{"pods":[{"daemonSet":"a"}]}"#,
            "/pods/0",
            "namespace is missing",
        ),
        (
            r#"{"pods":[{"namespace":"a"}]}"#,
            "/pods/0",
            "give daemonSet, labels or both",
        ),
        (
            r#"{"pods":[{"namespace":1,"daemonSet":"a"}]}"#,
            "/pods/0/namespace",
            "a text",
        ),
        (
            r#"{"pods":[{"namespace":"a","daemonSet":""}]}"#,
            "/pods/0/daemonSet",
            "a text",
        ),
        (
            r#"{"pods":[{"namespace":"a","labels":{}}]}"#,
            "/pods/0/labels",
            "1 to 16 labels",
        ),
        (
            r#"{"pods":[{"namespace":"a","labels":{"a":1}}]}"#,
            "/pods/0/labels",
            "1 to 16 labels",
        ),
        (
            r#"{"pods":[{"namespace":"a","daemonSet":"a"},{"namespace":"a","daemonSet":"a","readyFor":"soon"}]}"#,
            "/pods/1/readyFor",
            "a duration",
        ),
        (
            r#"{"pods":[{"namespace":"a","daemonSet":"a","a/b":1}]}"#,
            "/pods/0/a~1b",
            "no such parameter",
        ),
        (
            r#"{"pods":[{"namespace":"a","daemonSet":"a"}],"x":1}"#,
            "/x",
            "no such parameter",
        ),
    ] {
        let found = problems(json);
        let [(at, said)] = found.as_slice() else {
            panic!("{json}: {found:?}");
        };
        assert_eq!(at, path, "{json}");
        assert!(said.contains(says), "{json}: {said}");
    }
    let good =
        r#"{"pods":[{"namespace":"a","daemonSet":"b","labels":{"c":"d"},"readyFor":"30s"}]}"#;
    assert_eq!(problems(good), []);
}

/// A host takes at most 64 problems, of at most 1024 bytes, with paths of at most 256.
#[test]
fn what_is_told_stays_within_the_contract() {
    let long = "x".repeat(5000);
    let many: Vec<_> = (0..100)
        .map(|index| format!(r#""{index}{long}":1"#))
        .collect();
    let found = problems(&format!("{{{}}}", many.join(",")));
    assert_eq!(found.len(), 16);
    assert!(
        found
            .iter()
            .all(|(path, said)| path.len() <= 256 && said.len() <= 1024)
    );
}

#[test]
fn it_asks_no_more_than_it_needs_and_says_what_is_missing() {
    let rule = Fake::new().requires("Ready", Status::True).parameters(
        r#"{"pods":[{"namespace":"kube-system","daemonSet":"cni","labels":{"app":"cni"},"readyFor":"30s"},
                    {"namespace":"kube-system","daemonSet":"csi"}]}"#,
    );
    let decide = |fake: &Fake| PodsReady::evaluate(&fake.facts()).expect("a decision");
    // Nothing about pods while a condition is missing.
    assert_eq!(decide(&rule).reason, "ConditionsNotMet");
    assert_eq!(
        rule.asked(),
        ["condition-is(Ready, True)", "has-condition(Ready)"][..1]
    );

    let ready = rule.condition("Ready", Status::True);
    let none = decide(&ready);
    assert_eq!(
        (none.taint, none.reason.as_str()),
        (TaintAction::Present, "PodsNotReady")
    );
    assert_eq!(
        none.message,
        "DaemonSet kube-system/cni with app=cni: there is no pod on the node"
    );
    assert_eq!(
        ready.asked(),
        [
            "condition-is(Ready, True)",
            "all-pods-ready(kube-system DaemonSet/cni app=cni, 30s)",
            "has-pod(kube-system DaemonSet/cni app=cni)"
        ]
    );
    let cni = Pod::new()
        .namespace("kube-system")
        .daemon_set("cni")
        .label("app", "cni");
    let young = ready
        .clone()
        .pod(cni.clone().ready_for(Duration::from_secs(29)));
    assert!(
        decide(&young)
            .message
            .ends_with("not every pod on the node has been Ready for 30s")
    );
    let csi = Pod::new().namespace("kube-system").daemon_set("csi");
    let first = ready
        .pod(cni.ready_for(Duration::from_secs(30)))
        .pod(csi.clone());
    assert!(
        decide(&first)
            .message
            .ends_with("csi: not every pod on the node is Ready")
    );
    let both = first.clone().pod(csi.ready_for(Duration::ZERO));
    assert_eq!(
        decide(&both).taint,
        TaintAction::Present,
        "one of the two is not Ready"
    );
}
