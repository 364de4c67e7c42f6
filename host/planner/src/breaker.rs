//! A policy that keeps failing is left alone for a while, and then tried once.
//!
//! Each failure may cost a whole deadline, and a rule can have thousands of nodes. Whoever asks policies
//! keeps one [`Breaker`] for each of them, asks it first, and tells it what came of the call:
//!
//! ```
//! use std::time::Duration;
//! use planner::breaker::Breaker;
//! # use planner::verdict::Failure;
//! # let call = || Err(Failure { kind: "Trapped", message: "it gave up".into() });
//!
//! let mut breaker = Breaker::default();
//! let mut now = Duration::ZERO;
//! for _ in 0..5 {
//!     let permit = breaker.ask(now).unwrap();
//!     let result: Result<(), Failure> = call();
//!     breaker.tell(permit, result.as_ref().err(), now);
//! }
//! let refusal = breaker.ask(now).unwrap_err();
//! assert_eq!(refusal.last.kind, "Trapped");
//! assert_eq!(refusal.until, Duration::from_secs(1));
//! ```
//!
//! Times count from any fixed moment, by a clock that never goes back.

use std::time::Duration;

use crate::verdict::Failure;

/// [`Failure::kind`] of what stands in the place of a verdict where the policy may not be asked.
pub const PAUSED: &str = "PolicyPaused";

/// Failures in a row after which a policy is paused.
pub const FAILURES: u32 = 5;

/// The first pause. Each further one takes twice as long.
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What is remembered of one policy.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Of permits that still count: what was asked before a change says nothing about what is after it.
    generation: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Works, as far as is known.
    Closed { failures: u32 },
    /// Not to be asked before `until`; then once. While that call is out, `until` is when it counts as
    /// lost.
    Open {
        until: Duration,
        pause: Duration,
        last: Failure,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// May be asked. To be given back with what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the breaker learns from what comes of the call"]
pub struct Permit(u64);

/// May not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What became of the last call.
    pub last: Failure,
    /// When to come again.
    pub until: Duration,
}

impl Breaker {
    /// May the policy be asked now?
    ///
    /// # Errors
    ///
    /// While it is paused, and while another call finds out whether it works again.
    pub fn ask(&mut self, now: Duration) -> Result<Permit, Refusal> {
        if let State::Open { until, pause, last } = &mut self.state {
            if now < *until {
                return Err(Refusal {
                    last: last.clone(),
                    until: *until,
                });
            }
            // Only this one call. If nobody tells what came of it, another is made after the same time.
            *until = now.saturating_add(*pause);
            self.generation += 1;
        }
        Ok(Permit(self.generation))
    }

    /// What came of a call: nothing, or a failure. That a policy says itself that it cannot decide is an
    /// answer; that the host fails says nothing about it.
    pub fn tell(&mut self, permit: Permit, failure: Option<&Failure>, now: Duration) {
        if permit.0 != self.generation {
            return;
        }
        let failure = match failure {
            Some(failure) if failure.kind == "HostError" => return,
            Some(failure) if failure.kind == "PolicyError" => None,
            failure => failure,
        };
        let Some(failure) = failure else {
            if self.state != State::default() {
                self.change(State::default());
            }
            return;
        };
        let pause = match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES {
                    return;
                }
                FIRST
            }
            State::Open { pause, .. } => pause.saturating_mul(2).min(LONGEST),
        };
        self.change(State::Open {
            until: now.saturating_add(pause),
            pause,
            last: failure.clone(),
        });
    }

    /// A call that was made before was found again, and need not be made: it ends a row of failures as one
    /// that was made does. A policy that is paused has to show by a call that it works.
    pub fn recalled(&mut self) {
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
        }
    }

    /// Until when it is paused, and since which failure; also while it is tried for the first time after a
    /// pause.
    pub fn paused(&self) -> Option<Refusal> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open { until, last, .. } => Some(Refusal {
                last: last.clone(),
                until: *until,
            }),
        }
    }

    /// Is it paused, or tried for the first time after a pause?
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    fn change(&mut self, state: State) {
        // A failure in a row of others makes no difference to calls that are out.
        if self.is_open() || matches!(state, State::Open { .. }) {
            self.generation += 1;
        }
        self.state = state;
    }
}
