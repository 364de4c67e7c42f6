//! What the parameters can be, and what is said where they are something else.

use csi_ready_policy::CsiReady;
use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Policy, Status, TaintAction};

#[test]
fn each_problem_has_its_place() {
    let list = "a list of 1 to 16";
    for (json, path, says) in [
        ("", "/drivers", list),
        ("[]", "", "not a JSON object"),
        (r#"{"drivers":[]}"#, "/drivers", list),
        (r#"{"drivers":{}}"#, "/drivers", list),
        (r#"{"drivers":["a"]}"#, "/drivers/0", "an object"),
        (r#"{"drivers":[{}]}"#, "/drivers/0/name", "1 to 63"),
        (r#"{"drivers":[{"name":1}]}"#, "/drivers/0/name", "1 to 63"),
        (
            r#"{"drivers":[{"name":"a"},{"name":"b","topologyKeys":[]}]}"#,
            "/drivers/1/topologyKeys",
            list,
        ),
        (
            r#"{"drivers":[{"name":"a","topologyKeys":["k",""]}]}"#,
            "/drivers/0/topologyKeys",
            list,
        ),
        (
            r#"{"drivers":[{"name":"a","a/b":1}]}"#,
            "/drivers/0/a~1b",
            "name, topologyKeys",
        ),
    ] {
        let fake = Fake::new().parameters(json);
        let problems = CsiReady::check(&fake.facts().rule);
        assert_eq!(problems.len(), 1, "{json}: {problems:?}");
        assert_eq!(problems[0].path, path, "{json}");
        assert!(problems[0].message.contains(says), "{json}: {problems:?}");
        assert!(CsiReady::evaluate(&fake.facts()).is_err(), "{json}");
    }
}

#[test]
fn a_driver_is_there_with_each_of_its_keys() {
    let fake = Fake::new()
        .parameters(r#"{"drivers":[{"name":"a"},{"name":"b","topologyKeys":["zone","rack"]}]}"#);
    let decided = |fake: &Fake| {
        let decision = CsiReady::evaluate(&fake.facts()).unwrap();
        (decision.taint, decision.message)
    };
    let held = |message: &str| (TaintAction::Present, message.to_owned());
    assert_eq!(
        decided(&fake),
        held("CSI driver a: it is not registered on the node")
    );
    let fake = fake.driver("a", &[]);
    assert_eq!(
        decided(&fake),
        held("CSI driver b: it is not registered on the node")
    );
    let lacks = fake.clone().driver("b", &["zone"]);
    assert_eq!(
        decided(&lacks),
        held("CSI driver b: it is registered without the topology key rack")
    );
    let all = fake.driver("b", &["rack", "zone", "more"]);
    assert_eq!(decided(&all).0, TaintAction::Absent);
}

/// Nothing is asked that could bring a node back which is done.
#[test]
fn a_completed_bootstrap_asks_for_no_driver() {
    let node = Fake::new()
        .requires("Ready", Status::True)
        .condition("Ready", Status::True)
        .parameters(r#"{"drivers":[{"name":"a"}]}"#)
        .bootstrap_only()
        .completed(Completion::ThisBoot);
    let decision = CsiReady::evaluate(&node.facts()).unwrap();
    assert_eq!(decision.reason, "BootstrapAlreadyCompleted");
    assert_eq!(node.asked(), ["completed"]);
}
