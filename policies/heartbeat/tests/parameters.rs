//! What the parameters can be, and what is asked.

use core::time::Duration;

use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Policy, Status, TaintAction};
use heartbeat_policy::Heartbeat;

#[test]
fn each_problem_has_its_place() {
    for (json, path, says) in [
        ("[]", "", "not a JSON object"),
        (r#"{"maxLeaseAge":"soon"}"#, "/maxLeaseAge", "a duration"),
        (r#"{"maxLeaseAge":40}"#, "/maxLeaseAge", "a duration"),
        (r#"{"maxLeaseAge":"0s"}"#, "/maxLeaseAge", "longer than 0"),
        (
            r#"{"maxHeartbeatAge":"0h0m"}"#,
            "/maxHeartbeatAge",
            "longer than 0",
        ),
        (r#"{"a/b":1}"#, "/a~1b", "maxLeaseAge, maxHeartbeatAge"),
    ] {
        let fake = Fake::new().parameters(json);
        let problems = Heartbeat::check(&fake.facts().rule);
        assert_eq!(problems.len(), 1, "{json}: {problems:?}");
        assert_eq!(problems[0].path, path, "{json}");
        assert!(problems[0].message.contains(says), "{json}: {problems:?}");
        assert!(Heartbeat::evaluate(&fake.facts()).is_err(), "{json}");
    }
    for json in ["", "{}", r#"{"maxLeaseAge":"1h","maxHeartbeatAge":"10m"}"#] {
        let fake = Fake::new().parameters(json);
        assert_eq!(Heartbeat::check(&fake.facts().rule), [], "{json}");
    }
}

#[test]
fn without_parameters_a_lease_may_be_forty_seconds_old() {
    let node = Fake::new()
        .requires("Ready", Status::True)
        .condition("Ready", Status::True);
    let lasting = |seconds| Some(Duration::from_secs(seconds));
    for (lease, taint, message) in [
        (lasting(40), TaintAction::Absent, ""),
        (lasting(41), TaintAction::Present, "not renewed in time"),
        (None, TaintAction::Present, "not renewed in time"),
    ] {
        let node = node.clone().lease(lease);
        let decision = Heartbeat::evaluate(&node.facts()).unwrap();
        assert_eq!(decision.taint, taint, "{lease:?}");
        let said = decision.message;
        assert!(said.contains(message), "{lease:?}: {said}");
    }
    let decision = Heartbeat::evaluate(&node.facts()).unwrap();
    assert_eq!(decision.message, "the node has no lease");
}

/// Nothing is asked that could bring a node back which is done.
#[test]
fn a_completed_bootstrap_asks_for_no_lease() {
    let node = Fake::new()
        .requires("Ready", Status::True)
        .condition("Ready", Status::True)
        .parameters(r#"{"maxHeartbeatAge":"10m"}"#)
        .bootstrap_only()
        .completed(Completion::ThisBoot)
        .lease(Some(Duration::ZERO));
    let decision = Heartbeat::evaluate(&node.facts()).unwrap();
    assert_eq!(decision.reason, "BootstrapAlreadyCompleted");
    assert_eq!(node.asked(), ["completed"]);
}
