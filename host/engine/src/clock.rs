//! The deadline: a thread that advances the epoch at which policies are interrupted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

use crate::slots::Slots;

/// Ticks without a call after which the thread goes to sleep: an idle host does not wake up the
/// processor.
const PATIENCE: u32 = 50;

/// Ticks while something runs; its thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Clock {
    shared: Arc<Shared>,
    thread: Thread,
    tick: Duration,
}

#[derive(Debug)]
struct Shared {
    asleep: AtomicBool,
    stopped: AtomicBool,
}

impl Clock {
    /// A clock that is fine enough for this deadline.
    pub(crate) fn start(
        engine: EngineWeak,
        slots: Arc<Slots>,
        deadline: Duration,
    ) -> io::Result<Self> {
        let tick = (deadline / 10).clamp(Duration::from_millis(1), Duration::from_millis(10));
        let shared = Arc::new(Shared {
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("policy-clock".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&engine, &slots, tick)
        })?;
        Ok(Self {
            thread: thread.thread().clone(),
            shared,
            tick,
        })
    }

    /// How many ticks take at least this long, whenever they begin.
    pub(crate) fn ticks(&self, deadline: Duration) -> u64 {
        let ticks = deadline.as_nanos().div_ceil(self.tick.as_nanos());
        // Half of all ticks never pass, and added to the present one they do not overflow.
        u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX / 2) + 1
    }

    /// To be called after a slot was taken: from here on it ticks until the slots are free.
    pub(crate) fn wake(&self) {
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, engine: &EngineWeak, slots: &Slots, tick: Duration) {
        let mut idle = 0;
        while !self.stopped.load(SeqCst) {
            self.wait(tick);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
            idle = if slots.running() == 0 { idle + 1 } else { 0 };
            if idle > PATIENCE {
                // Announced before looking again: a call that begins now sees it or is seen.
                self.asleep.store(true, SeqCst);
                while slots.running() == 0 && !self.stopped.load(SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, SeqCst);
                idle = 0;
            }
        }
    }

    /// For the whole tick: one that comes early would take its time from a policy.
    fn wait(&self, tick: Duration) {
        let begin = Instant::now();
        while let Some(left) = tick.checked_sub(begin.elapsed())
            && !left.is_zero()
            && !self.stopped.load(SeqCst)
        {
            thread::park_timeout(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Instance, Module, Store, Trap};

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(10);

    /// Waits for something that another thread does, but not for ever.
    fn until(mut done: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(60), "never happened");
            thread::yield_now();
        }
    }

    fn start() -> (Engine, Arc<Slots>, Clock) {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let slots = Arc::new(Slots::new(1));
        let clock = Clock::start(engine.weak(), Arc::clone(&slots), DEADLINE).unwrap();
        (engine, slots, clock)
    }

    #[test]
    fn its_thread_ends_with_it() {
        for asleep in [false, true] {
            let (_engine, _slots, clock) = start();
            until(|| clock.shared.asleep.load(SeqCst) || !asleep);
            let thread = Arc::downgrade(&clock.shared);
            drop(clock);
            until(|| thread.strong_count() == 0);
        }
    }

    #[test]
    fn it_sleeps_while_nothing_runs_and_wakes_up_in_time() {
        let (engine, slots, clock) = start();
        let module = wat::parse_str("(module (func (export \"endless\") (loop (br 0))))");
        let module = Module::new(&engine, module.unwrap()).unwrap();
        until(|| clock.shared.asleep.load(SeqCst));

        let _slot = slots.take();
        clock.wake();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(clock.ticks(DEADLINE));
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let endless = instance.get_typed_func::<(), ()>(&mut store, "endless");
        let error = endless.unwrap().call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        assert!(!clock.shared.asleep.load(SeqCst));
    }

    #[test]
    fn no_deadline_is_shorter_than_asked_for() {
        let (_engine, _slots, clock) = start();
        assert_eq!(clock.tick, Duration::from_millis(1));
        assert_eq!(clock.ticks(DEADLINE), 11);
        assert_eq!(clock.ticks(Duration::from_micros(10_001)), 12);
        assert_eq!(clock.ticks(Duration::MAX), u64::MAX / 2 + 1);
    }
}
