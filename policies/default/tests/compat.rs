//! The lines of the compatibility contract that are this policy's job, quoted by their numbers.
#![expect(clippy::expect_used, reason = "a test")]

use default_policy::Default;
use guest_sdk::fake::Fake;
use guest_sdk::{Completion, Decision, Finding, Policy, Status};

fn decide(fake: &Fake) -> Decision {
    Default::evaluate(&fake.facts()).expect("a decision")
}

fn satisfied(fake: &Fake) -> bool {
    decide(fake) == {
        let findings = decide(fake).findings;
        Decision::absent("ConditionsMet").findings(findings)
    }
}

const ALL: [Status; 3] = [Status::True, Status::False, Status::Unknown];

#[test]
fn compat_012_a_present_condition_counts_with_its_own_status() {
    for required in ALL {
        for shown in ALL {
            for fallback in ALL {
                let fake = Fake::new()
                    .requires_or("A", required, fallback)
                    .condition("A", shown);
                assert_eq!(
                    satisfied(&fake),
                    shown == required,
                    "{required:?} {shown:?} {fallback:?}"
                );
            }
        }
    }
}

#[test]
fn compat_012_an_absent_condition_counts_as_its_default_else_unknown() {
    for required in ALL {
        for fallback in ALL {
            let fake = Fake::new().requires_or("A", required, fallback);
            assert_eq!(
                satisfied(&fake),
                fallback == required,
                "{required:?} {fallback:?}"
            );
        }
        let fake = Fake::new().requires("A", required);
        assert_eq!(satisfied(&fake), required == Status::Unknown);
    }
}

#[test]
fn compat_012_a_status_that_is_none_of_the_three_satisfies_nothing() {
    for required in ALL {
        let fake = Fake::new()
            .requires_or("A", required, required)
            .odd_condition("A");
        assert!(!satisfied(&fake), "{required:?}");
    }
}

#[test]
fn compat_013_all_of_needs_every_one() {
    let rule = Fake::new()
        .requires("A", Status::True)
        .requires("B", Status::False);
    let a = rule.clone().condition("A", Status::True);
    let b = rule.clone().condition("B", Status::False);
    let both = a.clone().condition("B", Status::False);
    assert!(!satisfied(&rule));
    assert!(!satisfied(&a));
    assert!(!satisfied(&b));
    assert!(satisfied(&both));
}

#[test]
fn compat_013_any_of_needs_one() {
    let rule = Fake::new()
        .any_of()
        .requires("A", Status::True)
        .requires("B", Status::False);
    assert!(!satisfied(&rule));
    assert!(satisfied(&rule.clone().condition("A", Status::True)));
    assert!(satisfied(&rule.clone().condition("B", Status::False)));
}

#[test]
fn compat_014_findings_name_what_was_looked_at() {
    let fake = Fake::new()
        .requires("A", Status::True)
        .requires("B", Status::True)
        .requires("C", Status::True)
        .condition("A", Status::True);
    assert_eq!(
        decide(&fake).findings,
        [
            Finding::requirement(0, true),
            Finding::requirement(1, false)
        ]
    );
}

#[test]
fn compat_016_020_continuous_follows_the_conditions_both_ways() {
    let rule = Fake::new().requires("A", Status::True);
    let unmet = decide(&rule.clone().condition("A", Status::False));
    assert_eq!(
        unmet,
        Decision::present("ConditionsNotMet").findings(vec![Finding::requirement(0, false)])
    );
    let met = decide(&rule.clone().tainted().condition("A", Status::True));
    assert_eq!(
        met,
        Decision::absent("ConditionsMet").findings(vec![Finding::requirement(0, true)])
    );
    // What bootstrap-only would remember is nothing to it.
    let completed = rule.completed(Completion::ThisBoot);
    assert_eq!(decide(&completed).reason, "ConditionsNotMet");
    assert_eq!(completed.asked(), ["condition-is(A, True)"]);
}

#[test]
fn compat_017_018_bootstrap_only_is_completed_once() {
    let rule = Fake::new().bootstrap_only().requires("A", Status::True);
    let unmet = vec![Finding::requirement(0, false)];
    let met = vec![Finding::requirement(0, true)];

    assert_eq!(
        decide(&rule),
        Decision::present("ConditionsNotMet").findings(unmet.clone())
    );
    let ready = rule.clone().condition("A", Status::True);
    let complete = Decision::absent("BootstrapCompleted").complete_bootstrap();
    // Whether the taint is there makes no difference to the policy: the host plans the patch.
    for fake in [ready.clone(), ready.clone().tainted()] {
        assert_eq!(decide(&fake), complete.clone().findings(met.clone()));
    }
    for completion in [Completion::ThisBoot, Completion::EarlierBoot] {
        assert_eq!(
            decide(&rule.clone().completed(completion)),
            Decision::keep("BootstrapAlreadyCompleted").findings(unmet.clone())
        );
        assert_eq!(
            decide(&ready.clone().completed(completion)),
            Decision::absent("ConditionsMet").findings(met.clone())
        );
    }
}

#[test]
fn asks_no_more_than_it_has_to() {
    let rule = Fake::new()
        .requires("A", Status::True)
        .requires_or("B", Status::True, Status::True)
        .requires("C", Status::True);

    let all_of = rule.clone().condition("A", Status::True);
    decide(&all_of);
    assert_eq!(
        all_of.asked(),
        [
            "condition-is(A, True)",
            "condition-is(B, True)",
            "has-condition(B)",
            "condition-is(C, True)",
        ]
    );

    let any_of = rule.any_of();
    decide(&any_of);
    assert_eq!(
        any_of.asked(),
        [
            "condition-is(A, True)",
            "condition-is(B, True)",
            "has-condition(B)",
        ]
    );
}

#[test]
fn an_empty_list_never_opens_a_gate() {
    for fake in [
        Fake::new(),
        Fake::new().any_of(),
        Fake::new().bootstrap_only(),
    ] {
        let answer = Default::evaluate(&fake.facts());
        assert_eq!(answer, Err("the rule has no conditions".into()));
    }
}
