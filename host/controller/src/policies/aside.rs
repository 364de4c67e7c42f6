//! Runs of a large policy, which may take as long as its deadline, and of a small one that was seen to be slow:
//! they are made on other threads, one after the other for each policy, and whoever wants to know comes back
//! when it is told to.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use engine::{FailureKind, Policy};
use planner::Timestamp;
use planner::memo::Memo;
use planner::question::{Answers, NodeAnswers, Read};
use planner::rule::Rule;
use planner::verdict::{Failure, Verdict};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::guard::Guard;
use crate::rules::{Against, accepts};

/// What a policy said, and how long it ran for it; none: it did not run.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) verdict: Verdict,
    pub(crate) took: Option<Duration>,
}

/// Who can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken<'a> {
    /// The node of this name is to be decided about.
    Node(&'a str),
    /// What the rule of this name does with a new node can be told.
    NewNodes(&'a str),
    /// It is known whether the policy accepts the rule of this name.
    Rule(&'a str),
}

/// Is called when something is known.
pub(super) type Wake = Arc<dyn Fn(Woken<'_>) + Send + Sync>;

/// A small policy takes some microseconds. One that takes longer than this, a thousand nodes of which would keep
/// the host from its probes and its lease, is asked aside from then on.
const SLOW: Duration = Duration::from_millis(5);

/// What is under way for one policy, and what came of it.
pub(super) struct Aside {
    wake: Wake,
    is_large: bool,
    /// Small, and took longer than others can wait for.
    is_slow: AtomicBool,
    /// A node's run waits for those of other nodes; a rule's check does not.
    runs: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: u64,
    runs: HashMap<Key, Run>,
    /// By UID of the rule.
    checks: HashMap<String, Check>,
}

/// UID of the rule, and name of the node: of one that nobody knows yet it is empty.
type Key = (String, String);

struct Run {
    number: u64,
    rule: Arc<Rule>,
    done: Option<Done>,
}

struct Done {
    asked: Asked,
    /// When it was taken. Whoever comes later wants it made again, as where nothing is asked aside: what is to
    /// be remembered is in the memo.
    used: Option<Timestamp>,
}

struct Check {
    number: u64,
    rule: Arc<Rule>,
    done: Option<Result<(), Against>>,
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").finish_non_exhaustive()
    }
}

impl Aside {
    pub(super) fn new(wake: Wake, is_large: bool) -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self {
            wake,
            is_large,
            is_slow: AtomicBool::new(false),
            runs: one(),
            checks: one(),
            state: Mutex::default(),
        }
    }

    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    /// Is it to be asked here?
    pub(super) fn is_used(&self) -> bool {
        self.is_large || self.is_slow.load(Ordering::Relaxed)
    }

    /// It took so much processor time elsewhere, where others wait for it.
    pub(super) fn took(&self, processor: Duration) {
        if processor > SLOW {
            self.is_slow.store(true, Ordering::Relaxed);
        }
    }

    /// What the policy says where it is answered like this, if that is known. Else it is asked, and the node
    /// is woken.
    pub(super) fn ask(
        self: &Arc<Self>,
        (policy, guard): (&Policy, &Arc<Guard>),
        memo: &Arc<RwLock<Memo>>,
        rule: &Arc<Rule>,
        mut answers: NodeAnswers,
    ) -> Option<Asked> {
        let key = (rule.uid.clone(), answers.node.name.clone());
        let number = {
            let mut state = self.lock();
            match state.runs.get_mut(&key) {
                Some(Run { rule: of, done, .. }) if of == rule => match done {
                    None => return None,
                    Some(done) => {
                        if let Some(asked) = done.take(&mut answers, key.1.is_empty()) {
                            return Some(asked);
                        }
                    }
                },
                _ => {}
            }
            let number = state.next();
            let run = Run {
                number,
                rule: Arc::clone(rule),
                done: None,
            };
            state.runs.insert(key.clone(), run);
            number
        };
        let (aside, turns) = (Arc::clone(self), Arc::clone(&self.runs));
        let (policy, guard, memo) = (policy.clone(), Arc::clone(guard), Arc::clone(memo));
        let rule = Arc::clone(rule);
        tokio::spawn(async move {
            // An error only where it is closed, which it never is.
            let turn = turns.acquire_owned().await;
            let of = Arc::clone(&rule);
            let made = spawn_blocking(move || run((&policy, &guard), &memo, &of, answers)).await;
            drop(turn);
            let asked = made.unwrap_or_else(|error| Asked {
                verdict: Verdict {
                    result: Err(Failure {
                        kind: FailureKind::HostError.as_str(),
                        message: format!("the host failed: {error}; please report this"),
                    }),
                    reads: Vec::new(),
                },
                took: None,
            });
            aside.ran(&key, number, asked);
            let (_, node) = &key;
            (aside.wake)(match node.as_str() {
                "" => Woken::NewNodes(&rule.name),
                node => Woken::Node(node),
            });
        });
        None
    }

    fn ran(&self, key: &Key, number: u64, asked: Asked) {
        let mut state = self.lock();
        let run = state.runs.get_mut(key);
        if let Some(run) = run.filter(|run| run.number == number) {
            run.done = Some(Done { asked, used: None });
        }
    }

    /// What was made for the node is in the memo now.
    pub(super) fn recalled(&self, rule: &Rule, node: &str) {
        let mut state = self.lock();
        // Most nodes have nothing here.
        if !state.runs.is_empty() {
            let key = (rule.uid.clone(), node.to_owned());
            if state.runs.get(&key).is_some_and(|run| run.done.is_some()) {
                state.runs.remove(&key);
            }
        }
    }

    /// The node is gone.
    pub(super) fn forget(&self, rule: &Rule, node: &str) {
        let key = (rule.uid.clone(), node.to_owned());
        self.lock().runs.remove(&key);
    }

    /// Does the policy accept the rule, if that is known? Else it is asked, and the rule is woken.
    pub(super) fn accepts(
        self: &Arc<Self>,
        policy: &Policy,
        rule: &Arc<Rule>,
    ) -> Option<Result<(), Against>> {
        let number = {
            let mut state = self.lock();
            if let Some(check) = state.checks.get(&rule.uid)
                && is_same(&check.rule, rule)
            {
                return check.done.clone();
            }
            let number = state.next();
            let check = Check {
                number,
                rule: Arc::clone(rule),
                done: None,
            };
            state.checks.insert(rule.uid.clone(), check);
            number
        };
        let (aside, turns) = (Arc::clone(self), Arc::clone(&self.checks));
        let (policy, rule) = (policy.clone(), Arc::clone(rule));
        tokio::spawn(async move {
            let turn = turns.acquire_owned().await;
            let of = Arc::clone(&rule);
            let made = spawn_blocking(move || accepts(&policy, &of)).await;
            drop(turn);
            let accepted = made.unwrap_or_else(|error| {
                Err(Against::policy_failed(format!("the host failed: {error}")))
            });
            let mut state = aside.lock();
            let check = state.checks.get_mut(&rule.uid);
            if let Some(check) = check.filter(|check| check.number == number) {
                check.done = Some(accepted);
            }
            drop(state);
            (aside.wake)(Woken::Rule(&rule.name));
        });
        None
    }

    /// The policy was asked by somebody who can wait.
    pub(super) fn checked(&self, rule: &Arc<Rule>, accepted: Result<(), Against>) {
        let mut state = self.lock();
        let check = Check {
            number: state.next(),
            rule: Arc::clone(rule),
            done: Some(accepted),
        };
        state.checks.insert(rule.uid.clone(), check);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }
}

impl Done {
    /// For answers of this time. What is said of new nodes is said again whenever somebody looks: they are all
    /// the same.
    fn take(&mut self, answers: &mut NodeAnswers, of_new_nodes: bool) -> Option<Asked> {
        let now = answers.now;
        if self.used.is_some_and(|used| used != now) && !of_new_nodes {
            return None;
        }
        let Asked { verdict, took } = &mut self.asked;
        let mut reads = Vec::with_capacity(verdict.reads.len());
        for Read {
            question, answer, ..
        } in &verdict.reads
        {
            let (current, until) = answers.answer(question);
            if current != *answer {
                return None;
            }
            reads.push(Read {
                question: question.clone(),
                answer: current,
                until,
            });
        }
        self.used = Some(now);
        Some(Asked {
            verdict: Verdict {
                result: verdict.result.clone(),
                reads,
            },
            // It ran once.
            took: took.take(),
        })
    }
}

/// Blocks.
fn run(
    (policy, guard): (&Policy, &Guard),
    memo: &RwLock<Memo>,
    rule: &Arc<Rule>,
    mut answers: NodeAnswers,
) -> Asked {
    let known = memo.read().unwrap_or_else(PoisonError::into_inner);
    // Another node may have been answered alike meanwhile.
    let recalled = known.recall(&mut answers);
    drop(known);
    if let Some(verdict) = recalled {
        guard.recalled();
        return Asked {
            verdict,
            took: None,
        };
    }
    let permit = match guard.ask(Timestamp::now()) {
        Ok(permit) => permit,
        Err(verdict) => {
            return Asked {
                verdict,
                took: None,
            };
        }
    };
    let began = Instant::now();
    let verdict = policy.evaluate(rule, Box::new(answers));
    guard.tell(permit, &verdict);
    let mut memo = memo.write().unwrap_or_else(PoisonError::into_inner);
    memo.learn(&verdict);
    Asked {
        verdict,
        took: Some(began.elapsed()),
    }
}

/// Is there no difference that a policy sees when it checks a rule? It does not see whether the rule acts.
fn is_same(one: &Arc<Rule>, other: &Arc<Rule>) -> bool {
    Arc::ptr_eq(one, other)
        || **one
            == Rule {
                suspended: one.suspended,
                ..Rule::clone(other)
            }
}

#[cfg(test)]
mod tests;
