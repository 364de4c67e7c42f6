//! What the parameters change, and what they leave as it is.
#![expect(clippy::expect_used, reason = "a test")]

use core::time::Duration;

use default_policy::Default;
use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Decision, Policy, Status, TaintAction};

const ALL: [Status; 3] = [Status::True, Status::False, Status::Unknown];
const AGE: &str = r#"{"maxHeartbeatAge":"5m"}"#;
const TIME: &str = r#"{"minReadyTime":"30s"}"#;
const BOTH: &str = r#"{"maxHeartbeatAge":"5m","minReadyTime":"30s"}"#;

const REARM: &str = r#"{"rearmOnReboot":true}"#;

fn decide(fake: &Fake) -> Decision {
    Default::evaluate(&fake.facts()).expect("a decision")
}

fn satisfied(fake: &Fake) -> bool {
    Default::evaluate(&fake.facts()).expect("a decision").taint == TaintAction::Absent
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nrc_357_a_condition_with_an_old_heartbeat_counts_as_unknown() {
    for required in ALL {
        for shown in ALL {
            let rule = Fake::new().requires("A", required).parameters(AGE);
            let fake = rule.condition("A", shown);
            let fresh = fake.clone().heartbeat("A", secs(300));
            assert_eq!(
                satisfied(&fresh),
                shown == required,
                "{required:?} {shown:?}"
            );
            let old = fake.clone().heartbeat("A", secs(301));
            // None at all is no proof of life either.
            for dead in [old, fake] {
                let unknown = required == Status::Unknown;
                assert_eq!(satisfied(&dead), unknown, "{required:?} {shown:?}");
            }
        }
    }
}

#[test]
fn a_default_is_for_what_is_absent_and_not_for_what_is_old() {
    for required in ALL {
        for fallback in ALL {
            let rule = Fake::new().requires_or("A", required, fallback);
            for parameters in [AGE, TIME, BOTH] {
                let absent = rule.clone().parameters(parameters);
                assert_eq!(
                    satisfied(&absent),
                    fallback == required,
                    "{required:?} {fallback:?}"
                );
            }
            let old = rule.parameters(AGE).condition("A", Status::True);
            let old = old.heartbeat("A", secs(301));
            assert_eq!(
                satisfied(&old),
                required == Status::Unknown,
                "{required:?} {fallback:?}"
            );
        }
    }
}

#[test]
fn a_condition_is_met_once_it_lasted() {
    for required in ALL {
        let rule = Fake::new().requires("A", required).parameters(TIME);
        assert!(
            !satisfied(&rule.clone().condition_for("A", required, secs(29))),
            "{required:?}"
        );
        assert!(
            satisfied(&rule.clone().condition_for("A", required, secs(30))),
            "{required:?}"
        );
        let other = ALL
            .into_iter()
            .find(|status| *status != required)
            .expect("another");
        assert!(
            !satisfied(&rule.condition_for("A", other, secs(99))),
            "{required:?}"
        );
    }
}

#[test]
fn being_old_has_to_last_as_well() {
    let rule = Fake::new().requires("A", Status::Unknown).parameters(BOTH);
    let shown = rule.condition_for("A", Status::True, secs(9999));
    assert!(!satisfied(&shown.clone().heartbeat("A", secs(301))));
    assert!(!satisfied(&shown.clone().heartbeat("A", secs(330))));
    assert!(satisfied(&shown.clone().heartbeat("A", secs(331))));
    assert!(satisfied(&shown));
}

#[test]
fn any_of_takes_what_is_fresh() {
    let rule = Fake::new().any_of().parameters(AGE);
    let rule = rule.requires("A", Status::True).requires("B", Status::True);
    let both = rule
        .condition("A", Status::True)
        .condition("B", Status::True);
    assert!(!satisfied(&both));
    assert!(satisfied(&both.clone().heartbeat("B", secs(0))));
    assert!(satisfied(&both.heartbeat("A", secs(0))));
}

#[test]
fn bootstrap_only_completes_by_the_same_measure() {
    let rule = Fake::new()
        .bootstrap_only()
        .requires("A", Status::True)
        .parameters(BOTH);
    let early = rule
        .clone()
        .condition("A", Status::True)
        .heartbeat("A", secs(0));
    assert!(!satisfied(&early));
    let ready = rule
        .condition_for("A", Status::True, secs(30))
        .heartbeat("A", secs(0));
    let decision = Default::evaluate(&ready.facts()).expect("a decision");
    assert!(decision.complete_bootstrap);
}

#[test]
fn asks_for_time_only_where_time_decides() {
    let rule = Fake::new().parameters(BOTH).requires("A", Status::True);
    let rule = rule.requires("B", Status::True);
    let fake = rule
        .condition_for("A", Status::True, secs(30))
        .heartbeat("A", secs(1));
    assert!(!satisfied(&fake));
    assert_eq!(
        fake.asked(),
        [
            "condition-is(A, True, 30s)",
            "heartbeat-within(A, 300s)",
            "condition-is(B, True, 30s)",
        ]
    );
}

#[test]
fn parameters_that_were_not_checked_stop_the_decision() {
    let rule = Fake::new()
        .requires("A", Status::True)
        .parameters(r#"{"minReadyTime":"soon"}"#);
    let error = Default::evaluate(&rule.facts()).expect_err("refused");
    assert!(
        error.starts_with("parameters/minReadyTime: not a duration"),
        "{error}"
    );
    let problems = Default::check(&rule.facts().rule);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "/minReadyTime");
    assert_eq!(Default::check(&rule.parameters("{}").facts().rule), []);
}

#[test]
fn compat_j_reboot_after_a_reboot_only_what_was_reported_since_counts() {
    for required in ALL {
        let rule = Fake::new().bootstrap_only().requires("A", required);
        let rule = rule.parameters(REARM).completed(Completion::EarlierBoot);
        let shown = rule.condition("A", required);
        let yesterday = shown.clone().heartbeat_before_reboot("A", secs(9));
        for held in [yesterday, shown.clone()] {
            let decision = decide(&held);
            assert_eq!(
                (decision.taint, decision.per_boot),
                (TaintAction::Present, true)
            );
        }
        let decision = decide(&shown.heartbeat("A", secs(1)));
        assert_eq!(decision.reason, "BootstrapCompleted");
        assert!(decision.complete_bootstrap && decision.per_boot);
    }
}

#[test]
fn compat_j_reboot_what_was_completed_in_this_boot_stays_so() {
    let rule = Fake::new().bootstrap_only().requires("A", Status::True);
    let rule = rule.parameters(REARM).completed(Completion::ThisBoot);
    let regressed = decide(&rule);
    assert_eq!(regressed.reason, "BootstrapAlreadyCompleted");
    let ready = rule.condition("A", Status::True);
    assert_eq!(decide(&ready).reason, "ConditionsMet");
    assert_eq!(ready.asked(), ["completed", "condition-is(A, True)"]);
    // The host stamps a completion that has no boot yet.
    assert!(regressed.per_boot && decide(&ready).per_boot);
}

#[test]
fn compat_j_reboot_the_first_bootstrap_wants_a_heartbeat_too() {
    let rule = Fake::new().bootstrap_only().requires("A", Status::True);
    let rule = rule.parameters(REARM).condition("A", Status::True);
    assert!(
        !satisfied(&rule),
        "what has none would never open after a reboot"
    );
    let ready = rule.heartbeat("A", secs(999));
    assert!(decide(&ready).complete_bootstrap);
    assert_eq!(
        ready.asked(),
        [
            "completed",
            "condition-is(A, True)",
            "reported-this-boot(A)"
        ]
    );
}

#[test]
fn a_continuous_rule_has_nothing_to_arm_again() {
    let rule = Fake::new().requires("A", Status::True).parameters(REARM);
    let problems = Default::check(&rule.facts().rule);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "/rearmOnReboot");
    assert!(!decide(&rule).per_boot);
    let off = rule.parameters(r#"{"rearmOnReboot":false}"#);
    assert_eq!(Default::check(&off.facts().rule), []);
    assert_eq!(
        Default::check(&off.bootstrap_only().parameters(REARM).facts().rule),
        []
    );
}
