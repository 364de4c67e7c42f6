//! How many calls run now: no more than the pool has memory for, the others wait their turn.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};

/// Counts the calls that run.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    mutex: Mutex<()>,
    freed: Condvar,
}

/// A call that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            mutex: Mutex::new(()),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot. Each call ends by its deadline, so this does not wait for ever.
    pub(crate) fn take(&self) -> Slot<'_> {
        if !self.try_take() {
            let mut guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
            // Announced before looking again: whoever frees a slot then sees it or was seen.
            self.waiting.fetch_add(1, SeqCst);
            while !self.try_take() {
                guard = self
                    .freed
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.waiting.fetch_sub(1, SeqCst);
        }
        Slot(self)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    fn try_take(&self) -> bool {
        self.running
            .fetch_update(SeqCst, SeqCst, |running| {
                (running < self.most).then_some(running + 1)
            })
            .is_ok()
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        if self.0.waiting.load(SeqCst) > 0 {
            let _guard = self.0.mutex.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn no_more_than_allowed_run_and_all_get_their_turn() {
        let slots = Arc::new(Slots::new(2));
        let most = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (slots, most) = (Arc::clone(&slots), Arc::clone(&most));
                thread::spawn(move || {
                    for _ in 0..1000 {
                        let _slot = slots.take();
                        most.fetch_max(slots.running(), SeqCst);
                        thread::yield_now();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(most.load(SeqCst), 2);
        assert_eq!(slots.running(), 0);
    }
}
