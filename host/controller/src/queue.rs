//! Keys that want work: each at most once in the queue, and at most one worker on each.
//!
//! A key that is added while a worker is on it is handed out again when the worker is done. So an
//! event is never lost, and two workers never write the same object.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A queue of keys. The number of keys bounds it: names of objects that exist.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    keys: Mutex<Keys<K>>,
    changed: Notify,
    worked: Notify,
}

#[derive(Debug)]
struct Keys<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    /// Added while a worker was on them.
    again: HashSet<K>,
    due: BTreeSet<(Instant, K)>,
    due_at: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    closed: bool,
}

/// The first retry waits this long; each further one twice as long, …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(crate) fn new() -> Self {
        let keys = Keys {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            due: BTreeSet::new(),
            due_at: HashMap::new(),
            failures: HashMap::new(),
            closed: false,
        };
        Self {
            keys: Mutex::new(keys),
            changed: Notify::new(),
            worked: Notify::new(),
        }
    }

    /// Wants work on a key now.
    pub(crate) fn add(&self, key: K) {
        self.lock().add(key);
        self.changed.notify_one();
    }

    /// Wants work on a key after a while. The earliest of several wishes counts.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        self.lock().add_at(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Wants work on a key that failed: later with each failure since the last [`Queue::succeed`].
    pub(crate) fn retry(&self, key: K) {
        let mut keys = self.lock();
        let failures = keys.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY
            .saturating_mul(1 << (*failures).min(16))
            .min(LAST_RETRY);
        *failures += 1;
        keys.add_at(key, Instant::now() + delay);
        drop(keys);
        self.changed.notify_one();
    }

    /// The work on a key went well: its next failure is the first one.
    pub(crate) fn succeed(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// The next key, when there is one. The caller hands it back by [`Queue::done`].
    pub(crate) async fn take(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let next_due = {
                let mut keys = self.lock();
                keys.move_due(Instant::now());
                if let Some(key) = keys.pop() {
                    if !keys.ready.is_empty() || !keys.due.is_empty() {
                        // A notification wakes only one worker, and this one is busy now:
                        // another has to take over the waiting.
                        self.changed.notify_one();
                    }
                    return key;
                }
                keys.due.first().map(|(at, _)| *at)
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The worker is done with a key.
    pub(crate) fn done(&self, key: &K) {
        let mut keys = self.lock();
        keys.running.remove(key);
        if keys.again.remove(key) {
            keys.add(key.clone());
            self.changed.notify_one();
        }
        drop(keys);
        self.worked.notify_one();
    }

    /// Hands out no more keys.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until no worker is on a key.
    pub(crate) async fn idle(&self) {
        loop {
            let worked = self.worked.notified();
            if self.lock().running.is_empty() {
                return;
            }
            worked.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keys<K>> {
        // No code that can panic runs under the lock.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> Keys<K> {
    fn add(&mut self, key: K) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: K, at: Instant) {
        match self.due_at.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(&later) => {
                self.due.remove(&(later, key.clone()));
            }
            None => {}
        }
        self.due_at.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    fn move_due(&mut self, now: Instant) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.due_at.remove(&key);
                self.add(key);
            }
        }
    }

    fn pop(&mut self) -> Option<K> {
        if self.closed {
            return None;
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take().await, "a");
        queue.done(&"a");
        queue.idle().await;
        let more = tokio::time::timeout(Duration::from_secs(1), queue.take()).await;
        assert!(more.is_err(), "handed out twice");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_worked_on_comes_again_and_not_before() {
        let queue = Queue::new();
        queue.add("a");
        assert_eq!(queue.take().await, "a");
        queue.add("a");
        let early = tokio::time::timeout(Duration::from_secs(1), queue.take()).await;
        assert!(early.is_err(), "two workers on one key");
        queue.done(&"a");
        assert_eq!(queue.take().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_wishes_counts() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(30));
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(20));
        assert_eq!(queue.take().await, "a");
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&"a");
        let more = tokio::time::timeout(Duration::from_secs(60), queue.take()).await;
        assert!(more.is_err(), "the later wishes are gone");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_longer_each_time_until_one_succeeds() {
        let queue = Queue::new();
        let mut waited = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.retry("a");
            queue.take().await;
            queue.done(&"a");
            waited.push(start.elapsed());
        }
        assert_eq!(waited[1], waited[0] * 2);
        assert_eq!(waited[2], waited[1] * 2);
        queue.succeed(&"a");
        let start = Instant::now();
        queue.retry("a");
        queue.take().await;
        assert_eq!(start.elapsed(), waited[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_workers_share_two_keys() {
        let queue = std::sync::Arc::new(Queue::new());
        let worker = || {
            let queue = std::sync::Arc::clone(&queue);
            tokio::spawn(async move { queue.take().await })
        };
        let workers = [worker(), worker()];
        tokio::task::yield_now().await;
        queue.add("a");
        queue.add("b");
        let mut taken = Vec::new();
        for worker in workers {
            taken.push(worker.await.unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, ["a", "b"]);
    }
}
