//! A policy that keeps failing: when it is asked, and when not.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use planner::breaker::{Breaker, FAILURES, FIRST, LONGEST, Permit};
use planner::verdict::Failure;
use proptest::prelude::*;

fn failure(kind: &'static str) -> Failure {
    Failure {
        kind,
        message: "it gave up".into(),
    }
}

/// Asks, and fails, as often as it takes.
fn open(now: Duration) -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..FAILURES {
        assert!(!breaker.is_open());
        let permit = breaker.ask(now).unwrap();
        breaker.tell(permit, Some(&failure("Trapped")), now);
    }
    breaker
}

#[test]
fn pauses_grow_twofold_up_to_the_longest() {
    let mut now = Duration::from_secs(7);
    let mut breaker = open(now);
    let mut expected = FIRST;
    for _ in 0..12 {
        let refusal = breaker.ask(now).unwrap_err();
        assert_eq!(refusal.until, now + expected);
        now = refusal.until;
        assert!(breaker.ask(now - Duration::from_nanos(1)).is_err());
        let permit = breaker.ask(now).unwrap();
        breaker.tell(permit, Some(&failure("DeadlineExceeded")), now);
        expected = (expected * 2).min(LONGEST);
    }
    assert_eq!(expected, LONGEST);
}

#[test]
fn a_refusal_says_why_and_for_how_long() {
    let mut breaker = open(Duration::ZERO);
    let refusal = breaker.ask(Duration::from_millis(1)).unwrap_err();
    assert_eq!((refusal.last.kind, refusal.until), ("Trapped", FIRST));
    assert_eq!(breaker.paused(), Some(refusal));
    assert_eq!(Breaker::default().paused(), None);
}

#[test]
fn a_call_that_was_found_again_ends_a_row_and_no_pause() {
    let now = Duration::ZERO;
    let mut breaker = Breaker::default();
    for round in 0..3 * FAILURES {
        let permit = breaker.ask(now).unwrap();
        breaker.tell(permit, Some(&failure("Trapped")), now);
        assert!(!breaker.is_open(), "{round}");
        breaker.recalled();
    }
    let mut breaker = open(now);
    breaker.recalled();
    assert!(breaker.is_open() && breaker.ask(now).is_err());
}

#[test]
fn one_call_finds_out_whether_it_works_again() {
    let mut breaker = open(Duration::ZERO);
    let permit = breaker.ask(FIRST).unwrap();
    // Others wait for what comes of it.
    assert!(breaker.ask(FIRST).is_err());
    breaker.tell(permit, None, FIRST);
    assert_eq!(breaker.ask(FIRST).is_ok(), breaker.ask(FIRST).is_ok());
    assert!(!breaker.is_open());
    // As new: one failure is none.
    let permit = breaker.ask(FIRST).unwrap();
    breaker.tell(permit, Some(&failure("Trapped")), FIRST);
    assert!(!breaker.is_open());
}

#[test]
fn a_call_that_is_lost_does_not_pause_the_policy_for_ever() {
    let mut breaker = open(Duration::ZERO);
    let lost = breaker.ask(FIRST).unwrap();
    let again = breaker.ask(FIRST * 2).unwrap();
    // It comes after all, and says nothing any more.
    breaker.tell(lost, None, FIRST * 2);
    assert!(breaker.is_open());
    breaker.tell(again, None, FIRST * 2);
    assert!(!breaker.is_open());
}

#[test]
fn calls_that_were_out_when_it_was_paused_change_nothing() {
    let now = Duration::ZERO;
    let mut breaker = Breaker::default();
    let permits: Vec<_> = (0..FAILURES + 3)
        .map(|_| breaker.ask(now).unwrap())
        .collect();
    let (failing, late) = permits.split_at(FAILURES as usize);
    for permit in failing {
        breaker.tell(*permit, Some(&failure("Trapped")), now);
    }
    let paused = breaker.clone();
    assert!(paused.is_open());
    breaker.tell(late[0], None, now);
    breaker.tell(late[1], Some(&failure("Trapped")), now);
    assert_eq!(breaker, paused);
}

#[test]
fn an_error_of_its_own_is_an_answer_and_one_of_the_host_is_nothing() {
    let now = Duration::ZERO;
    let mut breaker = Breaker::default();
    let mut tell = |kind: Option<&'static str>| {
        let permit = breaker.ask(now).unwrap();
        breaker.tell(permit, kind.map(failure).as_ref(), now);
        breaker.is_open()
    };
    for _ in 0..FAILURES * 2 {
        assert!(!tell(Some("PolicyError")));
        assert!(!tell(Some("HostError")));
    }
    // The host's failures do not interrupt a row of the policy's; an error of its own does.
    for _ in 1..FAILURES {
        assert!(!tell(Some("Trapped")));
        assert!(!tell(Some("HostError")));
    }
    assert!(!tell(Some("PolicyError")));
    for _ in 1..FAILURES {
        assert!(!tell(Some("Trapped")));
    }
    assert!(tell(Some("Trapped")));
}

#[derive(Debug, Clone)]
enum Step {
    Ask,
    /// What came of one of the calls that are out.
    Tell(usize, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Ask),
        (0..8_usize, any::<bool>()).prop_map(|(index, fails)| Step::Tell(index, fails)),
        (0..2_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: while it is paused at most one call is made in each `FIRST`, and who comes when
    /// told to is served, or told a later time.
    #[test]
    fn a_failing_policy_is_asked_seldom(steps in prop::collection::vec(step(), 0..300)) {
        let mut breaker = Breaker::default();
        let mut now = Duration::ZERO;
        let mut out: Vec<Permit> = Vec::new();
        let mut tried: Option<Duration> = None;
        for step in steps {
            match step {
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Tell(index, fails) if !out.is_empty() => {
                    let permit = out.remove(index % out.len());
                    let failure = fails.then(|| failure("Trapped"));
                    breaker.tell(permit, failure.as_ref(), now);
                    if !breaker.is_open() {
                        tried = None;
                    }
                }
                Step::Tell(..) => {}
                Step::Ask => {
                    let was_open = breaker.is_open();
                    match breaker.ask(now) {
                        Ok(permit) => {
                            out.push(permit);
                            if was_open {
                                prop_assert!(tried.is_none_or(|at| at + FIRST <= now));
                                tried = Some(now);
                            }
                        }
                        Err(refusal) => {
                            prop_assert!(was_open);
                            prop_assert!(refusal.until > now && refusal.until <= now + LONGEST);
                            let mut later = breaker.clone();
                            prop_assert!(later.ask(refusal.until).is_ok());
                        }
                    }
                }
            }
        }
    }
}
