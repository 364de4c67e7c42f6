//! What the parameters can be, and what is said where they are something else.

use core::time::Duration;

use daemon_sets_ready_policy::DaemonSetsReady;
use guest_sdk::fake::{DaemonSet, Fake};
use guest_sdk::{Policy, Status, TaintAction};

fn problems(json: &str) -> Vec<(String, String)> {
    let fake = Fake::new().parameters(json);
    let problems = DaemonSetsReady::check(&fake.facts().rule);
    problems.into_iter().map(|p| (p.path, p.message)).collect()
}

#[test]
fn each_problem_has_its_place() {
    for (entries, path, says) in [
        ("[]", "/daemonSets", "a list of 1 to 16"),
        ("{}", "/daemonSets", "a list of 1 to 16"),
        (r#"["a"]"#, "/daemonSets/0", "an object"),
        (
            r#"[{"labels":{"a":"b"}}]"#,
            "/daemonSets/0",
            "namespace is missing",
        ),
        (r#"[{"namespace":1}]"#, "/daemonSets/0/namespace", "a text"),
        (
            r#"[{"namespace":"a","labels":{}}]"#,
            "/daemonSets/0/labels",
            "1 to 16 labels",
        ),
        (
            r#"[{"namespace":"a","labels":{"a":1}}]"#,
            "/daemonSets/0/labels",
            "1 to 16 labels",
        ),
        (
            r#"[{"namespace":"a"},{"namespace":"a","readyFor":"soon"}]"#,
            "/daemonSets/1/readyFor",
            "a duration",
        ),
        (
            r#"[{"namespace":"a","daemonSet":"b"}]"#,
            "/daemonSets/0/daemonSet",
            "no such parameter",
        ),
    ] {
        let found = problems(&format!(r#"{{"daemonSets":{entries}}}"#));
        let [(at, said)] = found.as_slice() else {
            panic!("{entries}: {found:?}");
        };
        assert_eq!(at, path, "{entries}");
        assert!(said.contains(says), "{entries}: {said}");
    }
    let paths = |json: &str| -> Vec<_> { problems(json).into_iter().map(|p| p.0).collect() };
    assert_eq!(paths(""), ["/daemonSets"]);
    assert_eq!(paths("[]"), [""]);
    assert_eq!(paths(r#"{"daemonSets":[{"namespace":"a"}],"x":1}"#), ["/x"]);
    let good = r#"{"daemonSets":[{"namespace":"a"},{"namespace":"a","labels":{"c":"d"},"readyFor":"30s"}]}"#;
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
        r#"{"daemonSets":[{"namespace":"kube-system","labels":{"tier":"node"},"readyFor":"30s"},
                          {"namespace":"security"}]}"#,
    );
    let decide = |fake: &Fake| DaemonSetsReady::evaluate(&fake.facts()).expect("a decision");
    // Nothing about DaemonSets while a condition is missing.
    assert_eq!(decide(&rule).reason, "ConditionsNotMet");
    assert_eq!(rule.asked(), ["condition-is(Ready, True)"]);

    let ready = rule.condition("Ready", Status::True);
    let none = decide(&ready);
    assert_eq!(
        (none.taint, none.reason.as_str()),
        (TaintAction::Present, "DaemonSetsNotReady")
    );
    assert_eq!(
        none.message,
        "DaemonSets of namespace kube-system with tier=node: none should run on the node"
    );
    assert_eq!(
        ready.asked(),
        [
            "condition-is(Ready, True)",
            "all-daemon-set-pods-ready(kube-system tier=node, 30s)",
            "has-daemon-set(kube-system tier=node)"
        ]
    );
    let cni = DaemonSet::new()
        .namespace("kube-system")
        .label("tier", "node");
    let old = cni.clone().ready_for(Duration::from_secs(30));
    let young = ready
        .clone()
        .daemon_set(old.clone())
        .daemon_set(cni.ready_for(Duration::from_secs(29)));
    assert!(
        decide(&young)
            .message
            .ends_with("with tier=node: not each that should run on the node has a pod there that has been Ready for 30s")
    );
    let agent = DaemonSet::new().namespace("security");
    let first = ready.daemon_set(old);
    assert!(
        decide(&first.clone().daemon_set(agent.clone()))
            .message
            .ends_with(
                "security: not each that should run on the node has a pod there that is Ready"
            )
    );
    let both = first.clone().daemon_set(agent.ready_for(Duration::ZERO));
    assert_eq!(decide(&both).reason, "DaemonSetsReady");
    assert_eq!(
        both.asked()[1..],
        [
            "all-daemon-set-pods-ready(kube-system tier=node, 30s)",
            "all-daemon-set-pods-ready(security, 0ns)"
        ]
    );
}
