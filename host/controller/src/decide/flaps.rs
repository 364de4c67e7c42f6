//! How often the taint of a rule came and went on each node: the brake on a policy whose answer turns with what the
//! host writes, whatever it asked for to come to that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use planner::Timestamp;
use planner::facts::Node;
use planner::question::{Answer, Question, Read};
use planner::verdict::{Failure, Verdict};

/// [`Failure::kind`] of a policy whose answer turns with what the host writes because of it.
pub(super) const FLAPS: &str = "TaintFlaps";

/// More changes than this within [`WINDOW`] are not the node's: no condition of a node flips twice a second for as
/// long as that.
pub(super) const CHANGES: usize = 20;

/// Long enough that a few changes in quick succession, as at a start, are far from [`CHANGES`].
const WINDOW: Duration = Duration::from_secs(10);

/// A policy that still turns after it costs some [`CHANGES`] writes more, which is little for a minute; and a node
/// on which the circle was broken meanwhile does not wait long.
const PAUSE: Duration = Duration::from_secs(60);

/// The changes of one rule's taint, by name of the node. Bounded: they go when they are older than they count.
#[derive(Debug, Default)]
pub struct Flaps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<String, Changes>,
    /// When it was looked for those that are too old.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Changes {
    /// When the node was created: another one may have its name.
    created: Option<Timestamp>,
    /// Was the taint there after the last one?
    present: bool,
    /// The oldest first.
    at: VecDeque<Instant>,
    paused: Option<Paused>,
}

#[derive(Debug, Clone, Copy)]
struct Paused {
    until: Instant,
    /// The same for people: a whole second, told the same way each time.
    until_at: Timestamp,
    /// So many changes led to it, …
    changes: usize,
    /// … in this time.
    within: Duration,
}

impl Flaps {
    /// The rule's taint was put on a node, or taken off it, at `now`, which is `at` for people.
    pub(crate) fn changed(&self, node: &Node, present: bool, now: Instant, at: Timestamp) {
        let mut state = self.lock();
        state.sweep(now);
        let changes = state.nodes.entry(node.name.clone());
        let changes = changes.or_insert_with(|| Changes::new(node, present));
        if changes.created != node.created || changes.is_over(now) {
            *changes = Changes::new(node, present);
        }
        // Twice the same: somebody else undid it, and the policy stays with its answer.
        let turned = changes.at.is_empty() || changes.present != present;
        if changes.paused.is_some() || !turned {
            return;
        }
        changes.present = present;
        changes.at.push_back(now);
        let old = |first: &Instant| now.duration_since(*first) > WINDOW;
        while changes.at.front().is_some_and(old) {
            changes.at.pop_front();
        }
        let Some(first) = changes.at.front().filter(|_| changes.at.len() > CHANGES) else {
            return;
        };
        let until_at = at.checked_add(PAUSE + Duration::from_millis(999));
        let until_at = until_at.unwrap_or(Timestamp::MAX);
        changes.paused = Some(Paused {
            until: now + PAUSE,
            until_at: Timestamp::from_second(until_at.as_second()).unwrap_or(until_at),
            changes: changes.at.len(),
            within: now.duration_since(*first),
        });
        changes.at = VecDeque::new();
    }

    /// What stands in the place of a verdict where the taint came and went too often: the node comes back when that
    /// is over.
    pub(super) fn instead(&self, node: &Node, now: Instant, at: Timestamp) -> Option<Verdict> {
        let mut state = self.lock();
        // Most rules have nothing here.
        if state.nodes.is_empty() {
            return None;
        }
        state.sweep(now);
        let changes = state.nodes.get(&node.name)?;
        let same = changes.created == node.created;
        let paused = changes.paused.filter(|paused| same && now < paused.until)?;
        drop(state);
        let Paused {
            until_at,
            changes,
            within,
            ..
        } = paused;
        // All of it fits into a status, which has 256 bytes for it.
        let message = format!(
            "the rule's taint changed {changes} times within {:.1} s on this node: the policy's answer turns with what the \
             host writes, its own records or another rule's taint, and must not; it is not asked before {until_at}",
            within.as_secs_f64()
        );
        let again = at.checked_add(paused.until.saturating_duration_since(now));
        let again = again.unwrap_or(Timestamp::MAX);
        Some(Verdict {
            result: Err(Failure {
                kind: FLAPS,
                message,
            }),
            reads: vec![Read {
                question: Question::Reached { at: again },
                answer: Answer::Bool(false),
                until: Some(again),
            }],
        })
    }

    /// The node is gone.
    pub(crate) fn forget(&self, node: &str) {
        self.lock().nodes.remove(node);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().nodes.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what is too old, once in a window: each time for all nodes would be too often.
    fn sweep(&mut self, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        if now.saturating_duration_since(swept) < WINDOW {
            return;
        }
        self.swept = Some(now);
        self.nodes.retain(|_, changes| !changes.is_over(now));
        self.nodes.shrink_to_fit();
    }
}

impl Changes {
    fn new(node: &Node, present: bool) -> Self {
        Self {
            created: node.created,
            present,
            at: VecDeque::new(),
            paused: None,
        }
    }

    /// Does nothing of it count any more?
    fn is_over(&self, now: Instant) -> bool {
        match (self.paused, self.at.back()) {
            (Some(paused), _) => paused.until <= now,
            (None, Some(last)) => now.saturating_duration_since(*last) > WINDOW,
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(name: &str, created: i64) -> Node {
        Node {
            name: name.to_owned(),
            created: Some(Timestamp::from_second(created).unwrap()),
            ..Node::default()
        }
    }

    /// A clock, and the changes that it saw.
    struct World {
        flaps: Flaps,
        began: Instant,
        passed: Duration,
        present: bool,
    }

    impl World {
        fn new() -> Self {
            Self {
                flaps: Flaps::default(),
                began: Instant::now(),
                passed: Duration::ZERO,
                present: false,
            }
        }

        fn at(&self) -> (Instant, Timestamp) {
            let at = Timestamp::UNIX_EPOCH.checked_add(self.passed).unwrap();
            (self.began + self.passed, at)
        }

        /// It turns so often, each time so long after the last.
        fn turn(&mut self, node: &Node, times: usize, every: Duration) {
            for _ in 0..times {
                self.passed += every;
                self.present = !self.present;
                let (now, at) = self.at();
                self.flaps.changed(node, self.present, now, at);
            }
        }

        fn instead(&self, node: &Node) -> Option<Verdict> {
            let (now, at) = self.at();
            self.flaps.instead(node, now, at)
        }

        fn remembered(&self) -> usize {
            self.flaps.lock().nodes.len()
        }
    }

    #[test]
    fn a_taint_that_came_and_went_too_often_pauses_this_node_for_a_while() {
        let (mut world, one, other) = (World::new(), node("one", 1), node("other", 1));
        world.turn(&one, CHANGES, SECOND / 10);
        assert_eq!(world.instead(&one), None, "as often as it may");
        world.turn(&one, 1, SECOND / 10);
        let verdict = world.instead(&one).unwrap();
        let failure = verdict.result.clone().unwrap_err();
        assert_eq!(failure.kind, "TaintFlaps");
        let told = "the rule's taint changed 21 times within 2.0 s on this node: ";
        assert!(failure.message.starts_with(told), "{}", failure.message);
        let until = "it is not asked before 1970-01-01T00:01:03Z";
        assert!(failure.message.ends_with(until), "{}", failure.message);
        let status = format!("policy failed: {}: {}", failure.kind, failure.message);
        assert!(status.len() <= 256, "{}: {status}", status.len());
        // The node comes back when it is over, to the moment.
        let again = world.at().1.checked_add(PAUSE).unwrap();
        assert_eq!(verdict.ask_again_at(), Some(again));
        assert_eq!(world.instead(&other), None);
        assert_eq!(world.instead(&node("one", 2)), None, "another by its name");

        // Whoever asks later is told the same, and to come at the same time.
        world.passed += PAUSE / 2;
        // What `onFailure` does meanwhile prolongs nothing.
        world.turn(&one, 2 * (CHANGES + 1), Duration::ZERO);
        let later = world.instead(&one).unwrap();
        assert_eq!(later.ask_again_at(), Some(again));
        assert_eq!(later.result, verdict.result);
        world.passed += PAUSE / 2 - SECOND / 1000;
        assert!(world.instead(&one).is_some());
        world.passed += SECOND / 1000;
        assert_eq!(world.instead(&one), None);

        // Then it counts anew.
        world.turn(&one, CHANGES, SECOND / 10);
        assert_eq!(world.instead(&one), None);
        world.turn(&one, 1, SECOND / 10);
        assert!(world.instead(&one).is_some());
        world.flaps.forget("one");
        assert_eq!((world.remembered(), world.instead(&one)), (0, None));
    }

    #[test]
    fn as_many_changes_in_a_longer_time_are_the_nodes_own() {
        let (mut world, one) = (World::new(), node("one", 1));
        world.turn(&one, 10 * CHANGES, SECOND / 2 + SECOND / 100);
        assert_eq!(world.instead(&one), None);
        // Of those a part is within the window still.
        world.turn(&one, 2, SECOND / 100);
        assert!(world.instead(&one).is_some());
    }

    #[test]
    fn what_somebody_else_undoes_is_no_turn() {
        let (world, one) = (World::new(), node("one", 1));
        let (now, at) = world.at();
        for _ in 0..10 * CHANGES {
            world.flaps.changed(&one, true, now, at);
        }
        assert_eq!(world.instead(&one), None);
    }

    #[test]
    fn nodes_that_were_changed_long_ago_take_no_memory() {
        let mut world = World::new();
        for number in 0..15_000 {
            world.turn(&node(&format!("node-{number}"), 1), 1, Duration::ZERO);
        }
        let one = node("one", 1);
        world.turn(&one, CHANGES + 1, Duration::ZERO);
        assert_eq!(world.remembered(), 15_001);
        // Whichever node is asked about, and although nothing changes any more.
        world.passed += WINDOW + SECOND;
        assert_eq!(world.instead(&node("other", 1)), None);
        assert_eq!(world.remembered(), 1, "the one that is paused");
        let room = world.flaps.lock().nodes.capacity();
        assert!(room < 100, "{room}");
        world.passed += PAUSE;
        world.instead(&one);
        assert_eq!(world.remembered(), 0);
    }
}
