//! A policy that fails again and again is left alone for a while: a run that ends at its deadline takes as
//! long as ten thousand others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use planner::Timestamp;
use planner::verdict::Failure;

/// So many failures in a row, and it is left alone.
const FAILURES: u32 = 5;
/// For so long; twice as long each further time, …
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// … and at most so long.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(5 * 60);

/// What became of the last runs of a policy.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pauses: u32,
    open: Option<Open>,
    /// Did it open or close since somebody asked?
    news: bool,
}

/// It is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Then it is asked once more.
    pub(crate) until: Timestamp,
    /// In a row.
    pub(crate) failures: u32,
    /// The last one.
    pub(crate) last: Failure,
}

impl Breaker {
    /// None: it may be asked.
    pub(super) fn refuses(&self, now: Timestamp) -> Option<Open> {
        self.open().filter(|open| now < open.until)
    }

    /// Also where the pause is over, and nobody knows yet whether it works again.
    pub(crate) fn open(&self) -> Option<Open> {
        self.lock().open.clone()
    }

    /// It decided.
    pub(super) fn works(&self) {
        let mut state = self.lock();
        if state.failures > 0 {
            let news = state.news || state.open.is_some();
            *state = State {
                news,
                ..State::default()
            };
        }
    }

    /// It failed.
    pub(super) fn fails(&self, failure: &Failure, now: Timestamp) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << state.pauses.min(16))
            .min(LONGEST_PAUSE);
        state.pauses += 1;
        state.news = true;
        state.open = Some(Open {
            until: now.checked_add(pause).unwrap_or(Timestamp::MAX),
            failures: state.failures,
            last: failure.clone(),
        });
    }

    /// Did it open or close since this was asked?
    pub(crate) fn take_news(&self) -> bool {
        std::mem::take(&mut self.lock().news)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_each_time_for_longer() {
        let (breaker, failure) = (
            Breaker::default(),
            Failure {
                kind: "Trapped",
                message: "as told".to_owned(),
            },
        );
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let fail =
            |times: u32, seconds| (0..times).for_each(|_| breaker.fails(&failure, at(seconds)));
        fail(FAILURES - 1, 0);
        assert_eq!(breaker.refuses(at(0)), None);
        breaker.works();
        fail(FAILURES - 1, 0);
        assert_eq!(breaker.refuses(at(0)), None, "not in a row");
        assert!(!breaker.take_news());
        fail(1, 0);
        assert_eq!(breaker.refuses(at(9)).unwrap().until, at(10));
        assert!(breaker.take_news() && !breaker.take_news());
        // One more run shows whether it works.
        assert_eq!(breaker.refuses(at(10)), None);
        assert!(breaker.open().is_some());
        fail(1, 10);
        assert_eq!(breaker.refuses(at(10)).unwrap().until, at(30));
        for _ in 0..40 {
            fail(1, 30);
        }
        assert_eq!(breaker.refuses(at(30)).unwrap().until, at(330));
        breaker.take_news();
        breaker.works();
        assert_eq!(breaker.open(), None);
        assert!(breaker.take_news());
        fail(FAILURES, 400);
        assert_eq!(
            breaker.refuses(at(400)).unwrap().until,
            at(410),
            "from the beginning"
        );
    }
}
