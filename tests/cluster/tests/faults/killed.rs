//! The host is killed right after each single write that it makes, before it knows how it went.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cluster_tests::proxy::{Fault, Hook, Proxy};

use crate::play::{self, Hosts, view};
use crate::scene::Scene;
use crate::stage::{Part, Stage};
use crate::story::Story;
use crate::{is_write, stories};

/// One write of a story, the same each time that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    pub step: usize,
    /// Method and path.
    pub what: String,
    /// How often it was made in this step before.
    again: usize,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}) of step {}",
            self.what,
            self.again + 1,
            self.step
        )
    }
}

/// Notes the writes of a story, and kills at one of them.
#[derive(Default)]
pub struct At {
    part: String,
    step: AtomicUsize,
    writes: Mutex<Vec<Write>>,
    counts: Mutex<HashMap<(usize, String), usize>>,
    kill_after: Option<Write>,
    killed: AtomicUsize,
}

impl At {
    pub fn new(part: &Part, kill_after: Option<Write>) -> Self {
        Self {
            part: part.named(""),
            kill_after,
            ..Self::default()
        }
    }

    pub fn step(&self, step: usize) {
        self.step.store(step, Ordering::SeqCst);
    }

    pub fn killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst) > 0
    }

    pub fn writes(&self) -> Vec<Write> {
        self.writes.lock().unwrap().clone()
    }

    /// The write that this request is; none if it is not one of the story.
    fn write(&self, method: &str, path: &str) -> Option<Write> {
        let path = path.split('?').next().unwrap_or_default();
        // A lease is renewed as often as the time asks for.
        if !is_write(method) || path.contains("/leases/") {
            return None;
        }
        // When an event is sent is not told.
        let is_event = path.contains("/events");
        let step = if is_event {
            0
        } else {
            self.step.load(Ordering::SeqCst)
        };
        let what = format!("{method} {}", path.replace(&self.part, ""));
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry((step, what.clone())).or_default();
        *count += 1;
        let again = *count - 1;
        Some(Write { step, what, again })
    }

    /// For the requests of the host with this process id.
    pub fn hook(self: &Arc<Self>, pid: &Arc<AtomicU32>) -> Arc<Hook> {
        let (at, pid) = (Arc::clone(self), Arc::clone(pid));
        Arc::new(move |method: String, path: String| {
            let write = at.write(&method, &path);
            let (at, pid) = (Arc::clone(&at), Arc::clone(&pid));
            Box::pin(async move {
                let Some(write) = write else {
                    return Fault::Pass;
                };
                let killed = at.kill_after.as_ref() == Some(&write);
                at.writes.lock().unwrap().push(write);
                if !killed {
                    return Fault::Pass;
                }
                Fault::Then(Box::pin(async move {
                    play::kill(&pid);
                    at.killed.fetch_add(1, Ordering::SeqCst);
                }))
            })
        })
    }
}

/// How a play went.
struct Played {
    scenes: Vec<Scene>,
    writes: Vec<Write>,
    killed: bool,
}

async fn play(
    stage: &Stage,
    story: &Story,
    kill_after: Option<Write>,
    expected: Option<&[Scene]>,
) -> anyhow::Result<Played> {
    let part = stage.part();
    story.begin(&part).await?;
    let at = Arc::new(At::new(&part, kill_after));
    let pid = Arc::new(AtomicU32::default());
    let client = stage.cluster.client.clone();
    let proxy = Proxy::start_view(client, at.hook(&pid), view(&part)).await?;
    let flags = story.flags.iter().map(ToString::to_string).collect();
    let hosts = Hosts::start(Arc::clone(&stage.cluster), proxy, pid, flags);
    let scenes = story.play(&part, expected, |step| at.step(step)).await;
    hosts.stop().await?;
    let scenes = scenes?;
    part.clear().await?;
    Ok(Played {
        scenes,
        writes: at.writes(),
        killed: at.killed(),
    })
}

/// Plays a story undisturbed.
pub async fn undisturbed(stage: &Stage, story: &Story) -> Result<(Vec<Scene>, Vec<Write>), String> {
    let played = play(stage, story, None, None).await;
    let played = played.map_err(|error| format!("{}: {error:#}", story.name))?;
    let mut writes = played.writes;
    writes.retain(|write| write.again < story.repeats && (story.killed)(write));
    Ok((played.scenes, writes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_after_any_write_converges() {
    let stage = Stage::start().await;
    let stories = stories::all();
    let told = play::all(stories.iter().map(async |story| {
        let (scenes, writes) = undisturbed(&stage, story).await?;
        Ok((story, scenes, writes))
    }))
    .await;
    let plays = told.iter().flat_map(|(story, scenes, writes)| {
        let stage = &stage;
        writes.iter().map(async move |write| {
            let played = play(stage, story, Some(write.clone()), Some(scenes)).await;
            let played =
                played.map_err(|error| format!("{}, killed after {write}: {error:#}", story.name));
            Ok((story.name, write, played?.killed))
        })
    });
    let plays = play::all(plays).await;
    for (story, _, writes) in &told {
        let of_it = |(name, ..): &&(&str, &Write, bool)| *name == story.name;
        let killed = plays
            .iter()
            .filter(of_it)
            .filter(|(.., killed)| *killed)
            .count();
        println!(
            "{}: {killed} kills after {} writes",
            story.name,
            writes.len()
        );
        // Status writes are coalesced: some are made in one run and not in another.
        assert!(
            writes.len() > 6 && killed + 6 >= writes.len(),
            "{}",
            story.name
        );
    }
}
