//! What a policy decided before, found again by asking the same questions.
//!
//! A policy is a pure function of the answers that it is given: the contract gives it nothing else, and
//! each of its runs begins with a fresh memory. So a run of which every question is answered as before
//! ends as before, and need not be made. Most nodes are alike, and most of their changes change no
//! answer.

use std::collections::BTreeMap;

use crate::question::{Answer, Answers, Question, Read};
use crate::verdict::{Decision, Verdict};

/// The most runs that are remembered: a policy that asks for names has one for each node.
const RUNS: usize = 1024;
/// A run with more questions is not remembered.
const QUESTIONS: usize = 64;

/// The runs of one policy for one rule.
#[derive(Debug, Default)]
pub struct Memo {
    first: Option<Step>,
    runs: usize,
}

/// Where a run stands after the answers so far.
#[derive(Debug)]
enum Step {
    Asks(Question, BTreeMap<Answer, Step>),
    Decides(Decision),
}

impl Memo {
    /// The verdict of a run that was answered like this; none if there was no such run.
    pub fn recall(&self, answers: &mut impl Answers) -> Option<Verdict> {
        let mut reads = Vec::new();
        let mut step = self.first.as_ref()?;
        loop {
            match step {
                Step::Asks(question, then) => {
                    let (answer, until) = answers.answer(question);
                    step = then.get(&answer)?;
                    reads.push(Read {
                        question: question.clone(),
                        answer,
                        until,
                    });
                }
                Step::Decides(decision) => {
                    let result = Ok(decision.clone());
                    return Some(Verdict { result, reads });
                }
            }
        }
    }

    /// Remembers a run. Not one that failed: how far it got may be chance.
    pub fn learn(&mut self, verdict: &Verdict) {
        let Ok(decision) = &verdict.result else {
            return;
        };
        if self.runs < RUNS && verdict.reads.len() <= QUESTIONS {
            self.runs += 1;
            learn(&mut self.first, &verdict.reads, decision);
        }
    }
}

fn learn(step: &mut Option<Step>, reads: &[Read], decision: &Decision) {
    let Some((read, rest)) = reads.split_first() else {
        step.get_or_insert_with(|| Step::Decides(decision.clone()));
        return;
    };
    let asks = || Step::Asks(read.question.clone(), BTreeMap::new());
    // Another question after the same answers is no pure function: what was first learned stays.
    if let Step::Asks(question, then) = step.get_or_insert_with(asks)
        && *question == read.question
    {
        let mut next = then.remove(&read.answer);
        learn(&mut next, rest, decision);
        if let Some(next) = next {
            then.insert(read.answer.clone(), next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::verdict::TaintAction;

    fn label(key: &str) -> Question {
        let key = key.to_owned();
        Question::Label { key }
    }

    /// Labels, each of which is its own value, except for those that are missing.
    struct Without(&'static [&'static str]);

    impl Answers for Without {
        fn answer(&mut self, question: &Question) -> (Answer, Option<jiff::Timestamp>) {
            let Question::Label { key } = question else {
                return (Answer::Bool(false), None);
            };
            let there = !self.0.contains(&key.as_str());
            (Answer::Text(there.then(|| key.clone())), None)
        }
    }

    /// Asks for `a`, then for `b` where there is an `a`, and says which it saw.
    fn policy(mut answers: Without, runs: &Cell<usize>) -> Verdict {
        runs.set(runs.get() + 1);
        let mut reads = Vec::new();
        for key in ["a", "b"] {
            let question = label(key);
            let (answer, until) = answers.answer(&question);
            let there = answer == Answer::Text(Some(key.to_owned()));
            reads.push(Read {
                question,
                answer,
                until,
            });
            if !there {
                break;
            }
        }
        let decision = Decision {
            taint: TaintAction::Present,
            complete_bootstrap: false,
            per_boot: false,
            reason: "R".to_owned(),
            message: format!("{reads:?}"),
            findings: Vec::new(),
        };
        let result = Ok(decision);
        Verdict { result, reads }
    }

    #[test]
    fn each_run_is_made_once_and_recalled_as_it_was() {
        const NODES: [&[&str]; 4] = [&[], &["b"], &["a"], &["a", "b"]];
        let (mut memo, runs) = (Memo::default(), Cell::new(0));
        for _ in 0..3 {
            for missing in NODES {
                let fresh = policy(Without(missing), &Cell::new(0));
                let verdict = memo.recall(&mut Without(missing)).unwrap_or_else(|| {
                    let verdict = policy(Without(missing), &runs);
                    memo.learn(&verdict);
                    verdict
                });
                assert_eq!(verdict, fresh);
            }
        }
        assert_eq!(runs.get(), 3, "without an `a` nobody asks for a `b`");
    }

    #[test]
    fn memory_is_bounded_and_failures_are_not_remembered() {
        struct Name(usize);
        impl Answers for Name {
            fn answer(&mut self, _: &Question) -> (Answer, Option<jiff::Timestamp>) {
                (Answer::Text(Some(self.0.to_string())), None)
            }
        }
        let mut verdict = policy(Without(&[]), &Cell::new(0));
        let mut memo = Memo::default();
        let failure = crate::verdict::Failure {
            kind: "Trapped",
            message: String::new(),
        };
        memo.learn(&Verdict {
            result: Err(failure),
            reads: verdict.reads.clone(),
        });
        assert!(memo.first.is_none());
        verdict.reads.truncate(1);
        for number in 0..2 * RUNS {
            verdict.reads[0].answer = Name(number).answer(&label("a")).0;
            memo.learn(&verdict);
        }
        assert!(memo.recall(&mut Name(RUNS - 1)).is_some());
        assert!(memo.recall(&mut Name(RUNS)).is_none());
    }
}
