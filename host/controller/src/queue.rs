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

use crate::metrics::{QueueMetrics, QueueState};

/// A queue of keys. The number of keys bounds it: names of objects that exist.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    keys: Mutex<Keys<K>>,
    changed: Notify,
    worked: Notify,
    metrics: QueueMetrics,
}

#[derive(Debug)]
struct Keys<K> {
    ready: VecDeque<K>,
    /// Each since when.
    queued: HashMap<K, Instant>,
    /// Those of them that nothing but time has brought.
    by_time: HashSet<K>,
    running: HashMap<K, Running>,
    /// Added while a worker was on them, since when.
    again: HashMap<K, Instant>,
    due: BTreeSet<(Instant, K)>,
    due_at: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    closed: bool,
    paused: bool,
}

/// A key that a worker is on.
#[derive(Debug, Clone, Copy)]
struct Running {
    /// Since when it was wanted.
    added: Instant,
    /// Since when it is worked on.
    started: Instant,
    /// Has nothing but time brought it?
    by_time: bool,
}

/// Time alone brings a key no more often than this: whatever is asked about, Kubernetes gives its times in whole
/// seconds, and a policy that always wants to be asked a moment later must not take the place of others.
const BY_TIME: Duration = Duration::from_secs(1);

/// The first retry waits this long; each further one twice as long, …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this, where nobody waits for it.
pub(crate) const LAST_RETRY: Duration = Duration::from_secs(60);
/// … and up to this where somebody does, as for the end of a rule that was deleted.
pub(crate) const SOON: Duration = Duration::from_secs(5);

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(crate) fn new(metrics: QueueMetrics) -> Self {
        let keys = Keys {
            ready: VecDeque::new(),
            queued: HashMap::new(),
            by_time: HashSet::new(),
            running: HashMap::new(),
            again: HashMap::new(),
            due: BTreeSet::new(),
            due_at: HashMap::new(),
            failures: HashMap::new(),
            closed: false,
            paused: false,
        };
        Self {
            keys: Mutex::new(keys),
            changed: Notify::new(),
            worked: Notify::new(),
            metrics,
        }
    }

    /// Wants work on a key now.
    pub(crate) fn add(&self, key: K) {
        if self.lock().add(key) {
            self.metrics.adds.inc();
        }
        self.changed.notify_one();
    }

    /// Wants work on a key after a while. The earliest of several wishes counts. Where nothing but time has brought
    /// the key that is worked on, not within a second.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        let mut keys = self.lock();
        let wanted = Instant::now() + delay;
        let running = keys.running.get(&key).filter(|running| running.by_time);
        let soonest = running.map_or(wanted, |running| running.started + BY_TIME);
        keys.add_at(key, wanted.max(soonest));
        drop(keys);
        self.changed.notify_one();
    }

    /// Wants work on a key that failed: later with each failure since the last [`Queue::succeed`], and
    /// after `longest` at the latest.
    pub(crate) fn retry(&self, key: K, longest: Duration) {
        let mut keys = self.lock();
        if keys.paused {
            return;
        }
        let failures = keys.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY
            .saturating_mul(1 << (*failures).min(16))
            .min(longest);
        *failures += 1;
        self.metrics.retries.inc();
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
                let now = Instant::now();
                self.metrics.adds.inc_by(keys.move_due(now));
                if let Some((key, added)) = keys.pop(now) {
                    self.metrics.waited.observe((now - added).as_secs_f64());
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
        if let Some(running) = keys.running.remove(key) {
            let worked = running.started.elapsed();
            self.metrics.worked.observe(worked.as_secs_f64());
        }
        if let Some(added) = keys.again.remove(key) {
            keys.queue(key.clone(), added);
            self.changed.notify_one();
        }
        drop(keys);
        self.worked.notify_waiters();
    }

    /// How long a key that is worked on has been wanted.
    pub(crate) fn waited(&self, key: &K) -> Option<Duration> {
        Some(self.lock().running.get(key)?.added.elapsed())
    }

    /// How it is now.
    pub(crate) fn state(&self) -> QueueState {
        let keys = self.lock();
        let first = keys.ready.front().and_then(|key| keys.queued.get(key));
        let running = || {
            keys.running
                .values()
                .map(|running| running.started.elapsed())
        };
        QueueState {
            depth: keys.ready.len(),
            due: keys.due.len(),
            oldest: first.map(Instant::elapsed).unwrap_or_default(),
            unfinished: running().sum(),
            longest: running().max().unwrap_or_default(),
        }
    }

    /// Hands out no more keys.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Forgets all keys, and takes none until [`Queue::resume`]: then the caller adds what is due.
    pub(crate) fn pause(&self) {
        let mut keys = self.lock();
        keys.paused = true;
        keys.ready.clear();
        keys.queued.clear();
        keys.by_time.clear();
        keys.again.clear();
        keys.due.clear();
        keys.due_at.clear();
        keys.failures.clear();
    }

    /// Does it take none?
    pub(crate) fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// Takes keys again.
    pub(crate) fn resume(&self) {
        self.lock().paused = false;
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
    /// Says whether it is news.
    fn add(&mut self, key: K) -> bool {
        if self.paused {
            return false;
        }
        let now = Instant::now();
        if self.running.contains_key(&key) {
            let news = !self.again.contains_key(&key);
            self.again.entry(key).or_insert(now);
            return news;
        }
        self.queue(key, now)
    }

    fn queue(&mut self, key: K, since: Instant) -> bool {
        let news = !self.queued.contains_key(&key);
        if news {
            self.queued.insert(key.clone(), since);
            self.ready.push_back(key);
        }
        news
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if self.paused {
            return;
        }
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

    /// Returns how many keys came in.
    fn move_due(&mut self, now: Instant) -> u64 {
        let mut news = 0;
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.due_at.remove(&key);
                if self.add(key.clone()) {
                    news += 1;
                    if !self.running.contains_key(&key) {
                        self.by_time.insert(key);
                    }
                }
            }
        }
        news
    }

    fn pop(&mut self, now: Instant) -> Option<(K, Instant)> {
        if self.closed {
            return None;
        }
        let key = self.ready.pop_front()?;
        let added = self.queued.remove(&key).unwrap_or(now);
        let running = Running {
            added,
            started: now,
            by_time: self.by_time.remove(&key),
        };
        self.running.insert(key.clone(), running);
        Some((key, added))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn new() -> Queue<&'static str> {
        Queue::new(Metrics::new(false).unwrap().node_queue)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once() {
        let queue = new();
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
        let queue = new();
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
        let queue = new();
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
    async fn time_alone_brings_a_key_once_in_a_second_and_an_event_at_once() {
        let queue = new();
        let soon = Duration::from_millis(1);
        let start = Instant::now();
        let mut came = Vec::new();
        queue.add_after("a", soon);
        for _ in 0..3 {
            assert_eq!(queue.take().await, "a");
            came.push(start.elapsed().as_millis());
            queue.add_after("a", soon);
            queue.done(&"a");
        }
        assert_eq!(came, [1, 1001, 2001]);
        // An event is not held up, and what time it wants then is its own.
        queue.add("a");
        assert_eq!(queue.take().await, "a");
        queue.add_after("a", soon);
        queue.done(&"a");
        assert_eq!(queue.take().await, "a");
        assert_eq!(start.elapsed().as_millis(), 2002);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_longer_each_time_until_one_succeeds() {
        let queue = new();
        let mut waited = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.retry("a", LAST_RETRY);
            queue.take().await;
            queue.done(&"a");
            waited.push(start.elapsed());
        }
        assert_eq!(waited[1], waited[0] * 2);
        assert_eq!(waited[2], waited[1] * 2);
        queue.succeed(&"a");
        let start = Instant::now();
        queue.retry("a", LAST_RETRY);
        queue.take().await;
        assert_eq!(start.elapsed(), waited[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_queue_holds_nothing() {
        let queue = new();
        queue.add("running");
        assert_eq!(queue.take().await, "running");
        queue.add("running");
        queue.add("ready");
        queue.add_after("due", Duration::from_secs(1));
        queue.pause();
        queue.add("new");
        queue.add_after("later", Duration::from_secs(1));
        queue.retry("running", LAST_RETRY);
        queue.done(&"running");
        queue.idle().await;
        queue.resume();
        let more = tokio::time::timeout(Duration::from_secs(600), queue.take()).await;
        assert!(more.is_err(), "it kept {more:?}");
        queue.add("new");
        assert_eq!(queue.take().await, "new");
    }

    #[tokio::test(start_paused = true)]
    async fn two_workers_share_two_keys() {
        let queue = std::sync::Arc::new(new());
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
