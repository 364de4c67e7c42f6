//! A story with a host that is started again whenever it ends, through a proxy that something is done at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cluster_tests::proxy::{Proxy, View};
use cluster_tests::{Cluster, Host};
use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stage::Part;

/// Stories that are played at the same time: most of them wait most of the time.
const AT_ONCE: usize = 10;

/// Plays all, and says of all what went wrong.
pub async fn all<T>(
    plays: impl IntoIterator<Item = impl Future<Output = Result<T, String>>>,
) -> Vec<T> {
    let results: Vec<_> = futures::stream::iter(plays)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(why) => bad.push(why),
        }
    }
    assert!(
        bad.is_empty(),
        "{} went wrong:\n\n{}",
        bad.len(),
        bad.join("\n\n")
    );
    good
}

/// What a host that sees this part of the cluster sees of it.
pub fn view(part: &Part) -> View {
    View {
        selector: Some(part.selector()),
        past: None,
    }
}

/// A host that runs; another one whenever it ends.
pub struct Hosts {
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<usize>>,
}

impl Hosts {
    /// `pid`: the process that runs now.
    pub fn start(
        cluster: Arc<Cluster>,
        proxy: Proxy,
        pid: Arc<AtomicU32>,
        flags: Vec<String>,
    ) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            for started in 1.. {
                let mut host: Host = proxy.spawn_host(&cluster, &flags)?;
                pid.store(host.pid(), Ordering::SeqCst);
                tokio::select! {
                    () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
                        // The write after which it is to be killed may be one of the last; and one that
                        // was just started may not listen to signals yet.
                        if let Err(error) = host.terminate().await {
                            anyhow::ensure!(error.to_string().contains("ended with signal: "), "{error}");
                        }
                        return Ok(started);
                    }
                    ended = host.wait_for_end() => {
                        let status = ended?;
                        anyhow::ensure!(status.code().is_none(), "it ended by itself: {}", host.log()?);
                    }
                }
            }
            unreachable!("it is told to stop")
        });
        Self { stop, task }
    }

    /// Ends it; how many were started?
    pub async fn stop(self) -> anyhow::Result<usize> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

/// Kills the process that this holds, if it has not ended by itself.
pub fn kill(pid: &AtomicU32) {
    let pid = i32::try_from(pid.load(Ordering::SeqCst)).unwrap();
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}
