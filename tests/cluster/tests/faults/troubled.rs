//! Something goes wrong with every write, each time that it is tried for the first, third, … time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_tests::past::Past;
use cluster_tests::proxy::{Fault, Proxy, View, Watches};
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::killed::undisturbed;
use crate::play::{self, Hosts};
use crate::scene::Scene;
use crate::stage::{Part, Stage};
use crate::story::Story;
use crate::{is_write, stories};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Refused, in turn with a `Status` as an API server does, and without a word.
    Refused(u16),
    /// Carried out, and the answer is lost.
    Lost,
    /// No answer, and nothing is carried out.
    Stalled,
    /// The watches break after the write.
    Cut,
    /// The watches stand still after the write, and then break: the cache is old.
    OldCache,
    /// After the first write of a step the watches break, the server knows their resource versions no more,
    /// and answers the new lists from before that step.
    Stale,
}

const ALL: [Trouble; 10] = [
    Trouble::Refused(409),
    Trouble::Refused(422),
    Trouble::Refused(429),
    Trouble::Refused(500),
    Trouble::Refused(504),
    Trouble::Lost,
    Trouble::Stalled,
    Trouble::Cut,
    Trouble::OldCache,
    Trouble::Stale,
];

/// What the host does meanwhile, it does on what it has in its cache.
const MEANWHILE: Duration = Duration::from_millis(300);
/// Within this time whoever watches lists again.
const BACKS_OFF: Duration = Duration::from_secs(60);

/// What it is done with.
#[derive(Default)]
struct Hands {
    tries: Mutex<HashMap<(String, String), usize>>,
    met: AtomicUsize,
    /// Is none of this step's writes made yet?
    first: AtomicBool,
    watches: Mutex<Option<watch::Sender<Watches>>>,
}

impl Hands {
    /// Is this write to go wrong? The how manieth is it?
    fn is_odd(&self, method: &str, path: &str) -> Option<usize> {
        if !is_write(method) {
            return None;
        }
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let mut tries = self.tries.lock().unwrap();
        let tried = tries.entry((method.to_owned(), path)).or_default();
        *tried += 1;
        (*tried % 2 == 1).then(|| self.met.fetch_add(1, Ordering::SeqCst))
    }

    /// Is this the first write of the step? How many were there in the steps before?
    fn is_first(&self, method: &str) -> Option<usize> {
        let met = || self.met.fetch_add(1, Ordering::SeqCst);
        (is_write(method) && self.first.swap(false, Ordering::SeqCst)).then(met)
    }

    fn watches(&self, change: impl FnOnce(&mut Watches)) {
        let watches = self.watches.lock().unwrap();
        watches.as_ref().unwrap().send_modify(change);
    }
}

fn make(trouble: Trouble, number: usize, hands: &Arc<Hands>, past: &Arc<Past>) -> Fault {
    let (hands, past) = (Arc::clone(hands), Arc::clone(past));
    match trouble {
        Trouble::Refused(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            if number.is_multiple_of(2) {
                Fault::Explain(status)
            } else {
                Fault::Refuse(status)
            }
        }
        Trouble::Lost => Fault::Lose,
        Trouble::Stalled => Fault::Stall,
        Trouble::Cut => Fault::Then(Box::pin(async move {
            hands.watches(|watches| watches.generation += 1);
        })),
        Trouble::OldCache => {
            hands.watches(|watches| watches.paused = true);
            tokio::spawn(async move {
                tokio::time::sleep(MEANWHILE).await;
                hands.watches(|watches| {
                    watches.paused = false;
                    watches.generation += 1;
                });
            });
            Fault::Pass
        }
        Trouble::Stale => Fault::Then(Box::pin(async move {
            past.show(true);
            let both = past.shown() + 2;
            hands.watches(|watches| {
                watches.expired = true;
                watches.generation += 1;
            });
            tokio::spawn(async move {
                // One list more is not waited for longer than a watch backs off.
                let _ = timeout(BACKS_OFF, past.until_shown(both)).await;
                tokio::time::sleep(MEANWHILE).await;
                past.show(false);
            });
        })),
    }
}

async fn play(
    stage: &Stage,
    story: &Story,
    trouble: Trouble,
    expected: &[Scene],
) -> anyhow::Result<usize> {
    let part = stage.part();
    story.begin(&part).await?;
    let (hands, past) = (Arc::new(Hands::default()), Arc::new(Past::new(true)));
    let hook = {
        let (hands, past) = (Arc::clone(&hands), Arc::clone(&past));
        move |method: String, path: String| -> futures::future::BoxFuture<'static, Fault> {
            // A server falls behind whichever write comes first, and however often it was tried.
            let met = if trouble == Trouble::Stale {
                hands.is_first(&method)
            } else {
                hands.is_odd(&method, &path)
            };
            let fault = met.map_or(Fault::Pass, |number| make(trouble, number, &hands, &past));
            Box::pin(async { fault })
        }
    };
    let view = View {
        selector: Some(part.selector()),
        past: Some(Arc::clone(&past)),
    };
    let client = stage.cluster.client.clone();
    let proxy = Proxy::start_view(client, Arc::new(hook), view).await?;
    *hands.watches.lock().unwrap() = Some(proxy.watches().clone());
    let mut flags: Vec<String> = story.flags.iter().map(ToString::to_string).collect();
    flags.push("--kube-api-timeout=1s".to_owned());
    let pid = Arc::new(AtomicU32::default());
    let hosts = Hosts::start(Arc::clone(&stage.cluster), proxy, pid, flags);
    let scenes = told(story, &part, trouble, expected, &past, &hands).await;
    let ended = hosts.stop().await;
    scenes?;
    ended?;
    part.clear().await?;
    let met = hands.met.load(Ordering::SeqCst);
    let least = if trouble == Trouble::Stale { 1 } else { 4 };
    anyhow::ensure!(met >= least, "only {met} writes met it");
    let stale = past.shown();
    anyhow::ensure!(
        // Of nodes and of rules.
        trouble != Trouble::Stale || stale >= 2,
        "only {stale} lists were old"
    );
    Ok(met)
}

async fn told(
    story: &Story,
    part: &Part,
    trouble: Trouble,
    expected: &[Scene],
    past: &Past,
    hands: &Hands,
) -> anyhow::Result<()> {
    for (index, step) in story.steps.iter().enumerate() {
        if trouble == Trouble::Stale {
            hands.first.store(false, Ordering::SeqCst);
            past.until_current().await?;
            // What is done next is done to a host that knows how it was before.
            part.until_worked_off().await?;
            // What comes now is what the server does not know yet.
            past.remember(&part.cluster.client, "", &part.selector())
                .await?;
        }
        hands.first.store(true, Ordering::SeqCst);
        story.play_step(part, step, index, Some(expected)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_converges_when_something_goes_wrong_with_every_write_first() {
    let stage = Stage::start().await;
    let stories = stories::all();
    let scenes = play::all(stories.iter().map(async |story| {
        let (scenes, _) = undisturbed(&stage, story).await?;
        Ok((story, scenes))
    }))
    .await;
    let plays = scenes.iter().flat_map(|(story, scenes)| {
        let stage = &stage;
        // Boxed: ten of them are too large for a stack.
        ALL.map(|trouble| {
            Box::pin(async move {
                let met = play(stage, story, trouble, scenes).await;
                let met = met.map_err(|error| format!("{}, {trouble:?}: {error:#}", story.name));
                Ok((story.name, trouble, met?))
            })
        })
    });
    for (story, trouble, met) in play::all(plays).await {
        println!("{story}: {trouble:?} at {met} writes");
    }
}
