//! What the parameters can be, and what is said where they are something else.

use devices_ready_policy::DevicesReady;
use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Policy, TaintAction};

#[test]
fn each_problem_has_its_place() {
    for (json, path, says) in [
        ("", "", "resources, drivers or both"),
        ("[]", "", "not a JSON object"),
        (r#"{"resources":{}}"#, "/resources", "1 to 16"),
        (r#"{"resources":["a/b"]}"#, "/resources", "1 to 16"),
        (r#"{"resources":{"cpu":1}}"#, "/resources", "extended"),
        (
            r#"{"resources":{"x.kubernetes.io/y":1}}"#,
            "/resources",
            "extended",
        ),
        (
            r#"{"resources":{"a/b":0}}"#,
            "/resources/a~1b",
            "whole number",
        ),
        (
            r#"{"resources":{"a/b":"8"}}"#,
            "/resources/a~1b",
            "whole number",
        ),
        (
            r#"{"resources":{"a/b":1.5}}"#,
            "/resources/a~1b",
            "whole number",
        ),
        (r#"{"drivers":[]}"#, "/drivers", "1 to 16"),
        (r#"{"drivers":{}}"#, "/drivers", "1 to 16"),
        (r#"{"drivers":["a"]}"#, "/drivers/0", "an object"),
        (r#"{"drivers":[{"name":""}]}"#, "/drivers/0/name", "1 to 63"),
        (
            r#"{"drivers":[{"name":"a"},{"name":"b","devices":0}]}"#,
            "/drivers/1/devices",
            "whole number",
        ),
        (
            r#"{"drivers":[{"name":"a","devices":4294967296}]}"#,
            "/drivers/0/devices",
            "4294967295",
        ),
        (
            r#"{"drivers":[{"name":"a","count":1}]}"#,
            "/drivers/0/count",
            "name, devices",
        ),
    ] {
        let fake = Fake::new().parameters(json);
        let problems = DevicesReady::check(&fake.facts().rule);
        assert_eq!(problems.len(), 1, "{json}: {problems:?}");
        assert_eq!(problems[0].path, path, "{json}");
        assert!(problems[0].message.contains(says), "{json}: {problems:?}");
        assert!(DevicesReady::evaluate(&fake.facts()).is_err(), "{json}");
    }
}

fn decided(fake: &Fake) -> Result<(TaintAction, String), String> {
    let decision = DevicesReady::evaluate(&fake.facts())?;
    Ok((decision.taint, decision.message))
}

fn held(message: &str) -> Result<(TaintAction, String), String> {
    Ok((TaintAction::Present, message.to_owned()))
}

#[test]
fn of_each_resource_there_is_at_least_so_much() {
    let fake = Fake::new().parameters(r#"{"resources":{"a/gpu":8,"a/nic":1}}"#);
    assert_eq!(
        decided(&fake),
        held("resource a/gpu: the node does not have it")
    );
    let dead = fake.clone().allocatable("a/gpu", 0);
    assert_eq!(
        decided(&dead),
        held("resource a/gpu: the node has 0 of it, as where its device plugin is gone")
    );
    let some = fake.clone().allocatable("a/gpu", 7);
    assert_eq!(
        decided(&some),
        held("resource a/gpu: the node has fewer than 8")
    );
    let fake = fake.allocatable("a/gpu", 8);
    assert_eq!(
        decided(&fake),
        held("resource a/nic: the node does not have it")
    );
    let more = fake.allocatable("a/nic", 2);
    assert_eq!(decided(&more).unwrap().0, TaintAction::Absent);
}

#[test]
fn a_driver_has_its_pools_complete_or_so_many_devices_in_those_that_are() {
    let fake = Fake::new().parameters(r#"{"drivers":[{"name":"gpu","devices":8},{"name":"nic"}]}"#);
    assert_eq!(
        decided(&fake),
        held("devices of gpu: complete pools on the node have fewer than 8")
    );
    // Another pool of the driver may still be on its way.
    let fake = fake.devices("gpu", 8, false);
    let none = held("devices of nic: the node has no pool of it, or one that is not complete");
    assert_eq!(decided(&fake), none);
    assert_eq!(decided(&fake.clone().devices("nic", 1, false)), none);
    assert_eq!(
        decided(&fake.devices("nic", 0, true)).unwrap().0,
        TaintAction::Absent
    );
}

/// Nothing is asked that could bring a node back which is done.
#[test]
fn a_completed_bootstrap_asks_for_no_devices() {
    let node = Fake::new()
        .parameters(r#"{"drivers":[{"name":"a"}],"resources":{"a/b":1}}"#)
        .bootstrap_only()
        .completed(Completion::ThisBoot);
    let decision = DevicesReady::evaluate(&node.facts()).unwrap();
    assert_eq!(decision.reason, "BootstrapAlreadyCompleted");
    assert_eq!(node.asked(), ["completed"]);
}
