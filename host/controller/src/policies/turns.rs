//! How much is done for policies at the same time: what one of them waits for must not hold up the others,
//! and memory is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Modules that are brought at the same time, or were and are not loaded yet: each is in memory as a whole.
const FETCHES: usize = 8;
/// … and of these from one host. Others have turns left where it never answers.
const OF_ONE_HOST: usize = 2;
/// A module of more bytes brings its language's runtime, and is compiled for seconds. The others do not wait
/// for it.
const SMALL: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Turns {
    fetches: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Held for as long as it takes.
#[derive(Debug)]
pub(super) struct Turn([Option<OwnedSemaphorePermit>; 2]);

impl Default for Turns {
    fn default() -> Self {
        // One compiler at a time: each may take a gigabyte.
        let one = || Arc::new(Semaphore::new(1));
        Self {
            fetches: Arc::new(Semaphore::new(FETCHES)),
            hosts: Mutex::default(),
            small: one(),
            large: one(),
        }
    }
}

impl Turn {
    /// Its host is not asked for anything any more.
    pub(super) fn fetched(&mut self) {
        self.0[0] = None;
    }
}

impl Turns {
    /// To bring something from this host, and to load it.
    pub(super) async fn to_fetch(&self, host: &str) -> Turn {
        // First that of the host: who waits for it keeps no turn from others.
        let of_host = take(self.of_host(host)).await;
        Turn([of_host, take(Arc::clone(&self.fetches)).await])
    }

    /// To load a module of so many bytes.
    pub(super) async fn to_load(&self, size: usize) -> Turn {
        let queue = if size <= SMALL {
            &self.small
        } else {
            &self.large
        };
        Turn([take(Arc::clone(queue)).await, None])
    }

    fn of_host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses or waits for.
        hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = hosts.entry(host.to_owned());
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(OF_ONE_HOST))))
    }
}

/// None only where the semaphore is closed, which none of these is.
async fn take(turns: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    turns.acquire_owned().await.ok()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_host_that_does_not_answer_leaves_turns_for_the_others() {
        let turns = Turns::default();
        let now = |host: &str| turns.to_fetch(host).now_or_never();
        let mut held: Vec<Turn> = (0..OF_ONE_HOST).map(|_| now("slow").unwrap()).collect();
        assert!(now("slow").is_none());
        for other in 0..FETCHES - OF_ONE_HOST {
            held.push(now(&other.to_string()).unwrap());
        }
        assert!(now("one more").is_none(), "no more than that at once");
        drop(held.pop());
        assert!(now("slow").is_none() && now("one more").is_some());
        held.clear();
        assert!(now("slow").is_some());
        assert_eq!(
            turns.hosts.lock().unwrap().len(),
            1,
            "the others are forgotten"
        );
    }

    #[test]
    fn a_small_module_does_not_wait_for_a_large_one() {
        let turns = Turns::default();
        let now = |size: usize| turns.to_load(size).now_or_never();
        let large = now(SMALL + 1).unwrap();
        assert!(now(SMALL + 1).is_none());
        let small = now(SMALL).unwrap();
        assert!(now(0).is_none());
        drop((small, large));
        assert!(now(0).is_some() && now(SMALL + 1).is_some());
    }
}
