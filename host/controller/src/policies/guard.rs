//! The breaker of one policy, on the clock of this process, and what it has to tell.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use planner::Timestamp;
use planner::breaker::{Breaker, PAUSED, Permit, Refusal};
use planner::question::{Answer, Question, Read};
use planner::verdict::{Failure, Verdict};

/// What became of the last runs of a policy.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The breaker counts from then on.
    began: Instant,
    /// The same moment, for people.
    began_at: Timestamp,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    /// Did it open or close since somebody asked?
    news: bool,
}

/// It is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Then it is asked once more: a whole second, so that it is told the same way each time.
    pub(crate) until: Timestamp,
    /// What became of the last run.
    pub(crate) last: Failure,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            began_at: Timestamp::now(),
            state: Mutex::default(),
        }
    }
}

impl Guard {
    /// May it be asked? If not, what stands in the place of its verdict: the node comes back when it may.
    pub(crate) fn ask(&self, now: Timestamp) -> Result<Permit, Verdict> {
        let since = self.began.elapsed();
        let refusal = match self.lock().breaker.ask(since) {
            Ok(permit) => return Ok(permit),
            Err(refusal) => refusal,
        };
        let left = refusal.until.saturating_sub(since);
        let again = now.checked_add(left).unwrap_or(Timestamp::MAX);
        let Paused { until, last } = self.told(refusal);
        let message = format!(
            "it failed again and again and is not asked before {until}; the last time ({}): {}",
            last.kind, last.message
        );
        Err(Verdict {
            result: Err(Failure {
                kind: PAUSED,
                message,
            }),
            reads: vec![Read {
                question: Question::Reached { at: again },
                answer: Answer::Bool(false),
                until: Some(again),
            }],
        })
    }

    /// What came of a run.
    pub(crate) fn tell(&self, permit: Permit, verdict: &Verdict) {
        let since = self.began.elapsed();
        let mut state = self.lock();
        let before = state.breaker.paused();
        let failure = verdict.result.as_ref().err();
        state.breaker.tell(permit, failure, since);
        state.news |= state.breaker.paused() != before;
    }

    /// A run of it was found again that it made before.
    pub(super) fn recalled(&self) {
        self.lock().breaker.recalled();
    }

    /// Also where the pause is over, and nobody knows yet whether it works again.
    pub(crate) fn paused(&self) -> Option<Paused> {
        let paused = self.lock().breaker.paused();
        paused.map(|refusal| self.told(refusal))
    }

    /// Did it open or close since this was asked?
    pub(crate) fn take_news(&self) -> bool {
        std::mem::take(&mut self.lock().news)
    }

    fn told(&self, Refusal { last, until }: Refusal) -> Paused {
        let until = until + Duration::from_millis(999);
        let until = self.began_at.checked_add(until).unwrap_or(Timestamp::MAX);
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        Paused { until, last }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use planner::breaker::{FAILURES, FIRST};
    use planner::verdict::{Decision, TaintAction};

    use super::*;

    fn verdict(works: bool) -> Verdict {
        let failure = Failure {
            kind: "Trapped",
            message: "as told".to_owned(),
        };
        let decision = Decision {
            taint: TaintAction::Keep,
            complete_bootstrap: false,
            per_boot: false,
            reason: "R".to_owned(),
            message: String::new(),
            findings: Vec::new(),
        };
        Verdict {
            result: if works { Ok(decision) } else { Err(failure) },
            reads: Vec::new(),
        }
    }

    #[test]
    fn a_policy_that_is_paused_is_told_once_and_asks_the_node_to_come_back() {
        let (guard, now) = (Guard::default(), Timestamp::now());
        for _ in 0..FAILURES {
            assert!(!guard.take_news() && guard.paused().is_none());
            let permit = guard.ask(now).unwrap();
            guard.tell(permit, &verdict(false));
        }
        assert!(guard.take_news() && !guard.take_news());
        let paused = guard.paused().unwrap();
        assert_eq!(paused.until.subsec_nanosecond(), 0);
        assert_eq!(paused.last.kind, "Trapped");
        let refused = guard.ask(now).unwrap_err();
        let failure = refused.result.as_ref().unwrap_err();
        assert_eq!(failure.kind, PAUSED);
        let said = format!(
            "not asked before {}; the last time (Trapped): as told",
            paused.until
        );
        assert!(failure.message.contains(&said), "{}", failure.message);
        let again = refused.ask_again_at().unwrap();
        let first = jiff::SignedDuration::try_from(FIRST).unwrap();
        assert!(again > now && again <= now + first);
        // Told the same way each time: a status is written when it says something new.
        let told = guard.ask(now).unwrap_err().result.unwrap_err();
        assert_eq!(told.message, failure.message);
    }

    #[test]
    fn it_is_news_when_it_works_again() {
        let guard = Guard {
            // As long ago as the first pause is over.
            began: Instant::now() - FIRST,
            ..Guard::default()
        };
        let now = Timestamp::now();
        {
            let mut state = guard.lock();
            for _ in 0..FAILURES {
                let permit = state.breaker.ask(Duration::ZERO).unwrap();
                let failure = verdict(false).result.unwrap_err();
                state.breaker.tell(permit, Some(&failure), Duration::ZERO);
            }
        }
        // A run that was made before says nothing about one that is to be made.
        guard.recalled();
        assert!(guard.paused().is_some() && !guard.take_news());
        let permit = guard.ask(now).unwrap();
        guard.tell(permit, &verdict(true));
        assert!(guard.paused().is_none() && guard.take_news());
    }
}
