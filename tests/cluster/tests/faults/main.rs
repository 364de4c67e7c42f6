//! The same scenarios with something going wrong at each write in turn: the host killed, the API
//! server busy, an answer lost, a watch cut. The cluster must end as it does when nothing goes wrong.
#![expect(clippy::unwrap_used, reason = "a test, and what helps it")]

mod story;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cluster_tests::proxy::{Fault, Hook, Proxy, Watches};
use cluster_tests::{Cluster, Host};
use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use story::{Story, bootstrap, continuous};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A request that changes something.
fn is_write(method: &str) -> bool {
    matches!(method, "PATCH" | "POST" | "PUT" | "DELETE")
}

/// Counts the writes of a story, and does something at one of them.
#[derive(Default)]
struct At {
    writes: AtomicUsize,
    /// The write that is the last of this host, counted from 1; 0: none.
    kill_after: AtomicUsize,
    pid: AtomicU32,
}

impl At {
    fn hook(self: &Arc<Self>) -> Arc<Hook> {
        let at = Arc::clone(self);
        Arc::new(move |method: String, _| {
            let at = Arc::clone(&at);
            Box::pin(async move {
                if !is_write(&method) {
                    return Fault::Pass;
                }
                let number = at.writes.fetch_add(1, Ordering::SeqCst) + 1;
                if number != at.kill_after.load(Ordering::SeqCst) {
                    return Fault::Pass;
                }
                Fault::Then(Box::pin(async move {
                    let pid = i32::try_from(at.pid.load(Ordering::SeqCst)).unwrap();
                    // It may have ended by itself.
                    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
                }))
            })
        })
    }
}

/// Starts a host, and another whenever it ends, until it is told to stop.
fn keep_running(
    cluster: Arc<Cluster>,
    proxy: Arc<Proxy>,
    at: Arc<At>,
) -> (watch::Sender<bool>, JoinHandle<usize>) {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        for started in 1.. {
            let mut host: Host = proxy.spawn_host(&cluster, &[]).unwrap();
            at.pid.store(host.pid(), Ordering::SeqCst);
            tokio::select! {
                () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
                    // The write after which it is to be killed may be one of the last; and one that was
                    // just started may not listen to signals yet.
                    if let Err(error) = host.terminate().await {
                        assert!(error.to_string().contains("ended with signal: "), "{error}");
                    }
                    return started;
                }
                ended = host.wait_for_end() => drop(ended.unwrap()),
            }
        }
        unreachable!("it is told to stop")
    });
    (stop, task)
}

/// Plays a story undisturbed, and then once for each of its writes with the host killed right after
/// that write: before it knows how the write went.
async fn killed_after_each_write(story: &Story) {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let at = Arc::new(At::default());
    let proxy = Arc::new(
        Proxy::start(cluster.client.clone(), at.hook())
            .await
            .unwrap(),
    );
    let play = |expected| {
        let (cluster, proxy, at) = (Arc::clone(&cluster), Arc::clone(&proxy), Arc::clone(&at));
        async move {
            at.writes.store(0, Ordering::SeqCst);
            let (stop, hosts) = keep_running(Arc::clone(&cluster), proxy, at);
            let scenes = story.play(&cluster, expected).await.unwrap();
            stop.send_replace(true);
            let hosts = hosts.await.unwrap();
            story.clear(&cluster).await.unwrap();
            (scenes, hosts)
        }
    };
    let (expected, _) = play(None).await;
    let writes = at.writes.load(Ordering::SeqCst);
    assert!(writes > 8, "{writes}: too few to be the story");
    let mut killed = 0;
    for number in 1..=writes {
        at.kill_after.store(number, Ordering::SeqCst);
        let (scenes, hosts) = play(Some(&expected)).await;
        assert_eq!(scenes, expected, "killed after write {number} of {writes}");
        killed += hosts - 1;
    }
    // Status writes are coalesced: their number differs by a few.
    assert!(killed + 6 >= writes, "{killed} kills for {writes} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_converges_when_the_host_is_killed_after_any_write() {
    killed_after_each_write(&bootstrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuous_converges_when_the_host_is_killed_after_any_write() {
    killed_after_each_write(&continuous()).await;
}

/// What goes wrong with every write, each time that it is tried for the first, third, … time.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Refused(StatusCode),
    Lost,
    Stalled,
    /// The watches stand still after the write, and then break: the cache is old.
    OldCache,
}

async fn with_trouble(story: &Story, trouble: Trouble) {
    let cluster = Arc::new(Cluster::start().await.unwrap());
    let troubled = Arc::new(AtomicUsize::new(0));
    let on = Arc::new(AtomicUsize::new(0));
    let watches: Arc<Mutex<Option<watch::Sender<Watches>>>> = Arc::default();
    let hook = {
        let tries = Arc::new(Mutex::new(HashMap::<(String, String), usize>::new()));
        let (troubled, on, watches) =
            (Arc::clone(&troubled), Arc::clone(&on), Arc::clone(&watches));
        move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
            let wanted = is_write(&method) && on.load(Ordering::SeqCst) == 1;
            let odd = wanted && {
                let mut tries = tries.lock().unwrap();
                let tried = tries.entry((method, path)).or_default();
                *tried += 1;
                *tried % 2 == 1
            };
            troubled.fetch_add(usize::from(odd), Ordering::SeqCst);
            let sender = watches.lock().unwrap().clone();
            Box::pin(async move {
                match trouble {
                    _ if !odd => Fault::Pass,
                    Trouble::Refused(status) => Fault::Refuse(status),
                    Trouble::Lost => Fault::Lose,
                    Trouble::Stalled => Fault::Stall,
                    Trouble::OldCache => {
                        let sender = sender.unwrap();
                        sender.send_modify(|watches| watches.paused = true);
                        tokio::spawn(async move {
                            // What the host does meanwhile, it does on what it has in its cache.
                            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                            sender.send_modify(|watches| {
                                watches.paused = false;
                                watches.generation += 1;
                            });
                        });
                        Fault::Pass
                    }
                }
            })
        }
    };
    let proxy = Proxy::start(cluster.client.clone(), Arc::new(hook))
        .await
        .unwrap();
    *watches.lock().unwrap() = Some(proxy.watches().clone());
    let proxy = Arc::new(proxy);
    let mut scenes = Vec::new();
    for round in 0..2 {
        on.store(round, Ordering::SeqCst);
        let patience = ["--kube-api-timeout=1s"];
        let host = proxy.start_host_with(&cluster, &patience).await.unwrap();
        scenes.push(story.play(&cluster, scenes.first()).await.unwrap());
        host.terminate().await.unwrap();
        story.clear(&cluster).await.unwrap();
    }
    assert_eq!(scenes[0], scenes[1], "{trouble:?}");
    let troubled = troubled.load(Ordering::SeqCst);
    assert!(troubled > 5, "{trouble:?} met only {troubled} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_converge_when_every_write_is_first_refused() {
    for status in [409, 422, 429, 500, 504] {
        let trouble = Trouble::Refused(StatusCode::from_u16(status).unwrap());
        with_trouble(&bootstrap(), trouble).await;
        with_trouble(&continuous(), trouble).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_converge_when_the_answer_to_every_write_is_lost_first() {
    with_trouble(&bootstrap(), Trouble::Lost).await;
    with_trouble(&continuous(), Trouble::Lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_converge_when_every_write_first_has_no_answer() {
    with_trouble(&bootstrap(), Trouble::Stalled).await;
    with_trouble(&continuous(), Trouble::Stalled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_converge_when_the_watches_stand_still_and_break_after_every_write() {
    with_trouble(&bootstrap(), Trouble::OldCache).await;
    with_trouble(&continuous(), Trouble::OldCache).await;
}
